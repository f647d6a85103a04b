package metrics

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"time"

	"github.com/prometheus/common/model"
	promconfig "github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery"
	"github.com/prometheus/prometheus/discovery/file"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/relabel"
	"github.com/prometheus/prometheus/scrape"
)

// Bounds of the waiting for targets.
const (
	discoveryGrace = 5 * time.Second // for files to be read and targets to be taken up
	longestWait    = 5 * time.Minute // for the first scrape of a slow target
)

// errNotNamed means that discovery has not yet named the targets.
var errNotNamed = errors.New("metrics: the targets are not known yet")

// targetSet is the targets that there should be, as discovery names them,
// whether the scraper could take them up or not.
type targetSet struct {
	jobs   map[string]*promconfig.ScrapeConfig
	groups map[string][]*targetgroup.Group
	since  map[string]time.Time // when discovery was told of the jobs
	all    map[string]*expectedTarget
}

// expectedTarget is one of them. It is not changed after it has been made, but
// for scraped.
type expectedTarget struct {
	job, instance string
	hash          uint64 // of the public labels, which are those of its up series
	interval      time.Duration
	timeout       time.Duration
	since         time.Time
	scraped       bool
	// foreign means that its series may have another job or instance than itself.
	foreign bool
}

func newTargetSet() *targetSet {
	return &targetSet{all: map[string]*expectedTarget{}}
}

func (s *targetSet) apply(configs []*promconfig.ScrapeConfig, now time.Time) {
	jobs, since := map[string]*promconfig.ScrapeConfig{}, map[string]time.Time{}
	for _, sc := range configs {
		jobs[sc.JobName], since[sc.JobName] = sc, now
		if old, ok := s.jobs[sc.JobName]; ok && reflect.DeepEqual(old.ServiceDiscoveryConfigs, sc.ServiceDiscoveryConfigs) {
			since[sc.JobName] = s.since[sc.JobName]
		}
	}
	s.jobs, s.since = jobs, since
	s.rebuild(now)
}

func (s *targetSet) discovered(groups map[string][]*targetgroup.Group, now time.Time) {
	s.groups = groups
	s.rebuild(now)
}

// rebuild works the targets out anew; those that are as before keep their state.
func (s *targetSet) rebuild(now time.Time) {
	all := map[string]*expectedTarget{}
	b := labels.NewBuilder(labels.EmptyLabels())
	for job, sc := range s.jobs {
		for _, group := range s.groups[job] {
			// Targets that cannot be made are logged by the scraper.
			targets, _ := scrape.TargetsFromGroup(group, sc, nil, b)
			for _, t := range targets {
				public := t.Labels(b)
				if public.IsEmpty() {
					continue // dropped by relabeling
				}
				key := job + "\x00" + t.URL().String() + "\x00" + public.String()
				if old, ok := s.all[key]; ok {
					all[key] = old
					continue
				}
				all[key] = newExpectedTarget(sc, t, public, now)
			}
		}
	}
	s.all = all
}

func newExpectedTarget(sc *promconfig.ScrapeConfig, t *scrape.Target, public labels.Labels, now time.Time) *expectedTarget {
	return &expectedTarget{
		job: public.Get(model.JobLabel), instance: public.Get(model.InstanceLabel), hash: public.Hash(),
		interval: labelDuration(t, model.ScrapeIntervalLabel, sc.ScrapeInterval),
		timeout:  labelDuration(t, model.ScrapeTimeoutLabel, sc.ScrapeTimeout),
		since:    now, foreign: sc.HonorLabels || renames(sc.MetricRelabelConfigs),
	}
}

func labelDuration(t *scrape.Target, name string, otherwise model.Duration) time.Duration {
	d, err := model.ParseDuration(t.GetValue(name))
	if err != nil {
		d = otherwise
	}
	return time.Duration(d)
}

// renames reports whether relabeling may change the job or instance of a series.
func renames(configs []*relabel.Config) bool {
	for _, rc := range configs {
		switch rc.Action {
		case relabel.Keep, relabel.Drop, relabel.KeepEqual, relabel.DropEqual:
		case relabel.LabelDrop, relabel.LabelKeep, relabel.LabelMap:
			return true
		default:
			if rc.TargetLabel == model.JobLabel || rc.TargetLabel == model.InstanceLabel {
				return true
			}
		}
	}
	return false
}

