package app

import (
	"bytes"
	"context"
	"encoding/json"
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

// freeAddress returns an address that nobody listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(nil)
	defer server.Close()
	return server.Listener.Addr().String()
}
