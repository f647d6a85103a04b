package app

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/uow-go/uow"

	"github.com/uow-go/uow/monitor/internal/application"
	"github.com/uow-go/uow/monitor/internal/domain"
	"github.com/uow-go/uow/outbox"
)

func TestTheDefaultConfigurationWatchesItselfAndTellsTheConsole(t *testing.T) {
	t.Parallel()
	opts, console, log := options(t, "")
	first := start(t, opts)
	if !strings.HasPrefix(first.URL(), "http://127.0.0.1:") || !strings.Contains(first.Greeting(), first.URL()) || !strings.Contains(first.Greeting(), opts.DataDir) {
		t.Errorf("greeting: %s", first.Greeting())
	}
	var delivered domain.Attempt
	eventually(t, "the delivery of the heartbeat", func() bool {
		for _, a := range first.attempts() {
			if strings.Contains(a.Alert, "Heartbeat") && a.Outcome == domain.OutcomeDelivered {
				delivered = a
			}
		}
		return delivered.ID != ""
	})
	if delivered.Destination != "console" || delivered.Number != 1 || delivered.Notification == "" || delivered.FinishedAt.IsZero() {
		t.Errorf("the ledger's line: %+v", delivered)
	}
	if out := console.String(); strings.Count(out, "Heartbeat") != 1 || !strings.Contains(out, "FIRING") {
		t.Errorf("the console has %q", out)
	}
	history := first.timeline(delivered.Alert)
	if history.Alert == nil || history.Alert.State != domain.Firing || len(history.Transitions) != 1 || len(history.Deliveries) != 1 ||
		history.Deliveries[0].State != domain.Delivered || history.Deliveries[0].ID != delivered.Notification {
		t.Errorf("timeline: %+v", history)
	}
	var ready string
	first.mustGet("/-/ready", &ready)
	var up struct{ Result []any }
	first.mustGet("/api/v1/query?query="+url.QueryEscape("up == 1"), &up)
	if len(up.Result) != 2 {
		t.Errorf("targets that are up: %v", up.Result)
	}
	first.stop()
	if open := openAttempts(t, opts); len(open) != 0 {
		t.Errorf("open attempts after a graceful stop: %+v", open)
	}

	// T2: the second start on the same data does not tell of it again.
	again, log2 := &text{}, &text{}
	opts.Console, opts.Logger = again, slog.New(slog.NewTextHandler(log2, nil))
	second := start(t, opts)
	eventually(t, "a slot of the second run", func() bool { return second.slots() >= 2 })
	history = second.timeline(delivered.Alert)
	if history.Alert == nil || history.Alert.State != domain.Firing || history.Alert.Episode != 1 || len(history.Transitions) != 1 || len(history.Attempts) != 1 {
		t.Errorf("timeline after the restart: %+v", history)
	}
	second.stop()
	if out := again.String(); strings.Contains(out, "Heartbeat") {
		t.Errorf("the second run told of it again: %q", out)
	}
	for _, l := range []*text{log, log2} {
		if strings.Contains(l.String(), "level=ERROR") {
			t.Errorf("the log has errors:\n%s", l)
		}
	}
}

func TestT1_AStopWaitsForTheDeliveryUnderWay(t *testing.T) {
	t.Parallel()
	arrived, release := make(chan struct{}), make(chan struct{})
	once := sync.OnceFunc(func() { close(arrived) })
	receiver := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		once()
		<-release
	}))
	defer receiver.Close()
	f := newFiles(t)
	f.config("tocsin: {destinations: [{name: hook, type: webhook, url: '" + receiver.URL + "'}]}\n")
	opts, console, _ := options(t, f.path())
	r := start(t, opts)
	select {
	case <-arrived:
	case <-time.After(patience):
		close(release)
		t.Fatal("the receiver was not told")
	}
	r.cancel()
	for range 100 { // the page ends last
		var page string
		if err := r.get("/-/healthy", &page); err != nil {
			t.Errorf("it did not wait: %v", err)
			break
		}
	}
	close(release)
	if err := r.wait(); err != nil {
		t.Errorf("Run: %v", err)
	}
	lines := stored(t, opts, func(s *application.State) *uow.Collection[domain.Attempt] { return s.Attempts })
	if len(lines) != 1 || lines[0].Outcome != domain.OutcomeDelivered || lines[0].Destination != "hook" {
		t.Errorf("the ledger: %+v", lines)
	}
	if out := console.String(); out != "" {
		t.Errorf("the console, which is not configured, was told %q", out)
	}
}

