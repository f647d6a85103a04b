package metrics

import (
	"compress/gzip"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// hostile are targets that no scraper should be harmed by.
func hostile() map[string]http.HandlerFunc {
	text := func(w http.ResponseWriter) { w.Header().Set("Content-Type", "text/plain; version=0.0.4") }
	return map[string]http.HandlerFunc{
		"garbage": func(w http.ResponseWriter, _ *http.Request) {
			text(w)
			_, _ = w.Write([]byte("{{{ \xff\x00 not metrics\n\n=="))
		},
		"html": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			_, _ = io.WriteString(w, "<html></html>")
		},
		"endless": func(w http.ResponseWriter, r *http.Request) {
			text(w)
			line := []byte(strings.Repeat("x", 1<<16) + " 1\n")
			for r.Context().Err() == nil {
				if _, err := w.Write(line); err != nil {
					return
				}
			}
		},
		"bomb": func(w http.ResponseWriter, r *http.Request) {
			text(w)
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			zeros := []byte(strings.Repeat("# \n", 1<<18))
			for r.Context().Err() == nil {
				if _, err := z.Write(zeros); err != nil {
					return
				}
			}
		},
		"slow": func(w http.ResponseWriter, r *http.Request) {
			text(w)
			_, _ = io.WriteString(w, "slow 1\n")
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		},
		"protobuf": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited")
			_, _ = w.Write([]byte{0xff, 0xff, 0xff, 0xff, 0x7f, 1, 2, 3})
		},
		"types": func(w http.ResponseWriter, _ *http.Request) {
			text(w)
			_, _ = io.WriteString(w, "# TYPE a counter\n# TYPE a gauge\na{b=\"c\"} one\n")
		},
		"redirects": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.Path, http.StatusFound) },
		"hangup": func(w http.ResponseWriter, _ *http.Request) {
			if conn, _, err := w.(http.Hijacker).Hijack(); err == nil {
				_ = conn.Close()
			}
		},
	}
}

func TestHostileTargetsDoNotStopTheOthers(t *testing.T) {
	good := newExporter(t, "ok 1\n")
	text := "scrape_configs:\n- job_name: good\n  static_configs: [{targets: ['" + good.address() + "']}]\n"
	add := func(name, address string) {
		text += fmt.Sprintf("- job_name: %s\n  body_size_limit: 1MB\n  scrape_interval: 400ms\n  static_configs: [{targets: ['%s']}]\n", name, address)
	}
	servers := hostile()
	for name, handler := range servers {
		server := httptest.NewServer(handler)
		t.Cleanup(func() {
			server.CloseClientConnections()
			server.Close()
		})
		add(name, strings.TrimPrefix(server.URL, "http://"))
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0") // accepts and never answers
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	add("silent", listener.Addr().String())
	add("nobody", "127.0.0.1:1")

	m := open(t, t.TempDir())
	run(t, m, parse(t, text, "groups: []"))
	start := time.Now()
	active, _ := m.Targets()
	if len(active) != len(servers)+3 {
		t.Fatalf("%d targets", len(active))
	}
	for _, target := range active {
		want := "down"
		if target.ScrapePool == "good" {
			want = "up"
		}
		if target.Health != want || (target.LastError == "") != (want == "up") {
			t.Errorf("%s: %s, error %q", target.ScrapePool, target.Health, target.LastError)
		}
		if want == "down" {
			if v, ok := valueOf(t, m, `up{job="`+target.ScrapePool+`"}`, time.Now()); !ok || v != 0 {
				t.Errorf("%s: up is %v %v", target.ScrapePool, v, ok)
			}
		}
	}
	until(t, "more scrapes of the good one", func() bool {
		at, _ := valueOf(t, m, "timestamp(ok)", time.Now())
		return at > float64(start.Add(300*time.Millisecond).UnixMilli())/1000
	})
}

// Prometheus takes the first of two equal series and goes on.
func TestDuplicateSeriesAreTakenOnce(t *testing.T) {
	e := newExporter(t, "a 1\na 2\nb 3\n")
	m := open(t, t.TempDir())
	run(t, m, parse(t, jobs(e), "groups: []"))
	if v, _ := valueOf(t, m, "a", time.Now()); v != 1 {
		t.Errorf("a is %v", v)
	}
	if v, _ := valueOf(t, m, "b", time.Now()); v != 3 {
		t.Errorf("b is %v", v)
	}
}

func TestBodiesAreLimitedByDefault(t *testing.T) {
	e := newExporter(t, "# "+strings.Repeat("x", 2000)+"\na 1\n")
	m, err := Open(Config{Dir: t.TempDir(), BodySizeLimit: 1000})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	run(t, m, parse(t, jobs(e), "groups: []"))
	active, _ := m.Targets()
	if active[0].Health != "down" || !strings.Contains(active[0].LastError, "body size limit") {
		t.Errorf("target: %+v", active[0])
	}
}