// named reports whether discovery has named the targets of all jobs, or has had
// the time to.
func (s *targetSet) named(now time.Time) bool {
	for job, sc := range s.jobs {
		if now.Sub(s.since[job]) >= discoveryGrace {
			continue
		}
		groups, ok := s.groups[job]
		if !ok || len(groups) < leastGroups(sc.ServiceDiscoveryConfigs) {
			return false
		}
	}
	return true
}

// leastGroups is the number of target groups that a job has at least.
func leastGroups(configs discovery.Configs) int {
	least := 0
	for _, c := range configs {
		switch sd := c.(type) {
		case discovery.StaticConfig:
			for _, group := range sd {
				if len(group.Targets) > 0 {
					least++
				}
			}
		case *file.SDConfig:
			if anyFile(sd.Files) {
				least++
			}
		}
	}
	return least
}

func anyFile(patterns []string) bool {
	for _, pattern := range patterns {
		if files, err := filepath.Glob(pattern); err == nil && len(files) > 0 {
			return true
		}
	}
	return false
}

// awaited reports whether it is worth waiting for the target's first scrape.
func (t *expectedTarget) awaited(now time.Time) bool {
	return !t.scraped && now.Sub(t.since) < min(2*t.interval+t.timeout+discoveryGrace, longestWait)
}

// Ready reports whether every target has been scraped once, well or not, since
// the process started; new targets of the last Apply included. It does not wait
// for ever: a target gets twice its scrape interval and its timeout, and 5
// seconds to be taken up, at most 5 minutes in all. Before the first Apply it is false.
func (m *Metrics) Ready(ctx context.Context) bool {
	now := time.Now()
	scrapes, err := m.reports(ctx, now)
	if err != nil {
		return false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.current == nil || !m.targets.named(now) {
		return false
	}
	ready := true
	for _, t := range m.targets.all {
		if _, ok := scrapes[t.hash]; ok {
			t.scraped = true
		}
		ready = ready && !t.awaited(now)
	}
	return ready
}

// WaitFirstScrape waits until Ready. Evaluate no rule before, neither at the
// start nor after an Apply with new targets: a rule such as absent(…) would fire
// on what has not been asked yet.
func (m *Metrics) WaitFirstScrape(ctx context.Context) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !m.Ready(ctx) {
		select {
		case <-ctx.Done():
			return fmt.Errorf("metrics: wait for the first scrape: %w", context.Cause(ctx))
		case <-m.done:
			return ErrClosed
		case <-tick.C:
		}
	}
	return nil
}

// wellScraped is 1 for a target whose last scrape was good and brought samples,
// and 0 for any other. A good answer without a single sample is what a broken
// exporter gives.
const wellScraped = `up and (scrape_samples_scraped > 0) or up * 0`

// reports returns wellScraped at a time, by the labels of the target. The report
// of a scrape is committed together with its samples, so the samples are there
// when it is; the scraper's own state of the target is ahead of both.
func (m *Metrics) reports(ctx context.Context, at time.Time) (map[uint64]float64, error) {
	vector, err := m.query(ctx, wellScraped, at)
	if err != nil {
		return nil, err
	}
	values := make(map[uint64]float64, len(vector))
	b := labels.NewBuilder(labels.EmptyLabels())
	for _, sample := range vector {
		b.Reset(sample.Metric)
		values[b.Del(labels.MetricName).Labels().Hash()] = sample.F
	}
	return values, nil
}

// down returns the targets that have no good report at a time, and all targets.
func (m *Metrics) down(ctx context.Context, at time.Time) (down, all []*expectedTarget, err error) {
	values, err := m.reports(ctx, at)
	if err != nil {
		return nil, nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.targets.named(time.Now()) {
		return nil, nil, errNotNamed
	}
	for _, t := range m.targets.all {
		all = append(all, t)
		if values[t.hash] != 1 {
			down = append(down, t)
		}
	}
	return down, all, nil
}
