package web

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	s.pageRoutes(mux)
	s.prometheusRoutes(mux)
	mux.HandleFunc("GET /api/alerts/timeline", s.own(s.apiTimeline))
	mux.HandleFunc("GET /api/alerts/{id}/timeline", s.own(s.apiTimeline))
	mux.HandleFunc("GET /api/deliveries", s.own(s.apiDeliveries))
	mux.HandleFunc("GET /api/outbox", s.own(s.apiOutbox))
	mux.HandleFunc("GET /api/", s.apiNotFound)
	mux.HandleFunc("GET /events", s.events)
	mux.HandleFunc("GET /static/{name}", s.static)
	mux.Handle("GET /metrics", metrics(s.config.Registry))
	mux.Handle("GET /metrics/host", metrics(s.config.HostRegistry))
	mux.HandleFunc("GET /-/healthy", s.healthy)
	mux.HandleFunc("GET /-/ready", s.ready)
	return mux
}

func (s *Server) pageRoutes(mux *http.ServeMux) {
	mux.HandleFunc("GET /{$}", s.page(s.alertsPage))
	mux.HandleFunc("GET /alerts", s.page(s.alertsOrTimeline))
	mux.HandleFunc("GET /alerts/timeline", s.page(s.timelinePage))
	mux.HandleFunc("GET /rules", s.page(s.rulesPage))
	mux.HandleFunc("GET /targets", s.page(s.targetsPage))
	mux.HandleFunc("GET /outbox", s.page(s.outboxPage))
	mux.HandleFunc("GET /deliveries", s.page(s.deliveriesPage))
	mux.HandleFunc("GET /", s.page(s.notFoundPage))
}

func (s *Server) prometheusRoutes(mux *http.ServeMux) {
	both := func(path string, h apiHandler) {
		mux.HandleFunc("GET "+path, s.api(h))
		mux.HandleFunc("POST "+path, s.api(h))
	}
	both("/api/v1/query", s.query)
	both("/api/v1/query_range", s.queryRange)
	both("/api/v1/labels", s.labelNames)
	both("/api/v1/series", s.series)
	mux.HandleFunc("GET /api/v1/label/{name}/values", s.api(s.labelValues))
	mux.HandleFunc("GET /api/v1/rules", s.api(s.apiRules))
	mux.HandleFunc("GET /api/v1/alerts", s.api(s.apiAlerts))
	mux.HandleFunc("GET /api/v1/targets", s.api(s.apiTargets))
	mux.HandleFunc("GET /api/v1/metadata", s.api(s.metadata))
	mux.HandleFunc("GET /api/v1/status/buildinfo", s.api(s.buildInfo))
}

func metrics(g prometheus.Gatherer) http.Handler {
	if g == nil {
		return http.NotFoundHandler()
	}
	return promhttp.HandlerFor(g, promhttp.HandlerOpts{MaxRequestsInFlight: 8, EnableOpenMetrics: true})
}

func (s *Server) healthy(w http.ResponseWriter, r *http.Request) {
	s.write(w, r, http.StatusOK, plainText, []byte("tocsin is healthy.\n"))
}

func (s *Server) ready(w http.ResponseWriter, r *http.Request) {
	if err := s.config.Ready(); err != nil {
		s.write(w, r, http.StatusServiceUnavailable, plainText, []byte("tocsin is not ready: "+err.Error()+"\n"))
		return
	}
	s.write(w, r, http.StatusOK, plainText, []byte("tocsin is ready.\n"))
}
