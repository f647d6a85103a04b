package metrics

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/uow-go/uow/monitor/internal/infrastructure/config"
)

func TestTargets(t *testing.T) {
	e := newExporter(t, "a 1\n")
	text := jobs(e) + `  params: {module: [x]}
  relabel_configs:
  - {target_label: zone, replacement: north}
- job_name: dropped
  static_configs: [{targets: ['127.0.0.1:2']}]
  relabel_configs:
  - {action: drop, source_labels: [job], regex: dropped}
`
	m := open(t, t.TempDir())
	run(t, m, parse(t, text, "groups: []"))
	active, dropped := m.Targets()
	if len(active) != 1 || len(dropped) != 1 {
		t.Fatalf("active %v, dropped %v", active, dropped)
	}
	got := active[0]
	if got.ScrapePool != "job0" || got.Labels["zone"] != "north" || got.DiscoveredLabels["__address__"] != e.address() ||
		got.ScrapeURL != e.URL+"/metrics?module=x" || got.ScrapeInterval != "200ms" || got.ScrapeTimeout != "200ms" ||
		got.Health != "up" || got.LastScrape.IsZero() || got.LastError != "" {
		t.Errorf("target: %+v", got)
	}
	if want := strings.Replace(got.ScrapeURL, "127.0.0.1", "tocsin.example", 1); got.GlobalURL != want {
		t.Errorf("global URL: %s, want %s", got.GlobalURL, want)
	}
	if dropped[0].ScrapePool != "dropped" || dropped[0].DiscoveredLabels["__address__"] != "127.0.0.1:2" {
		t.Errorf("dropped: %+v", dropped[0])
	}
}

func TestReloadAndFiles(t *testing.T) {
	one, two := newExporter(t, "one 1\n"), newExporter(t, "two 1\n")
	dir := t.TempDir()
	file := filepath.Join(dir, "targets.json")
	write := func(content string) {
		t.Helper()
		if err := os.WriteFile(file+".new", []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(file+".new", file); err != nil {
			t.Fatal(err)
		}
	}
	write(`[{"targets": ["` + one.address() + `"]}]`)
	files := "scrape_configs:\n- job_name: files\n  file_sd_configs: [{files: ['" + file + "'], refresh_interval: 1s}]\n"
	m := open(t, t.TempDir())
	run(t, m, parse(t, files, "groups: []"))
	if v, _ := valueOf(t, m, "one", time.Now()); v != 1 {
		t.Fatal("one is not scraped")
	}
	write(`[{"targets": ["` + two.address() + `"]}]`)
	until(t, "the change of the file", func() bool {
		_, hasOne := valueOf(t, m, "one", time.Now())
		_, hasTwo := valueOf(t, m, "two", time.Now())
		return !hasOne && hasTwo
	})

	apply(t, m, parse(t, jobs(one)+strings.TrimPrefix(files, "scrape_configs:\n"), "groups: []"))
	wait(t, m)
	if v, _ := valueOf(t, m, "one", time.Now()); v != 1 {
		t.Error("the new job is not scraped after WaitFirstScrape")
	}
	apply(t, m, parse(t, jobs(one), "groups: []"))
	until(t, "the job is gone", func() bool {
		active, _ := m.Targets()
		return len(active) == 1
	})
}

func TestWaitingIsBounded(t *testing.T) {
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	t.Cleanup(server.Close)
	t.Cleanup(func() { close(release) })
	text := "scrape_configs:\n- job_name: stuck\n  scrape_interval: 1h\n  scrape_timeout: 1h\n  static_configs: [{targets: ['" +
		strings.TrimPrefix(server.URL, "http://") + "']}]\n"
	m := open(t, t.TempDir())
	cfg := parse(t, text, "groups: []")
	apply(t, m, cfg)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := m.WaitFirstScrape(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("waiting: %v", err)
	}
	target := &expectedTarget{interval: time.Hour, timeout: time.Hour, since: time.Now()}
	if !target.awaited(time.Now().Add(longestWait-time.Second)) || target.awaited(time.Now().Add(longestWait)) {
		t.Error("the wait for a slow target is not what it should be")
	}
	target.interval, target.timeout = time.Second, time.Second
	if !target.awaited(target.since.Add(7*time.Second)) || target.awaited(target.since.Add(8*time.Second)) {
		t.Error("the wait for a quick target is not what it should be")
	}
}

func TestCloseEndsWaiting(t *testing.T) {
	m := open(t, t.TempDir())
	ended := make(chan error, 1)
	go func() { ended <- m.WaitFirstScrape(context.WithoutCancel(t.Context())) }()
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; !errors.Is(err, ErrClosed) {
		t.Errorf("waiting: %v", err)
	}
}

func TestDefaultConfiguration(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("/metrics", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		_, _ = w.Write([]byte("tocsin_outbox_oldest_seconds 90\ntocsin_outbox_parked 0\n"))
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	cfg := config.Default(strings.TrimPrefix(server.URL, "http://"))
	m := open(t, t.TempDir())
	run(t, m, cfg)
	firing := map[string]int{}
	for _, g := range cfg.Groups {
		results := evaluate(t, m, g)
		for _, rule := range g.Rules {
			if rule.Alert == "" {
				continue
			}
			if results[0].Err != nil {
				t.Errorf("%s: %v", rule.Alert, results[0].Err)
			}
			for _, s := range results[0].Samples {
				firing[rule.Alert]++
				for name, text := range s.Annotations {
					if strings.Contains(text, "error") || strings.Contains(text, "no value") {
						t.Errorf("%s: %s: %s", rule.Alert, name, text)
					}
				}
			}
			results = results[1:]
		}
	}
	// The job "node" does not answer here.
	if len(firing) != 3 || firing["Heartbeat"] != 1 || firing["TocsinDeliveryLagging"] != 1 || firing["TargetDown"] != 1 {
		t.Errorf("firing: %v", firing)
	}
}

func TestAJobThatCannotBeScrapedIsRefused(t *testing.T) {
	e := newExporter(t, "a 1\n")
	m := open(t, t.TempDir())
	good := parse(t, jobs(e), "groups: []")
	run(t, m, good)
	bad := parse(t, jobs(e)+"  tls_config: {ca_file: /nonexistent/ca.pem}\n", "groups: []")
	if err := m.Apply(bad); err == nil || !strings.HasPrefix(err.Error(), "metrics: apply: job job0: ") {
		t.Errorf("error: %v", err)
	}
	if active, _ := m.Targets(); len(active) != 1 || active[0].Health != "up" || !m.Ready(t.Context()) {
		t.Errorf("the old configuration is not in force: %+v", active)
	}
}
