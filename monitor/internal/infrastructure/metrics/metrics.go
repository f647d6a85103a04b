package metrics

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/discovery"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/scrape"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"

	"github.com/uow-go/uow/monitor/internal/infrastructure/config"
)

// ErrClosed is returned after Close.
var ErrClosed = errors.New("metrics: closed")

// Config is what Open needs. Zero values mean the defaults.
type Config struct {
	// Dir is where the samples are kept. Required; one process at a time.
	Dir string
	// Retention is how long samples are kept; 15 days by default, at least 1 hour.
	Retention time.Duration
	// ExternalURL is where users find tocsin; templates and Targets show it.
	ExternalURL string
	// Lookback is how old a sample may be to count as present; 5 minutes by
	// default.
	Lookback time.Duration
	// QueryTimeout is for one query; 2 minutes by default.
	QueryTimeout time.Duration
	// MaxSamples is the most that one query may hold in memory; 5 million by
	// default, a tenth of Prometheus', since anybody who reaches the API may ask.
	MaxSamples int
	// BodySizeLimit is for the answers of the targets whose scrape config has no
	// body_size_limit, in bytes and uncompressed; 64 MiB by default.
	BodySizeLimit int64
	// Logger gets nothing by default.
	Logger *slog.Logger
	// Registerer gets the metrics of this package and of Prometheus' parts; none
	// by default. It takes those of one Metrics only.
	Registerer prometheus.Registerer
}

