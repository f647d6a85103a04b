package web

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	exporter "github.com/prometheus/exporter-toolkit/web"
	"github.com/prometheus/prometheus/promql/parser"
)

const (
	headerTimeout = 10 * time.Second
	idleTimeout   = 2 * time.Minute
	stopTimeout   = 10 * time.Second
	maxHeader     = 64 << 10
	// writeReserve is what an answer may take beyond the longest query.
	writeReserve = 30 * time.Second
)

// Server serves tocsin's pages and APIs. Make one by New; it serves once.
type Server struct {
	config  Config
	base    string // path prefix of links
	parser  parser.Parser
	pages   pages
	assets  map[string]asset
	handler http.Handler
	started time.Time

	// streaming ends when the server stops, so that nobody waits for streams.
	streaming  context.Context
	endStreams context.CancelFunc
	streams    atomic.Int64
}

// New makes a server. errors.Is(err, ErrConfig) when the configuration cannot
// work.
func New(c Config) (*Server, error) {
	c, err := c.complete()
	if err != nil {
		return nil, err
	}
	s := &Server{config: c, parser: parser.NewParser(parser.Options{}), started: c.Clock()}
	if s.base, err = c.prefix(); err != nil {
		return nil, err
	}
	if s.assets, err = loadAssets(); err != nil {
		return nil, err
	}
	if s.pages, err = s.parsePages(); err != nil {
		return nil, err
	}
	s.streaming, s.endStreams = context.WithCancel(context.Background())
	s.handler = s.protect(s.strip(s.routes()))
	return s, nil
}

// Handler returns the handler of all paths, without TLS and passwords.
func (s *Server) Handler() http.Handler { return s.handler }

// Serve answers requests until ctx ends. Then it ends the streams, lets running
// requests finish for a while, and returns nil.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	server := &http.Server{
		Handler:           s.handler,
		ReadHeaderTimeout: headerTimeout,
		WriteTimeout:      s.config.QueryTimeout + writeReserve,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(s.config.Logger.Handler(), slog.LevelDebug),
	}
	stopped := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() { stopped <- s.stop(server) })
	err := exporter.Serve(l, server, &exporter.FlagConfig{WebConfigFile: &s.config.WebConfigFile}, s.config.Logger)
	if stop() { // nobody asked it to end
		s.endStreams()
		return fmt.Errorf("web: serve: %w", errors.Join(err, server.Close(), l.Close()))
	}
	return <-stopped
}

func (s *Server) stop(server *http.Server) error {
	s.endStreams()
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	if err := server.Shutdown(ctx); err != nil {
		s.config.Logger.Warn("requests were cut off at the end", "error", err)
		if err := server.Close(); err != nil {
			return fmt.Errorf("web: stop: %w", err)
		}
	}
	return nil
}

// strip removes the path prefix, unless a proxy has done it.
func (s *Server) strip(next http.Handler) http.Handler {
	if s.base == "" {
		return next
	}
	stripped := http.StripPrefix(s.base, next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == s.base:
			http.Redirect(w, r, s.base+"/", http.StatusMovedPermanently)
		case strings.HasPrefix(r.URL.Path, s.base+"/"):
			stripped.ServeHTTP(w, r)
		default:
			next.ServeHTTP(w, r)
		}
	})
}
