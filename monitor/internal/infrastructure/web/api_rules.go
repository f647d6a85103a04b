package web

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/uow-go/uow/monitor/internal/domain"
)

// apiRules is /api/v1/rules.
func (s *Server) apiRules(r *http.Request) (result, error) {
	filter, err := s.ruleFilter(r)
	if err != nil {
		return result{}, err
	}
	evaluations, err := s.config.Reader.Evaluations(r.Context())
	if err != nil {
		return result{}, readError(err)
	}
	alerts := ruleAlerts{}
	if filter.alerting() {
		if alerts, err = s.activeByRule(r); err != nil {
			return result{}, err
		}
	}
	var answer apiRuleGroups
	answer.Groups = []apiGroup{}
	for _, g := range s.config.Groups() {
		if !filter.group(g) {
			continue
		}
		group := filter.apiGroup(g, evaluations[g.ID], alerts)
		if len(group.Rules) == 0 {
			continue
		}
		if filter.limit > 0 && len(answer.Groups) == filter.limit {
			answer.NextToken = groupToken(g)
			break
		}
		answer.Groups = append(answer.Groups, group)
	}
	if filter.token != "" && !filter.started {
		return result{}, invalidParameter("group_next_token", fmt.Errorf("invalid group_next_token '%v'. were rule groups changed?", shorten(filter.token)))
	}
	return result{data: answer}, nil
}

type apiRuleGroups struct {
	Groups    []apiGroup `json:"groups"`
	NextToken string     `json:"groupNextToken,omitempty"`
}

type apiGroup struct {
	Name           string        `json:"name"`
	File           string        `json:"file"`
	Rules          []any         `json:"rules"`
	Interval       float64       `json:"interval"`
	Limit          int           `json:"limit"`
	EvaluationTime float64       `json:"evaluationTime"`
	LastEvaluation time.Time     `json:"lastEvaluation"`
	Tocsin         apiGroupExtra `json:"tocsin"`
}

type apiGroupExtra struct {
	ID        string    `json:"id"`
	Slot      time.Time `json:"slot,omitzero"`
	Missed    int64     `json:"missed"`
	LastError string    `json:"lastError,omitempty"`
}

type apiAlertingRule struct {
	State         string            `json:"state"`
	Name          string            `json:"name"`
	Query         string            `json:"query"`
	Duration      float64           `json:"duration"`
	KeepFiringFor float64           `json:"keepFiringFor"`
	Labels        map[string]string `json:"labels"`
	Annotations   map[string]string `json:"annotations"`
	Alerts        []apiAlert        `json:"alerts"`
	apiRuleHealth
	Tocsin apiRuleExtra `json:"tocsin"`
}

type apiRecordingRule struct {
	Name   string            `json:"name"`
	Query  string            `json:"query"`
	Labels map[string]string `json:"labels"`
	apiRuleHealth
}

type apiRuleHealth struct {
	Health         Health    `json:"health"`
	LastError      string    `json:"lastError,omitempty"`
	EvaluationTime float64   `json:"evaluationTime"`
	LastEvaluation time.Time `json:"lastEvaluation"`
	Type           RuleType  `json:"type"`
}

type apiRuleExtra struct {
	UID        string    `json:"uid"`
	Refused    int       `json:"refused,omitempty"`
	ErrorSince time.Time `json:"errorSince,omitzero"`
}

// ruleAlerts are the active alerts of each rule.
type ruleAlerts map[ruleKey][]domain.Alert

type ruleKey struct{ group, uid string }

func (s *Server) activeByRule(r *http.Request) (ruleAlerts, error) {
	all, err := s.alerts(r)
	if err != nil {
		return nil, err
	}
	out := ruleAlerts{}
	for _, a := range all {
		if key := (ruleKey{a.Group, a.Rule}); isActive(a) {
			out[key] = append(out[key], a)
		}
	}
	return out, nil
}

// state is the greatest state of a rule's alerts.
func (r ruleState) state(alerts []domain.Alert) string {
	switch {
	case slices.ContainsFunc(alerts, func(a domain.Alert) bool { return a.State == domain.Firing }):
		return string(domain.Firing)
	case len(alerts) > 0:
		return string(domain.Pending)
	case !r.Evaluated && r.Health == HealthUnknown:
		return "unknown"
	}
	return string(domain.Inactive)
}

// ruleFilter is the parameters of /api/v1/rules.
type ruleFilter struct {
	kind                 RuleType // empty for both
	names, groups, files []string
	matchers             [][]*labels.Matcher
	excludeAlerts        bool
	limit                int
	token                string
	started              bool // the group of the token was reached
}

