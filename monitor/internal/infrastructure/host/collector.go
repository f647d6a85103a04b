package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// ErrBusy means that a source has not answered since the last collection.
var ErrBusy = errors.New("host: the source has not answered since the last time")

// Config is what New needs. Zero values mean the defaults.
type Config struct {
	// Timeout is for each source; 2 seconds by default. It must be shorter than
	// the timeout of the scrapes.
	Timeout time.Duration
	// Logger gets nothing by default.
	Logger *slog.Logger
}

// Collector is a prometheus.Collector of this machine's figures. Register it
// with a registry of its own.
type Collector struct {
	cfg     Config
	sources sources

	mu   sync.Mutex
	busy map[string]bool // the parts that have not come back
}

// New returns a collector.
func New(cfg Config) (*Collector, error) {
	if cfg.Timeout < 0 {
		return nil, fmt.Errorf("host: Config.Timeout is %s, expected zero or more", cfg.Timeout)
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = 2 * time.Second
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Collector{cfg: cfg, sources: machine(), busy: map[string]bool{}}, nil
}

// Describe sends nothing: what there is depends on the machine.
func (c *Collector) Describe(chan<- *prometheus.Desc) {}

// part is one source's figures.
type part struct {
	name string
	read func(context.Context) ([]prometheus.Metric, error)
}

func (c *Collector) parts() []part {
	return []part{
		{"cpu", c.cpu}, {"memory", c.memory}, {"filesystem", c.filesystems}, {"diskstats", c.disks},
		{"load", c.load}, {"network", c.network}, {"boot", c.boot}, {"uname", c.uname}, {"time", c.time},
	}
}

// Collect reads all sources at once and sends what has come in time.
func (c *Collector) Collect(out chan<- prometheus.Metric) {
	parts := c.parts()
	results := make([][]prometheus.Metric, len(parts))
	var all sync.WaitGroup
	for i, p := range parts {
		all.Go(func() {
			metrics, err := within(c, c.cfg.Timeout, p.name, p.read)
			success := 1.0
			if err != nil {
				success = 0
				c.cfg.Logger.Debug("figures of this machine are missing", "collector", p.name, "error", err)
			}
			results[i] = append(metrics, gauge("tocsin_host_collector_success",
				"1 when the figures of this machine were read.", success, "collector", p.name)...)
		})
	}
	all.Wait()
	for _, metrics := range results {
		for _, m := range metrics {
			out <- m
		}
	}
}

// within runs a function that may hang for ever, such as the statistics of a
// network file system, and gives up after the timeout. While a function hangs it
// is not started again.
func within[T any](c *Collector, timeout time.Duration, name string, read func(context.Context) (T, error)) (T, error) {
	var none T
	c.mu.Lock()
	if c.busy[name] {
		c.mu.Unlock()
		return none, ErrBusy
	}
	c.busy[name] = true
	c.mu.Unlock()

	type answer struct {
		value T
		err   error
	}
	answers := make(chan answer, 1)
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	go func() {
		defer cancel()
		value, err := read(ctx)
		c.mu.Lock()
		delete(c.busy, name)
		c.mu.Unlock()
		answers <- answer{value, err}
	}()
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case a := <-answers:
		return a.value, a.err
	case <-timer.C:
		return none, fmt.Errorf("host: %s: no answer within %s", name, timeout)
	}
}

func gauge(name, help string, value float64, labels ...string) []prometheus.Metric {
	return metric(prometheus.GaugeValue, name, help, value, labels)
}

func counter(name, help string, value float64, labels ...string) []prometheus.Metric {
	return metric(prometheus.CounterValue, name, help, value, labels)
}

// metric returns one metric, or none when it cannot be made. labels are names
// and values by turns; names of devices and mount points may hold any byte.
func metric(kind prometheus.ValueType, name, help string, value float64, labels []string) []prometheus.Metric {
	var names, values []string
	for i := 0; i+1 < len(labels); i += 2 {
		names = append(names, labels[i])
		values = append(values, strings.ToValidUTF8(labels[i+1], "�"))
	}
	m, err := prometheus.NewConstMetric(prometheus.NewDesc(name, help, names, nil), kind, value, values...)
	if err != nil {
		return nil
	}
	return []prometheus.Metric{m}
}
