package app

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
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
	"github.com/uow-go/uow/sqlite"

	"github.com/uow-go/uow/monitor/internal/application"
	"github.com/uow-go/uow/monitor/internal/domain"
)

// text is a writer that others read from meanwhile.
type text struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (w *text) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.buf.Write(p)
}

func (w *text) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.buf.String()
}

// options are for a tocsin of a test, on a port of its own.
func options(t *testing.T, config string) (opts Options, console, log *text) {
	console, log = &text{}, &text{}
	return Options{
		ConfigFile: config, DataDir: t.TempDir(), Listen: "127.0.0.1:0",
		Console: console, Logger: slog.New(slog.NewTextHandler(log, nil)),
	}, console, log
}

// running is a tocsin that runs.
type running struct {
	*App
	t      *testing.T
	cancel context.CancelFunc
	ended  chan struct{}
	err    error // of Run, once it has ended
}

func start(t *testing.T, opts Options) *running {
	t.Helper()
	a, err := New(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{App: a, t: t, cancel: cancel, ended: make(chan struct{})}
	go func() {
		defer close(r.ended)
		r.err = a.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-r.ended
	})
	return r
}

// wait waits for Run to end.
func (r *running) wait() error {
	r.t.Helper()
	select {
	case <-r.ended:
		return r.err
	case <-time.After(patience):
		r.t.Fatal("Run does not end")
		return nil
	}
}

// stop ends Run, as a signal does.
func (r *running) stop() {
	r.t.Helper()
	r.cancel()
	if err := r.wait(); err != nil {
		r.t.Errorf("Run: %v", err)
	}
}

// patience is how long tests wait for what must come.
const patience = time.Minute

// eventually waits until the condition holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for !holds() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("it did not come: %s", what)
		}
	}
}

// get asks the API, whose answer's data goes into data.
func (r *running) get(path string, data any) error {
	response, err := http.Get(r.URL() + path)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s: %s", path, response.Status, body)
	}
	if text, ok := data.(*string); ok {
		*text = string(body)
		return nil
	}
	return json.Unmarshal(body, &struct{ Data any }{data})
}

func (r *running) mustGet(path string, data any) {
	r.t.Helper()
	if err := r.get(path, data); err != nil {
		r.t.Fatal(err)
	}
}

func (r *running) attempts() []domain.Attempt {
	r.t.Helper()
	var data struct{ Attempts []domain.Attempt }
	r.mustGet("/api/deliveries", &data)
	return data.Attempts
}

type apiAlert struct {
	Labels map[string]string
	State  domain.State
	Tocsin struct{ ID string }
}

// alerts returns the active alerts by name.
func (r *running) alerts() map[string]apiAlert {
	r.t.Helper()
	var data struct{ Alerts []apiAlert }
	r.mustGet("/api/v1/alerts", &data)
	all := map[string]apiAlert{}
	for _, a := range data.Alerts {
		all[a.Labels["alertname"]] = a
	}
	return all
}

func (r *running) timeline(alert string) (t application.Timeline) {
	r.t.Helper()
	r.mustGet("/api/alerts/timeline?id="+url.QueryEscape(alert), &t)
	return t
}

// slots returns how many slots were committed in this run.
func (r *running) slots() (n int) {
	r.t.Helper()
	var page string
	r.mustGet("/metrics", &page)
	for line := range strings.Lines(page) {
		if strings.HasPrefix(line, "tocsin_slots_committed_total{") {
			var value float64
			if _, err := fmt.Sscan(line[strings.LastIndex(line, " "):], &value); err != nil {
				r.t.Fatal(err)
			}
			n += int(value)
		}
	}
	return n
}

// anotherSlot waits until a slot was begun and committed from now on.
func (r *running) anotherSlot() {
	r.t.Helper()
	enough := r.slots() + 2
	eventually(r.t, "another slot", func() bool { return r.slots() >= enough })
}