func TestT1_WhatCouldNotBeDeliveredIsDeliveredAfterARestart(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var ids []string
	status := http.StatusServiceUnavailable
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		ids = append(ids, r.Header.Get("Idempotency-Key"))
		w.WriteHeader(status)
	}))
	defer receiver.Close()
	f := newFiles(t)
	f.config("tocsin: {destinations: [{name: hook, type: webhook, url: '" + receiver.URL + "'}]}\n")
	opts, _, _ := options(t, f.path())
	first := start(t, opts)
	eventually(t, "an attempt that failed", func() bool {
		a := first.attempts()
		return len(a) > 0 && a[len(a)-1].Outcome == domain.OutcomeRetry
	})
	first.stop()
	mu.Lock()
	status = http.StatusOK
	mu.Unlock()
	second := start(t, opts)
	eventually(t, "the delivery", func() bool {
		a := second.attempts()
		return len(a) > 1 && a[0].Outcome == domain.OutcomeDelivered
	})
	second.stop()
	mu.Lock()
	defer mu.Unlock()
	for _, id := range ids {
		if id == "" || id != ids[0] {
			t.Errorf("the attempts had the ids %q, want one", ids)
			break
		}
	}
}

// runAndEnd starts a tocsin that ends at once, so that everything is closed again.
func runAndEnd(t *testing.T, opts Options) {
	t.Helper()
	a, err := New(t.Context(), opts)
	if err != nil {
		t.Errorf("a start on the same data and address: %v", err)
		return
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := a.Run(ended); err != nil {
		t.Errorf("Run: %v", err)
	}
}

func TestAStartThatFailsSaysWhyAndLeavesNothingOpen(t *testing.T) {
	t.Parallel()
	broken := func(t *testing.T, config, rules string) string {
		f := newFiles(t)
		if config != "" {
			f.write("prometheus.yml", config)
		}
		if rules != "" {
			f.write("rules.yml", rules)
		}
		return f.path()
	}
	file := func(t *testing.T, text string) string {
		name := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	for name, c := range map[string]struct {
		change func(t *testing.T, o *Options)
		want   []string
	}{
		"address":          {func(_ *testing.T, o *Options) { o.Listen = "nonsense" }, []string{"--listen", "nonsense"}},
		"port":             {func(_ *testing.T, o *Options) { o.Listen = "127.0.0.1:99999" }, []string{"--listen", "99999"}},
		"database scheme":  {func(_ *testing.T, o *Options) { o.DB = "postgres://user:hidden@host/db" }, []string{"--db", "postgres", "sqlite:PATH"}},
		"database path":    {func(_ *testing.T, o *Options) { o.DB = "sqlite:" }, []string{"--db", "sqlite:PATH"}},
		"database content": {func(t *testing.T, o *Options) { o.DB = file(t, strings.Repeat("no database ", 1000)) }, []string{"database", "file"}},
		"database folder":  {func(t *testing.T, o *Options) { o.DB = t.TempDir() }, []string{"database"}},
		"data directory":   {func(t *testing.T, o *Options) { o.DataDir = file(t, "") }, []string{"data directory", "file"}},
		"no config":        {func(_ *testing.T, o *Options) { o.ConfigFile = "missing.yml" }, []string{"missing.yml"}},
		"config syntax":    {func(t *testing.T, o *Options) { o.ConfigFile = broken(t, "global: [\n", "") }, []string{"prometheus.yml:", "YAML"}},
		"config field": {func(t *testing.T, o *Options) { o.ConfigFile = broken(t, "global:\n  scrape_intervall: 1s\n", "") },
			[]string{"prometheus.yml:2:3:", "scrape_intervall"}},
		"rule": {func(t *testing.T, o *Options) { o.ConfigFile = broken(t, "", group("g", "A: sum(")) }, []string{"rules.yml:4", "expr"}},
		"destination": {func(t *testing.T, o *Options) {
			o.ConfigFile = broken(t, "tocsin: {destinations: [{name: a, type: pigeon}]}\n", "")
		}, []string{"prometheus.yml:1", "pigeon"}},
		"web config missing": {func(_ *testing.T, o *Options) { o.WebConfigFile = "missing-web.yml" }, []string{"missing-web.yml"}},
		"web config":         {func(t *testing.T, o *Options) { o.WebConfigFile = file(t, "nonsense: 1\n") }, []string{"nonsense"}},
		"external URL":       {func(_ *testing.T, o *Options) { o.ExternalURL = "://" }, []string{"://"}},
		"relative URL":       {func(_ *testing.T, o *Options) { o.ExternalURL = "tocsin.example" }, []string{"tocsin.example"}},
	} {
		t.Run(name, func(t *testing.T) {
			good, _, _ := options(t, newFiles(t).path())
			good.Listen = freeAddress(t)
			bad := good
			c.change(t, &bad)
			a, err := New(t.Context(), bad)
			if err == nil {
				ended, cancel := context.WithCancel(t.Context())
				cancel()
				t.Fatalf("no error; Run: %v", a.Run(ended))
			}
			for _, part := range c.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("the error %q does not say %q", err, part)
				}
			}
			if strings.Contains(err.Error(), "hidden") {
				t.Errorf("the error shows the password: %v", err)
			}
			if strings.HasPrefix(name, "database scheme") && !errors.Is(err, ErrUsage) {
				t.Errorf("not ErrUsage: %v", err)
			}
			runAndEnd(t, good)
		})
	}
}

