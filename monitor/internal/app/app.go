// Package app puts tocsin together and runs it, in a process of its own or in a
// test: New opens everything, Run serves until its context ends, Reload takes a
// changed configuration.
package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/outbox"
	"github.com/uow-go/uow/sqlite"

	"github.com/uow-go/uow/monitor/internal/application"
	"github.com/uow-go/uow/monitor/internal/domain"
	"github.com/uow-go/uow/monitor/internal/infrastructure/config"
	"github.com/uow-go/uow/monitor/internal/infrastructure/host"
	"github.com/uow-go/uow/monitor/internal/infrastructure/metrics"
	"github.com/uow-go/uow/monitor/internal/infrastructure/web"
)

// App is a tocsin. Make one by New and Run it once.
type App struct {
	opts      Options
	url       string
	listener  net.Listener
	db        *uow.DB
	log       outbox.Log
	state     *application.State
	metrics   *metrics.Metrics
	hub       *web.Hub
	server    *web.Server
	telemetry *telemetry
	status    *groupStatus
	evaluator *application.Evaluator
	dests     []*destinationRunner
	leases    []*application.Leases

	reloading sync.Mutex
	cfg       atomic.Pointer[config.Config]
	reloaded  chan struct{}
	ready     atomic.Bool

	cleanups []func() error // run last to first
}

// New reads the configuration and opens everything that can fail: the listener,
// the database, the samples. What it opened is closed by Run, or by New itself
// when it fails.
func New(ctx context.Context, opts Options) (*App, error) {
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	a := &App{
		opts:      opts,
		state:     application.NewState(),
		hub:       web.NewHub(),
		telemetry: newTelemetry(),
		status:    &groupStatus{last: map[string]evaluated{}},
		reloaded:  make(chan struct{}, 1),
	}
	if err := a.open(ctx); err != nil {
		return nil, errors.Join(err, a.close())
	}
	return a, nil
}

func (a *App) open(ctx context.Context) error {
	for _, step := range []func(context.Context) error{
		a.listen, a.configure, a.openDatabase, a.openMetrics, a.openDestinations, a.recover, a.openWeb,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// URL returns where the page is.
func (a *App) URL() string { return a.url }

// Greeting says what is watched, where it is kept, and where the page is.
func (a *App) Greeting() string {
	what := a.opts.ConfigFile
	if what == "" {
		what = "this machine and tocsin itself, by sample rules"
	}
	return fmt.Sprintf("tocsin: watching %s\ntocsin: alerts are kept in %s\ntocsin: the page is at %s", what, a.opts.DB, a.url)
}

func (a *App) onClose(fn func() error) { a.cleanups = append(a.cleanups, fn) }

func (a *App) close() error {
	var errs []error
	for i := len(a.cleanups) - 1; i >= 0; i-- {
		errs = append(errs, a.cleanups[i]())
	}
	a.cleanups = nil
	return errors.Join(errs...)
}

func (a *App) listen(ctx context.Context) error {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", a.opts.Listen)
	if err != nil {
		return fmt.Errorf("tocsin: --listen: %w", err)
	}
	a.listener = l
	a.onClose(func() error { // the server has closed it when it ran
		if err := l.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			return err
		}
		return nil
	})
	a.url = a.opts.ExternalURL
	if a.url == "" {
		a.url = "http://" + l.Addr().String()
		if a.opts.WebConfigFile != "" {
			a.url = "https://" + l.Addr().String()
		}
	}
	if tcp, ok := l.Addr().(*net.TCPAddr); ok && !tcp.IP.IsLoopback() && a.opts.WebConfigFile == "" {
		a.opts.Logger.Warn("the page and the API are open to everybody who reaches this address: set --web-config for TLS and passwords", "address", l.Addr())
	}
	return nil
}

func (a *App) configure(context.Context) error {
	cfg, err := a.readConfig()
	if err != nil {
		return err
	}
	a.cfg.Store(cfg)
	return nil
}

func (a *App) readConfig() (*config.Config, error) {
	if a.opts.ConfigFile == "" {
		return config.Default(a.listener.Addr().String()), nil
	}
	cfg, err := config.Load(a.opts.ConfigFile)
	if err != nil {
		return nil, err
	}
	for _, name := range cfg.Ignored {
		a.opts.Logger.Warn("ignored, since tocsin does not serve it", "section", name, "file", a.opts.ConfigFile)
	}
	for _, w := range cfg.Warnings {
		a.opts.Logger.Warn(w, "file", a.opts.ConfigFile)
	}
	return cfg, nil
}

func (a *App) openDatabase(ctx context.Context) error {
	for _, dir := range []string{a.opts.DataDir, filepath.Dir(a.opts.DB)} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("tocsin: data directory: %w", err)
		}
	}
	db, err := sqlite.Open(ctx, a.opts.DB, uow.Config{Collections: a.state.Collections(), Logger: a.opts.Logger})
	if err != nil {
		return fmt.Errorf("tocsin: database %s: %w", a.opts.DB, err)
	}
	a.db = db
	a.onClose(db.Close)
	a.log, err = outbox.Of(db)
	return err
}