func (c Config) withDefaults() (Config, error) {
	const day = 24 * time.Hour
	if c.Dir == "" {
		return c, errors.New("metrics: Config.Dir is empty, expected a directory")
	}
	if c.Retention == 0 {
		c.Retention = 15 * day
	}
	if c.Retention < time.Hour {
		return c, fmt.Errorf("metrics: Config.Retention is %s, expected at least 1h", c.Retention)
	}
	if c.Lookback == 0 {
		c.Lookback = 5 * time.Minute
	}
	if c.QueryTimeout == 0 {
		c.QueryTimeout = 2 * time.Minute
	}
	if c.MaxSamples == 0 {
		c.MaxSamples = 5_000_000
	}
	if c.BodySizeLimit == 0 {
		c.BodySizeLimit = 64 << 20
	}
	if c.Lookback < 0 || c.QueryTimeout < 0 || c.MaxSamples < 0 || c.BodySizeLimit < 0 {
		return c, errors.New("metrics: a negative value in Config, expected zero or more")
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Registerer == nil {
		c.Registerer = prometheus.NewRegistry()
	}
	return c, nil
}

// Metrics scrapes, stores and evaluates. Its methods may be called at the same
// time, except that one group must not be evaluated twice at once.
type Metrics struct {
	cfg         Config
	externalURL *url.URL
	db          *tsdb.DB
	engine      *promql.Engine
	discovery   *discovery.Manager
	scrape      *scrape.Manager
	stats       *stats
	cancel      context.CancelFunc // ends discovery
	done        <-chan struct{}
	closing     sync.Once
	stopping    sync.Once

	applying sync.Mutex // one Apply at a time
	mu       sync.Mutex // guards the rest
	current  *config.Config
	targets  *targetSet
	recorded *recordings
	written  *writtenSeries
}

// Open opens the store and ends the series that were alive when the last process
// ended. Call Apply, then Run.
func Open(cfg Config) (*Metrics, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	external, err := url.Parse(cfg.ExternalURL)
	if err != nil {
		return nil, fmt.Errorf("metrics: external URL: %w", err)
	}
	db, err := tsdb.Open(cfg.Dir, cfg.Logger.With("component", "tsdb"), cfg.Registerer, storeOptions(cfg.Retention), nil)
	if err != nil {
		return nil, fmt.Errorf("metrics: open the store: %w", err)
	}
	m := &Metrics{
		cfg: cfg, externalURL: external, db: db,
		engine: promql.NewEngine(promql.EngineOpts{
			Logger: cfg.Logger.With("component", "promql"), Reg: cfg.Registerer, MaxSamples: cfg.MaxSamples,
			Timeout: cfg.QueryTimeout, LookbackDelta: cfg.Lookback, Parser: config.NewParser(),
			EnableAtModifier: true, EnableNegativeOffset: true,
			NoStepSubqueryIntervalFn: func(int64) int64 { return time.Minute.Milliseconds() },
		}),
		targets: newTargetSet(), recorded: newRecordings(), written: newWrittenSeries(),
	}
	if err := m.start(); err != nil {
		return nil, errors.Join(err, m.engine.Close(), db.Close())
	}
	return m, nil
}

// start does what can fail after the store is open.
func (m *Metrics) start() error {
	ctx, cancel := context.WithCancel(context.Background())
	m.cancel, m.done = cancel, ctx.Done()
	err := m.endOldSeries(ctx, time.Now())
	if err == nil {
		m.stats, err = newStats(m.cfg.Registerer)
	}
	if err == nil {
		err = m.newManagers(ctx)
	}
	if err != nil {
		cancel()
	}
	return err
}

// storeOptions sizes the blocks as Prometheus does.
func storeOptions(retention time.Duration) *tsdb.Options {
	o := tsdb.DefaultOptions()
	o.RetentionDuration = retention.Milliseconds()
	o.MaxBlockDuration = max(o.MinBlockDuration, min(retention/10, 31*24*time.Hour).Milliseconds())
	return o
}

// Queryable gives the samples, for the HTTP API.
func (m *Metrics) Queryable() storage.SampleAndChunkQueryable { return m.db }

// Engine is the engine that rules are evaluated with, for the HTTP API.
func (m *Metrics) Engine() *promql.Engine { return m.engine }

// Close ends scraping and closes the store. End first what evaluates and what
// queries. Calls after the first do nothing.
func (m *Metrics) Close() error {
	var err error
	m.closing.Do(func() {
		m.cancel()
		m.stopScraping()
		err = errors.Join(m.engine.Close(), m.db.Close())
	})
	if err != nil {
		return fmt.Errorf("metrics: close: %w", err)
	}
	return nil
}

// query evaluates an expression at one time.
func (m *Metrics) query(ctx context.Context, expr string, at time.Time) (promql.Vector, error) {
	q, err := m.engine.NewInstantQuery(ctx, m.db, nil, expr, at)
	if err != nil {
		return nil, err
	}
	defer q.Close()
	result := q.Exec(ctx)
	if result.Err != nil {
		return nil, result.Err
	}
	switch v := result.Value.(type) {
	case promql.Vector:
		return v, nil
	case promql.Scalar:
		return promql.Vector{{T: v.T, F: v.V}}, nil
	default:
		return nil, errors.New("the result is not an instant vector or a scalar")
	}
}

// stats are the metrics of this package.
type stats struct {
	evaluations, failures *prometheus.CounterVec
	duration              *prometheus.HistogramVec
}

func newStats(registerer prometheus.Registerer) (*stats, error) {
	labels := []string{"rule_group"}
	s := &stats{
		evaluations: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tocsin_evaluations_total", Help: "Evaluations of rules.",
		}, labels),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tocsin_evaluation_failures_total", Help: "Evaluations of rules that failed.",
		}, labels),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "tocsin_evaluation_duration_seconds", Help: "How long the queries of a rule group took.",
			Buckets: prometheus.ExponentialBuckets(0.001, 4, 8),
		}, labels),
	}
	for _, c := range []prometheus.Collector{s.evaluations, s.failures, s.duration} {
		if err := registerer.Register(c); err != nil {
			return nil, fmt.Errorf("metrics: %w", err)
		}
	}
	return s, nil
}

// expect makes the counters of the groups start at 0, so that the first failure
// is an increase.
func (s *stats) expect(groups []config.RuleGroup) {
	for _, g := range groups {
		s.evaluations.WithLabelValues(g.ID())
		s.failures.WithLabelValues(g.ID())
	}
}
