package metrics

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/uow-go/uow/monitor/internal/domain"
	"github.com/uow-go/uow/monitor/internal/infrastructure/config"
)

// exporter is a target whose answer the test sets.
type exporter struct {
	*httptest.Server
	body   atomic.Value
	broken atomic.Bool
}

func newExporter(t *testing.T, body string) *exporter {
	t.Helper()
	e := &exporter{}
	e.body.Store(body)
	e.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if e.broken.Load() {
			http.Error(w, "broken", http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		_, _ = io.WriteString(w, e.body.Load().(string))
	}))
	t.Cleanup(e.Close)
	return e
}

func (e *exporter) address() string { return strings.TrimPrefix(e.URL, "http://") }

// parse reads a configuration and a rule file.
func parse(t *testing.T, scrapeConfigs, rules string) *config.Config {
	t.Helper()
	cfg, err := config.Parse("test.yml", []byte(
		"global: {scrape_interval: 200ms, evaluation_interval: 1s, external_labels: {cluster: blue}}\n"+scrapeConfigs))
	if err != nil {
		t.Fatal(err)
	}
	cfg.Groups, err = config.ParseRules("rules.yml", []byte(rules), cfg.Global)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// jobs makes scrape configs with one job for each exporter.
func jobs(exporters ...*exporter) string {
	text := "scrape_configs:\n"
	for i, e := range exporters {
		text += fmt.Sprintf("- job_name: job%d\n  static_configs: [{targets: ['%s']}]\n", i, e.address())
	}
	return text
}

func open(t *testing.T, dir string) *Metrics {
	t.Helper()
	cfg := Config{Dir: dir, ExternalURL: "http://tocsin.example:9099"}
	if testing.Verbose() {
		cfg.Logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelInfo}))
	}
	m, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

// run applies a configuration, scrapes and waits for the first scrapes.
func run(t *testing.T, m *Metrics, cfg *config.Config) {
	t.Helper()
	apply(t, m, cfg)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- m.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	wait(t, m)
}

func apply(t *testing.T, m *Metrics, cfg *config.Config) {
	t.Helper()
	if err := m.Apply(cfg); err != nil {
		t.Fatal(err)
	}
}

func wait(t *testing.T, m *Metrics) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := m.WaitFirstScrape(ctx); err != nil {
		t.Fatal("first scrape:", err)
	}
}

// until polls a condition.
func until(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !condition(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("not in time:", what)
		}
	}
}

func evaluate(t *testing.T, m *Metrics, group config.RuleGroup) []domain.Result {
	t.Helper()
	results, err := m.EvaluateGroup(t.Context(), group, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return results
}

// valueOf returns the only value of a query, or false when there is none.
func valueOf(t *testing.T, m *Metrics, expr string, at time.Time) (float64, bool) {
	t.Helper()
	vector, err := m.query(t.Context(), expr, at)
	if err != nil {
		t.Fatal(err)
	}
	if len(vector) > 1 {
		t.Fatalf("%s: %d results", expr, len(vector))
	}
	if len(vector) == 0 {
		return 0, false
	}
	return vector[0].F, true
}
