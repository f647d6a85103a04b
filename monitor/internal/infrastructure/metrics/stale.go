package metrics

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"

	"github.com/uow-go/uow/monitor/internal/infrastructure/config"
)

// sourceState is what one evaluation of a group knows of its sources.
type sourceState struct {
	ctx     context.Context
	m       *Metrics
	at      time.Time
	down    []*expectedTarget
	all     []*expectedTarget
	unknown bool // the state of the targets could not be read
}

// blame says that a rule may depend on a target that is down.
type blame struct {
	target  *expectedTarget
	carried carried
	// known means that the store holds series that the rule has used. Without
	// it, as after the loss of the store, only the alert's labels tell.
	known bool
}

// stale returns the function for domain.Result.Stale. It is asked about alerts
// that have vanished only, so the work is done when it is called first.
func (s *sourceState) stale(rule config.Rule) func(map[string]string) bool {
	if s.unknown {
		return func(map[string]string) bool { return true }
	}
	if len(s.down) == 0 && s.m.recorded.allGood() {
		return nil
	}
	var once sync.Once
	var all bool
	var blames []blame
	return func(alert map[string]string) bool {
		once.Do(func() { blames, all = s.blame(rule) })
		if all {
			return true
		}
		for _, b := range blames {
			if s.concerns(b, alert) {
				return true
			}
		}
		return false
	}
}

// blame finds the targets that are down and that the rule's samples come from.
// all means that every alert of the rule is in doubt: a recording rule on the way
// fails, or the store does.
func (s *sourceState) blame(rule config.Rule) (blames []blame, all bool) {
	a := analyse(rule, s.m.recorded)
	if a.failing {
		return nil, true
	}
	if len(s.down) == 0 || len(a.sources) == 0 {
		return nil, false
	}
	since, until := s.span()
	querier, err := s.m.db.Querier(since, until)
	if err != nil {
		return nil, true
	}
	defer querier.Close()
	for _, src := range a.sources {
		for _, target := range s.down {
			feeds, err := s.feeds(querier, target, src.matchers)
			if err != nil {
				s.m.cfg.Logger.Warn("the sources of a rule could not be found", "rule", rule.Alert, "error", err)
				return nil, true
			}
			if feeds || mayFeed(target, src.matchers) {
				blames = append(blames, blame{target, src.carried, feeds})
			}
		}
	}
	return blames, false
}

// span is the time in which a series shows where a rule's samples come from: all
// that is stored, since a target may be down for long.
func (s *sourceState) span() (since, until int64) {
	return s.at.Add(-s.m.cfg.Retention).UnixMilli(), s.at.UnixMilli()
}

// feeds reports whether a selector has found series of the target in what the
// store holds. The reports of the scrapes do not count: they come from tocsin
// and go on while the target is down. Nor do the alerts, which are held.
func (s *sourceState) feeds(querier storage.Querier, target *expectedTarget, matchers []*labels.Matcher) (bool, error) {
	all := append([]*labels.Matcher{notReported()}, matchers...)
	if !target.foreign {
		all = append(all,
			labels.MustNewMatcher(labels.MatchEqual, model.JobLabel, target.job),
			labels.MustNewMatcher(labels.MatchEqual, model.InstanceLabel, target.instance))
	}
	since, until := s.span()
	set := querier.Select(s.ctx, false, &storage.SelectHints{Func: "series", Start: since, End: until}, all...)
	for set.Next() {
		if !target.foreign {
			return true, nil
		}
		lset := set.At().Labels()
		if owner := s.owner(lset.Get(model.JobLabel), lset.Get(model.InstanceLabel)); owner == nil || owner == target {
			return true, nil
		}
	}
	return false, set.Err()
}

// mayFeed reports whether a selector could find series of the target.
func mayFeed(target *expectedTarget, matchers []*labels.Matcher) bool {
	if target.foreign {
		return false
	}
	for _, m := range matchers {
		switch {
		case m.Name == labels.MetricName && m.Type == labels.MatchEqual && !notReported().Matches(m.Value),
			m.Name == model.JobLabel && !m.Matches(target.job),
			m.Name == model.InstanceLabel && !m.Matches(target.instance):
			return false
		}
	}
	return true
}

// notReported matches the metrics that come from the targets.
func notReported() *labels.Matcher {
	return labels.MustNewMatcher(labels.MatchNotRegexp, labels.MetricName,
		"up|scrape_(duration_seconds|samples_scraped|samples_post_metric_relabeling|series_added|"+
			"timeout_seconds|sample_limit|body_size_bytes)|ALERTS|ALERTS_FOR_STATE")
}

// concerns reports whether an alert may be one of the target's.
func (s *sourceState) concerns(b blame, alert map[string]string) bool {
	job, instance := alert[model.JobLabel], alert[model.InstanceLabel]
	if !b.known {
		return b.carried.job && b.carried.instance && job == b.target.job && instance == b.target.instance
	}
	if b.target.foreign {
		if !b.carried.job || !b.carried.instance || job == "" || instance == "" {
			return true
		}
		owner := s.owner(job, instance)
		return owner == nil || owner == b.target
	}
	return (!b.carried.job || job == "" || job == b.target.job) &&
		(!b.carried.instance || instance == "" || instance == b.target.instance)
}

// owner returns the target with these labels.
func (s *sourceState) owner(job, instance string) *expectedTarget {
	for _, t := range s.all {
		if t.job == job && t.instance == instance {
			return t
		}
	}
	return nil
}