// stored opens the database of a tocsin that has ended.
func stored[T any](t *testing.T, opts Options, of func(*application.State) *uow.Collection[T]) (out []T) {
	t.Helper()
	state := application.NewState()
	db, err := sqlite.Open(t.Context(), filepath.Join(opts.DataDir, "tocsin.db"), uow.Config{Collections: state.Collections()})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	err = db.Do(t.Context(), func(ctx context.Context, u *uow.Unit) error {
		all, err := of(state).In(u).Find(ctx, uow.Query{})
		for _, v := range all {
			out = append(out, *v)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func openAttempts(t *testing.T, opts Options) (open []domain.Attempt) {
	t.Helper()
	for _, a := range stored(t, opts, func(s *application.State) *uow.Collection[domain.Attempt] { return s.Attempts }) {
		if a.Outcome == "" {
			open = append(open, a)
		}
	}
	return open
}

// files is a folder with a configuration and its rules, which scrape nothing and
// are evaluated each second.
type files struct {
	t   *testing.T
	dir string
}

func newFiles(t *testing.T) *files {
	t.Helper()
	f := &files{t: t, dir: t.TempDir()}
	f.config("")
	f.rules("Always: vector(1)")
	return f
}

func (f *files) path() string { return filepath.Join(f.dir, "prometheus.yml") }

func (f *files) write(name, text string) {
	f.t.Helper()
	if err := os.WriteFile(filepath.Join(f.dir, name), []byte(text), 0o600); err != nil {
		f.t.Fatal(err)
	}
}

// config writes the configuration; more is added to it.
func (f *files) config(more string) {
	f.t.Helper()
	f.write("prometheus.yml", "global: {evaluation_interval: 1s}\nrule_files: [rules*.yml]\n"+more)
}

// rules writes one group with the rules, each "name: expression".
func (f *files) rules(rules ...string) {
	f.t.Helper()
	f.write("rules.yml", group("test", rules...))
}

func group(name string, rules ...string) string {
	out := "groups:\n- name: " + name + "\n  rules:\n"
	for _, rule := range rules {
		name, expr, _ := strings.Cut(rule, ": ")
		out += "  - {alert: " + name + ", expr: '" + expr + "'}\n"
	}
	return out
}

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

// freeAddress returns an address that nobody listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(nil)
	defer server.Close()
	return server.Listener.Addr().String()
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

func TestABrokenReloadKeepsTheOldConfiguration(t *testing.T) {
	t.Parallel()
	f := newFiles(t)
	opts, console, _ := options(t, f.path())
	r := start(t, opts)
	eventually(t, "the alert", func() bool { return r.alerts()["Always"].State == domain.Firing })
	f.write("rules.yml", group("test", "Broken: sum("))
	if err := r.Reload(t.Context()); err == nil || !strings.Contains(err.Error(), "rules.yml:4") {
		t.Errorf("err = %v", err)
	}
	f.write("prometheus.yml", "what: is this\n")
	if err := r.Reload(t.Context()); err == nil || !strings.Contains(err.Error(), "what") {
		t.Errorf("err = %v", err)
	}
	if err := os.Remove(f.path()); err != nil {
		t.Fatal(err)
	}
	if err := r.Reload(t.Context()); err == nil {
		t.Error("a missing file was taken")
	}
	r.anotherSlot()
	if a := r.alerts(); len(a) != 1 || a["Always"].State != domain.Firing {
		t.Errorf("alerts: %+v", a)
	}
	if out := console.String(); strings.Count(out, "\n") != 1 {
		t.Errorf("the console was told %q", out)
	}
}

func TestAReloadTakesChangedRules(t *testing.T) {
	t.Parallel()
	f := newFiles(t)
	f.rules("Stays: vector(1)", "Goes: vector(1)")
	opts, console, _ := options(t, f.path())
	r := start(t, opts)
	eventually(t, "the alerts", func() bool { return len(r.alerts()) == 2 })
	stays, goes := r.alerts()["Stays"].Tocsin.ID, r.alerts()["Goes"].Tocsin.ID
	f.rules("New: vector(1)", "Stays: vector(1) > 0")
	if err := r.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the change of the alerts", func() bool {
		a := r.alerts()
		return len(a) == 2 && a["New"].State == domain.Firing && a["Stays"].State == domain.Firing
	})
	// T4: the state follows the rule, and the one that is gone ends explicitly.
	if history := r.timeline(stays); len(history.Transitions) != 1 || history.Alert.Episode != 1 {
		t.Errorf("the rule that was moved and edited: %+v", history)
	}
	if history := r.timeline(goes); len(history.Transitions) != 2 || history.Transitions[0].Kind != domain.RuleDeleted {
		t.Errorf("the rule that was deleted: %+v", history)
	}
	eventually(t, "the notification of the end", func() bool { return strings.Contains(console.String(), "DELETED") })
	eventually(t, "the notification of the new one", func() bool { return strings.Count(console.String(), "FIRING") == 3 })
}

func TestT4_AReloadEndsTheAlertsOfADeletedGroup(t *testing.T) {
	t.Parallel()
	f := newFiles(t)
	f.write("rules2.yml", group("other", "Other: vector(1)"))
	opts, console, _ := options(t, f.path())
	r := start(t, opts)
	eventually(t, "the alerts", func() bool { return len(r.alerts()) == 2 })
	other := r.alerts()["Other"].Tocsin.ID
	if err := os.Remove(filepath.Join(f.dir, "rules2.yml")); err != nil {
		t.Fatal(err)
	}
	if err := r.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the notification of the end", func() bool { return strings.Contains(console.String(), "DELETED") })
	r.stop()

	// And across a restart it ends once.
	second := start(t, opts)
	second.anotherSlot()
	var kinds []domain.TransitionKind
	for _, tr := range second.timeline(other).Transitions {
		kinds = append(kinds, tr.Kind)
	}
	if len(kinds) != 2 || kinds[0] != domain.RuleDeleted || kinds[1] != domain.BecameFiring {
		t.Errorf("transitions: %v", kinds)
	}
	if a := second.alerts(); len(a) != 1 || a["Always"].State != domain.Firing {
		t.Errorf("alerts: %+v", a)
	}
	second.stop()
	if out := console.String(); strings.Count(out, "DELETED") != 1 {
		t.Errorf("the console was told %q", out)
	}
}

func TestADeletedGroupOfAnEarlierRunEndsAtTheStart(t *testing.T) {
	t.Parallel()
	f := newFiles(t)
	f.write("rules2.yml", group("other", "Other: vector(1)"))
	opts, console, _ := options(t, f.path())
	first := start(t, opts)
	eventually(t, "the alerts", func() bool { return len(first.alerts()) == 2 })
	first.stop()
	if err := os.Remove(filepath.Join(f.dir, "rules2.yml")); err != nil {
		t.Fatal(err)
	}
	start(t, opts)
	eventually(t, "the notification of the end", func() bool { return strings.Contains(console.String(), "DELETED") })
}

func TestARemovedDestinationIsGivenUpAtTheNextStart(t *testing.T) {
	t.Parallel()
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	defer receiver.Close()
	f := newFiles(t)
	f.config("tocsin: {destinations: [{name: hook, type: webhook, url: '" + receiver.URL + "'}]}\n")
	opts, _, log := options(t, f.path())
	first := start(t, opts)
	eventually(t, "an attempt", func() bool { return len(first.attempts()) > 0 })
	f.config("")
	if err := first.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(log.String(), "at the next start") {
		t.Errorf("nobody was told that destinations are taken at the next start:\n%s", log)
	}
	first.stop()
	second := start(t, opts)
	if !strings.Contains(log.String(), "destination=hook") || !strings.Contains(log.String(), "abandoned") {
		t.Errorf("nobody was told that notifications were given up:\n%s", log)
	}
	second.stop()
	for _, d := range stored(t, opts, func(s *application.State) *uow.Collection[domain.Delivery] { return s.Deliveries }) {
		if d.Destination == "hook" && d.State != domain.Abandoned {
			t.Errorf("delivery %+v", d)
		}
	}
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
	if _, err := r.log.Acquire(t.Context(), application.Topic("console")); err != nil {
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
