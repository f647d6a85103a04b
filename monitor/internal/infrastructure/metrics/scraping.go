package metrics

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/units"
	commonconfig "github.com/prometheus/common/config"
	"github.com/prometheus/common/model"
	promconfig "github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/scrape"

	"github.com/uow-go/uow/monitor/internal/infrastructure/config"
)

// newManagers makes Prometheus' discovery and scraper, which look for changes of
// the targets once a second.
func (m *Metrics) newManagers(ctx context.Context) error {
	sd, err := discovery.CreateAndRegisterSDMetrics(m.cfg.Registerer)
	if err != nil {
		return fmt.Errorf("metrics: discovery: %w", err)
	}
	m.discovery = discovery.NewManager(ctx, m.cfg.Logger.With("component", "discovery"), m.cfg.Registerer, sd,
		discovery.Updatert(time.Second))
	if m.discovery == nil {
		return errors.New("metrics: discovery could not be made; the log says why")
	}
	options := &scrape.Options{DiscoveryReloadInterval: model.Duration(time.Second), DiscoveryReloadOnStartup: true}
	m.scrape, err = scrape.NewManager(options, m.cfg.Logger.With("component", "scrape"), nil, nil, m.db, m.cfg.Registerer)
	if err != nil {
		return fmt.Errorf("metrics: scraping: %w", err)
	}
	return nil
}

// Apply takes over the scrape configs and the rule groups of a configuration, at
// the start and for each reload. Targets that stay keep their state. When a job's
// certificates or other files cannot be read, the old configuration stays.
func (m *Metrics) Apply(cfg *config.Config) error {
	m.applying.Lock()
	defer m.applying.Unlock()
	scrapeConfig, err := m.scrapeConfig(cfg)
	if err != nil {
		return fmt.Errorf("metrics: apply: %w", err)
	}
	if err := checkClients(scrapeConfig.ScrapeConfigs); err != nil {
		return err
	}
	m.mu.Lock()
	m.current = cfg
	m.targets.apply(scrapeConfig.ScrapeConfigs, time.Now())
	m.mu.Unlock()
	m.stats.expect(cfg.Groups)
	m.recorded.apply(cfg.Groups)
	m.written.apply(cfg.Groups, time.Now())

	// The scraper must know the jobs before discovery sends their targets.
	if err := m.scrape.ApplyConfig(scrapeConfig); err != nil {
		return fmt.Errorf("metrics: apply: %w", err)
	}
	jobs := map[string]discovery.Configs{}
	for _, sc := range scrapeConfig.ScrapeConfigs {
		jobs[sc.JobName] = sc.ServiceDiscoveryConfigs
	}
	if err := m.discovery.ApplyConfig(jobs); err != nil {
		return fmt.Errorf("metrics: apply: %w", err)
	}
	return nil
}

// checkClients finds jobs that cannot be scraped, which the scraper would leave
// out one by one.
func checkClients(configs []*promconfig.ScrapeConfig) error {
	for _, sc := range configs {
		client, err := commonconfig.NewClientFromConfig(sc.HTTPClientConfig, sc.JobName)
		if err != nil {
			return fmt.Errorf("metrics: apply: job %s: %w", sc.JobName, err)
		}
		client.CloseIdleConnections()
	}
	return nil
}

// scrapeConfig wraps the scrape configs in what the scraper takes, with the
// limit for bodies where there is none.
func (m *Metrics) scrapeConfig(cfg *config.Config) (*promconfig.Config, error) {
	wrapped, err := promconfig.Load("", m.cfg.Logger)
	if err != nil {
		return nil, err
	}
	wrapped.GlobalConfig = cfg.Global
	for _, sc := range cfg.ScrapeConfigs {
		limited := *sc
		if limited.BodySizeLimit == 0 {
			limited.BodySizeLimit = units.Base2Bytes(m.cfg.BodySizeLimit)
		}
		wrapped.ScrapeConfigs = append(wrapped.ScrapeConfigs, &limited)
	}
	return wrapped, nil
}