func (a *App) openMetrics(context.Context) error {
	m, err := metrics.Open(metrics.Config{
		Dir:         filepath.Join(a.opts.DataDir, "samples"),
		Retention:   time.Duration(a.cfg.Load().Retention.Samples),
		ExternalURL: a.url,
		Logger:      quiet(a.opts.Logger),
		Registerer:  a.telemetry.registry,
	})
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return fmt.Errorf("tocsin: data directory %s: another tocsin uses it: %w", a.opts.DataDir, err)
	}
	if err != nil {
		return err
	}
	a.metrics = m
	a.onClose(m.Close)
	return m.Apply(a.cfg.Load())
}

func (a *App) recover(ctx context.Context) error {
	r := application.Recovery{DB: a.db, State: a.state, Log: a.log, Destinations: a.destinationNames(), Clock: time.Now}
	removed, err := r.Run(ctx)
	for _, name := range removed {
		a.opts.Logger.Warn("destination is configured no longer: what waited for it was abandoned", "destination", name)
	}
	if err != nil {
		return fmt.Errorf("tocsin: recovery: %w", err)
	}
	a.evaluator = &application.Evaluator{
		DB: a.db, State: a.state, Destinations: a.destinationNames(),
		OnGap: a.cfg.Load().OnGap, ExternalURL: a.url,
		Recorded: a.recorded, Committed: a.committed, Clock: time.Now,
	}
	return nil
}

func (a *App) openWeb(context.Context) error {
	reader := &application.Reader{
		DB: a.db, State: a.state, Log: a.log, Clock: time.Now,
		Destinations: a.destinationNames(), Alertmanagers: a.alertmanagerNames(),
	}
	a.telemetry.registry.MustRegister(newOutboxCollector(reader, time.Now))
	figures, err := host.New(host.Config{Logger: a.opts.Logger})
	if err != nil {
		return err
	}
	hostRegistry := prometheus.NewRegistry()
	if err := hostRegistry.Register(figures); err != nil {
		return fmt.Errorf("tocsin: host figures: %w", err)
	}
	server, err := web.New(web.Config{
		Reader:        reader,
		Groups:        func() []web.GroupInfo { return a.status.infos(a.cfg.Load()) },
		Engine:        a.metrics.Engine(),
		Queryable:     a.metrics.Queryable(),
		Targets:       func() (active, dropped []web.Target) { return targets(a.metrics) },
		Registry:      a.telemetry.registry,
		HostRegistry:  hostRegistry,
		Changes:       a.hub,
		Ready:         a.checkReady,
		Version:       a.opts.Version,
		Store:         "sqlite:" + a.opts.DB,
		ExternalURL:   a.url,
		WebConfigFile: a.opts.WebConfigFile,
		Logger:        quiet(a.opts.Logger),
	})
	a.server = server
	return err
}

func (a *App) checkReady() error {
	if a.ready.Load() {
		return nil
	}
	return errors.New("tocsin: starting")
}

// recorded writes the alerts as series, which is for people to look at: the state
// is in the database.
func (a *App) recorded(ctx context.Context, g application.Group, slot time.Time, alerts []domain.Alert) {
	for _, group := range a.cfg.Load().Groups {
		if group.ID() != g.ID {
			continue
		}
		if err := a.metrics.WriteAlerts(ctx, group, slot, alerts); err != nil {
			a.opts.Logger.Warn("the series of the alerts could not be written", "group", g.ID, "error", err)
		}
	}
}

func (a *App) committed(transitions []domain.Transition) {
	a.telemetry.transitioned(transitions)
	for _, l := range a.leases {
		l.Wake()
	}
	a.hub.Notify()
}