func TestASecondTocsinOnTheSameDataIsRefused(t *testing.T) {
	t.Parallel()
	f := newFiles(t)
	opts, _, _ := options(t, f.path())
	r := start(t, opts)
	eventually(t, "the alert", func() bool { return r.alerts()["Always"].State == domain.Firing })
	other := opts
	if _, err := New(t.Context(), other); err == nil || !strings.Contains(err.Error(), opts.DataDir) || !strings.Contains(err.Error(), "another") {
		t.Errorf("err = %v", err)
	}
	other.Listen = r.listener.Addr().String()
	if _, err := New(t.Context(), other); err == nil || !strings.Contains(err.Error(), "--listen") || !strings.Contains(err.Error(), other.Listen) {
		t.Errorf("err = %v", err)
	}
	r.anotherSlot() // it did not mind
	r.stop()
	runAndEnd(t, opts)
}

func TestAPartThatFailsEndsRun(t *testing.T) {
	t.Parallel()
	f := newFiles(t)
	opts, _, _ := options(t, f.path())
	r := start(t, opts)
	eventually(t, "the alert", func() bool { return r.alerts()["Always"].State == domain.Firing })
	if err := r.listener.Close(); err != nil {
		t.Fatal(err)
	}
	if err := r.wait(); err == nil || !strings.Contains(err.Error(), "page") {
		t.Errorf("Run: %v", err)
	}
	if open := openAttempts(t, opts); len(open) != 0 {
		t.Errorf("open attempts: %+v", open)
	}
	runAndEnd(t, opts)
}

func TestALostLeaseEndsRun(t *testing.T) {
	t.Parallel()
	f := newFiles(t)
	opts, _, _ := options(t, f.path())
	r := start(t, opts)
	eventually(t, "the delivery", func() bool {
		a := r.attempts()
		return len(a) == 1 && a[0].Outcome == domain.OutcomeDelivered
	})
	if _, err := r.log.Acquire(t.Context(), outbox.Claim{Cursor: application.Topic("console"), Force: true}); err != nil {
		t.Fatal(err)
	}
	if err := r.wait(); err == nil || !strings.Contains(err.Error(), "destination console") {
		t.Errorf("Run: %v", err)
	}
}

func TestRulesOfOneNameHaveDifferentUIDs(t *testing.T) {
	t.Parallel()
	f := newFiles(t)
	f.rules("A: vector(1)", "A: vector(2)", "A#2: vector(3)", "A: vector(4)", "B: vector(5)")
	opts, _, _ := options(t, f.path())
	a, err := New(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	defer a.close()
	seen := map[string]bool{}
	uids := ruleUIDs(a.cfg.Load().Groups[0])
	for _, uid := range uids {
		if seen[uid] {
			t.Errorf("UIDs %q: one twice", uids)
		}
		seen[uid] = true
	}
	if uids[0] != "A" || uids[1] != "A#2" || uids[4] != "B" {
		t.Errorf("UIDs %q", uids)
	}
}