// Run discovers and scrapes the targets until the context ends or Close is
// called. Call it once.
func (m *Metrics) Run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, m.cancel)
	defer stop()
	updates := make(chan map[string][]*targetgroup.Group)
	scraping := make(chan error, 1)
	go func() { scraping <- m.scrape.Run(updates) }()
	go func() {
		defer close(updates)
		for groups := range m.discovery.SyncCh() {
			m.mu.Lock()
			m.targets.discovered(groups, time.Now())
			m.mu.Unlock()
			select {
			case updates <- groups:
			case <-m.done:
				return
			}
		}
	}()
	err := m.discovery.Run()
	m.stopScraping()
	if err != nil && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("metrics: discovery: %w", err)
	}
	if err := <-scraping; err != nil {
		return fmt.Errorf("metrics: scraping: %w", err)
	}
	return nil
}

// stopScraping ends the scrapes; the scraper takes that once only.
func (m *Metrics) stopScraping() { m.stopping.Do(m.scrape.Stop) }

// Target is a target as Prometheus' /api/v1/targets shows it. For a dropped one
// only DiscoveredLabels and ScrapePool are set.
type Target struct {
	DiscoveredLabels   map[string]string
	Labels             map[string]string
	ScrapePool         string
	ScrapeURL          string
	GlobalURL          string
	LastError          string
	LastScrape         time.Time // zero before the first scrape
	LastScrapeDuration time.Duration
	Health             string // up, down or unknown
	ScrapeInterval     string
	ScrapeTimeout      string
}

// Targets returns the targets that are scraped and those that relabeling has
// dropped, sorted by pool and URL.
func (m *Metrics) Targets() (active, dropped []Target) {
	b := labels.NewBuilder(labels.EmptyLabels())
	for pool, targets := range m.scrape.TargetsActive() {
		for _, t := range targets {
			active = append(active, m.target(pool, t, b))
		}
	}
	for pool, targets := range m.scrape.TargetsDropped() {
		for _, t := range targets {
			dropped = append(dropped, Target{ScrapePool: pool, DiscoveredLabels: t.DiscoveredLabels(b).Map()})
		}
	}
	order := func(a, b Target) int {
		return strings.Compare(a.ScrapePool+"\x00"+a.ScrapeURL, b.ScrapePool+"\x00"+b.ScrapeURL)
	}
	slices.SortFunc(active, order)
	slices.SortStableFunc(dropped, order)
	return active, dropped
}

func (m *Metrics) target(pool string, t *scrape.Target, b *labels.Builder) Target {
	lastError := ""
	if err := t.LastError(); err != nil {
		lastError = err.Error()
	}
	return Target{
		DiscoveredLabels: t.DiscoveredLabels(b).Map(), Labels: t.Labels(b).Map(), ScrapePool: pool,
		ScrapeURL: t.URL().Redacted(), GlobalURL: m.globalURL(t.URL()).Redacted(), LastError: lastError,
		LastScrape: t.LastScrape(), LastScrapeDuration: t.LastScrapeDuration(), Health: string(t.Health()),
		ScrapeInterval: t.GetValue(model.ScrapeIntervalLabel), ScrapeTimeout: t.GetValue(model.ScrapeTimeoutLabel),
	}
}

// globalURL replaces a local host name by the one that users know.
func (m *Metrics) globalURL(u *url.URL) *url.URL {
	external := m.externalURL.Hostname()
	if host := u.Hostname(); external == "" || host != "localhost" && host != "127.0.0.1" && host != "::1" {
		return u
	}
	global := *u
	if strings.Contains(external, ":") {
		external = "[" + external + "]"
	}
	if global.Host = external; u.Port() != "" {
		global.Host += ":" + u.Port()
	}
	return &global
}
