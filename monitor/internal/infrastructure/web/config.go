package web

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	exporter "github.com/prometheus/exporter-toolkit/web"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/storage"

	"github.com/uow-go/uow/monitor/internal/application"
)

// Engine evaluates PromQL; *promql.Engine is one.
type Engine interface {
	NewInstantQuery(ctx context.Context, q storage.Queryable, opts promql.QueryOpts, qs string, ts time.Time) (promql.Query, error)
	NewRangeQuery(ctx context.Context, q storage.Queryable, opts promql.QueryOpts, qs string, start, end time.Time, interval time.Duration) (promql.Query, error)
}

// Config says what a Server shows. Reader is needed; what else is missing has a
// default, or its pages are empty and its endpoints answer that they are not
// available.
type Config struct {
	Reader *application.Reader
	// Groups returns the rule groups in the order of the files. It is called
	// for each request and must not block.
	Groups func() []GroupInfo
	// Engine and Queryable answer the query API.
	Engine    Engine
	Queryable storage.Queryable
	// QueryTimeout is the longest that a query may take. Default: 2 minutes.
	QueryTimeout time.Duration
	// Targets returns the targets that are scraped and those that relabelling has
	// dropped. It must not block.
	Targets func() (active, dropped []Target)
	// Registry is served at /metrics and HostRegistry at /metrics/host.
	Registry     prometheus.Gatherer
	HostRegistry prometheus.Gatherer
	// Changes tells open pages to look again. Default: a hub of its own, which
	// nobody notifies.
	Changes *Hub
	// Ready returns why /-/ready is to fail, or nil.
	Ready func() error
	// Version and Store are shown at the foot of each page.
	Version string
	Store   string
	// ExternalURL is where users reach this server. Its path is served with and
	// without being stripped by a proxy.
	ExternalURL string
	// WebConfigFile is a file in the format of Prometheus' web.config.file, for
	// TLS and passwords; empty for none.
	WebConfigFile string
	// Logger's default discards, and Clock's is time.Now.
	Logger *slog.Logger
	Clock  application.Clock
}

const maxQueryTimeout = 2 * time.Minute

// complete checks the configuration and fills in the defaults.
func (c Config) complete() (Config, error) {
	if c.Reader == nil {
		return c, fmt.Errorf("%w: Reader is missing", ErrConfig)
	}
	if _, err := c.prefix(); err != nil {
		return c, err
	}
	if err := exporter.Validate(c.WebConfigFile); err != nil {
		return c, fmt.Errorf("web: web configuration file %s: %w", c.WebConfigFile, err)
	}
	if c.Groups == nil {
		c.Groups = func() []GroupInfo { return nil }
	}
	if c.Targets == nil {
		c.Targets = func() (active, dropped []Target) { return nil, nil }
	}
	if c.Ready == nil {
		c.Ready = func() error { return nil }
	}
	if c.Changes == nil {
		c.Changes = NewHub()
	}
	if c.QueryTimeout <= 0 {
		c.QueryTimeout = maxQueryTimeout
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	return c, nil
}

// prefix is the path of the external URL, without a slash at its end.
func (c Config) prefix() (string, error) {
	u, err := url.Parse(c.ExternalURL)
	if err != nil {
		return "", fmt.Errorf("web: external URL: %w", err)
	}
	if u.Path != "" && !strings.HasPrefix(u.Path, "/") {
		return "", fmt.Errorf("%w: external URL %q has no scheme and host", ErrConfig, c.ExternalURL)
	}
	return strings.TrimRight(u.Path, "/"), nil
}