func (s *Server) ruleFilter(r *http.Request) (*ruleFilter, error) {
	f := &ruleFilter{names: r.Form["rule_name[]"], groups: r.Form["rule_group[]"], files: r.Form["file[]"]}
	var err error
	if f.matchers, err = s.matcherParameter(r); err != nil {
		return nil, err
	}
	switch kind := strings.ToLower(r.Form.Get("type")); kind {
	case "":
	case "alert":
		f.kind = Alerting
	case "record":
		f.kind = Recording
	default:
		return nil, invalidParameter("type", fmt.Errorf("not supported value %q", shorten(kind)))
	}
	if text := r.Form.Get("exclude_alerts"); text != "" {
		if f.excludeAlerts, err = strconv.ParseBool(strings.ToLower(text)); err != nil {
			return nil, invalidParameter("exclude_alerts", fmt.Errorf("error converting exclude_alerts: %w", err))
		}
	}
	return f, f.readPage(r.Form)
}

func (f *ruleFilter) readPage(form url.Values) error {
	limit := form.Get("group_limit")
	f.token = form.Get("group_next_token")
	if limit == "" {
		if f.token != "" {
			return invalidParameter("group_next_token", errors.New("group_limit needs to be present in order to paginate over the groups"))
		}
		return nil
	}
	n, err := strconv.ParseInt(limit, 10, 32)
	if err != nil {
		return invalidParameter("group_limit", fmt.Errorf("group_limit needs to be a valid number: %w", err))
	}
	if n <= 0 {
		return invalidParameter("group_limit", errors.New("group_limit needs to be greater than 0"))
	}
	f.limit = int(n)
	return nil
}

func groupToken(g GroupInfo) string {
	sum := sha256.Sum256([]byte(g.File + ";" + g.Name))
	return hex.EncodeToString(sum[:])
}

func (f *ruleFilter) alerting() bool { return f.kind != Recording }

func (f *ruleFilter) group(g GroupInfo) bool {
	if f.token != "" && !f.started {
		if f.started = f.token == groupToken(g); !f.started {
			return false
		}
	}
	return among(f.groups, g.Name) && among(f.files, g.File)
}

// among reports whether the value is one of those asked for, if any are.
func among(asked []string, value string) bool {
	return len(asked) == 0 || slices.Contains(asked, value)
}

func (f *ruleFilter) rule(r RuleInfo) bool {
	if f.kind != "" && f.kind != r.Type || !among(f.names, r.Name) {
		return false
	}
	return len(f.matchers) == 0 || slices.ContainsFunc(f.matchers, func(set []*labels.Matcher) bool {
		return !slices.ContainsFunc(set, func(m *labels.Matcher) bool { return !m.Matches(r.Labels[m.Name]) })
	})
}

func (f *ruleFilter) apiGroup(g GroupInfo, ev domain.Evaluations, alerts ruleAlerts) apiGroup {
	out := apiGroup{
		Name: g.Name, File: g.File, Rules: []any{},
		Interval: g.Interval.Seconds(), Limit: g.Limit,
		EvaluationTime: g.EvaluationTime.Seconds(), LastEvaluation: g.lastSlot(ev),
		Tocsin: apiGroupExtra{ID: g.ID, Slot: ev.Slot, Missed: ev.Missed, LastError: g.LastError},
	}
	for _, r := range g.Rules {
		if f.rule(r) {
			out.Rules = append(out.Rules, f.apiRule(r.withStored(ev), alerts[ruleKey{g.ID, r.UID}]))
		}
	}
	return out
}

func (f *ruleFilter) apiRule(r ruleState, active []domain.Alert) any {
	health := apiRuleHealth{
		Health: r.Health, LastError: r.LastError, Type: r.Type,
		EvaluationTime: r.EvaluationTime.Seconds(), LastEvaluation: r.LastEvaluation,
	}
	if r.Type == Recording {
		return apiRecordingRule{Name: r.Name, Query: r.Query, Labels: object(r.Labels), apiRuleHealth: health}
	}
	out := apiAlertingRule{
		State: r.state(active), Name: r.Name, Query: r.Query,
		Duration: r.For.Seconds(), KeepFiringFor: r.KeepFiringFor.Seconds(),
		Labels: object(r.Labels), Annotations: object(r.Annotations), apiRuleHealth: health,
		Tocsin: apiRuleExtra{UID: r.UID, Refused: r.Refused, ErrorSince: r.ErrorSince},
	}
	if f.excludeAlerts {
		return out // null, as in Prometheus
	}
	out.Alerts = []apiAlert{}
	for _, a := range active {
		out.Alerts = append(out.Alerts, newAPIAlert(a))
	}
	return out
}
