package web

import (
	"time"

	"github.com/uow-go/uow/monitor/internal/domain"
)

// RuleType says what a rule makes.
type RuleType string

// The types of rules, as in Prometheus' API.
const (
	Alerting  RuleType = "alerting"
	Recording RuleType = "recording"
)

// Health says how the last evaluation of a rule went.
type Health string

// The health of rules, as in Prometheus' API.
const (
	HealthOK      Health = "ok"
	HealthErr     Health = "err"
	HealthUnknown Health = "unknown"
)

// GroupInfo is a rule group and how its evaluations went in this process.
type GroupInfo struct {
	ID       string // domain.Group's
	Name     string
	File     string
	Interval time.Duration
	Limit    int
	Rules    []RuleInfo
	// LastEvaluation is the last slot that this process evaluated, and
	// EvaluationTime how long that took.
	LastEvaluation time.Time
	EvaluationTime time.Duration
	// LastError is why the last evaluation as a whole failed, empty when it was
	// committed.
	LastError string
}

// RuleInfo is a rule and how its last evaluation went.
type RuleInfo struct {
	Type          RuleType
	UID           string // domain.Rule's; empty for a recording rule
	Name          string
	Query         string
	For           time.Duration
	KeepFiringFor time.Duration
	Labels        map[string]string
	Annotations   map[string]string
	// Health is HealthUnknown when empty. What is stored of an alerting rule's
	// health counts more.
	Health         Health
	LastError      string
	LastEvaluation time.Time
	EvaluationTime time.Duration
}

// Target is one target. Of one that relabelling has dropped, only DiscoveredLabels
// and ScrapePool are set.
type Target struct {
	DiscoveredLabels   map[string]string
	Labels             map[string]string
	ScrapePool         string // the job
	ScrapeURL          string
	GlobalURL          string
	LastError          string
	LastScrape         time.Time // zero before the first scrape
	LastScrapeDuration time.Duration
	Health             string // up, down or unknown
	ScrapeInterval     string
	ScrapeTimeout      string
}

// ruleState is a rule with all that is known of it.
type ruleState struct {
	RuleInfo
	Refused    int
	ErrorSince time.Time
	Evaluated  bool
}

// withStored adds what is stored of the group's evaluations to the rule.
func (r RuleInfo) withStored(ev domain.Evaluations) ruleState {
	s := ruleState{RuleInfo: r}
	stored, known := ev.Rules[r.UID]
	if r.Type == Alerting && known {
		s.Evaluated = true
		s.Health, s.LastError = HealthOK, stored.LastError
		s.Refused, s.ErrorSince = stored.Refused, stored.ErrorSince
		if stored.LastError != "" {
			s.Health = HealthErr
		}
		if s.LastEvaluation.IsZero() {
			s.LastEvaluation = ev.Slot
		}
	}
	if s.Health == "" {
		s.Health = HealthUnknown
	}
	return s
}

// lastSlot is the newest of what this process and the store know.
func (g GroupInfo) lastSlot(ev domain.Evaluations) time.Time {
	if ev.Slot.After(g.LastEvaluation) {
		return ev.Slot
	}
	return g.LastEvaluation
}
