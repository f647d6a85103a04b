package app

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/uow-go/uow/monitor/internal/application"
	"github.com/uow-go/uow/monitor/internal/domain"
	"github.com/uow-go/uow/monitor/internal/infrastructure/config"
	"github.com/uow-go/uow/monitor/internal/infrastructure/metrics"
	"github.com/uow-go/uow/monitor/internal/infrastructure/web"
)

// ruleUIDs returns the UID of each rule of a group, empty for recording rules: the
// alert's name, numbered from its second rule on, past numbers that are names.
func ruleUIDs(g config.RuleGroup) []string {
	seen, taken := map[string]int{}, map[string]bool{}
	uids := make([]string, len(g.Rules))
	for i, r := range g.Rules {
		if r.Alert == "" {
			continue
		}
		for uids[i] == "" || taken[uids[i]] {
			seen[r.Alert]++
			uids[i] = r.Alert
			if n := seen[r.Alert]; n > 1 {
				uids[i] = fmt.Sprintf("%s#%d", r.Alert, n)
			}
		}
		taken[uids[i]] = true
	}
	return uids
}

// evaluationGroups makes of the configured groups those that the scheduler runs.
func evaluationGroups(cfg *config.Config, m *metrics.Metrics) []application.Group {
	groups := make([]application.Group, len(cfg.Groups))
	for i, g := range cfg.Groups {
		group := application.Group{
			Group: domain.Group{ID: g.ID(), Interval: g.Interval, Limit: g.Limit},
			Name:  g.Name,
			File:  g.File,
			Query: func(ctx context.Context, slot time.Time) ([]domain.Result, error) {
				return m.EvaluateGroup(ctx, g, slot)
			},
			NextSlot: func(after time.Time) time.Time { return metrics.NextSlot(g, after) },
		}
		for j, uid := range ruleUIDs(g) {
			if r := g.Rules[j]; r.Alert != "" {
				group.Rules = append(group.Rules, domain.Rule{
					UID: uid, Name: r.Alert, For: r.For, KeepFiringFor: r.KeepFiringFor,
				})
			}
		}
		groups[i] = group
	}
	return groups
}

// groupStatus remembers how the evaluations of this process went, for the page.
type groupStatus struct {
	mu   sync.Mutex
	last map[string]evaluated
}

type evaluated struct {
	slot time.Time
	took time.Duration
	err  string
	// committed is the last slot that was.
	committed time.Time
}

func (s *groupStatus) record(group string, slot time.Time, took time.Duration, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if errors.Is(err, context.Canceled) { // a reload, or the end
		return
	}
	e := evaluated{slot: slot, took: took, committed: s.last[group].committed}
	switch {
	case err == nil || errors.Is(err, application.ErrSlotDone):
		e.committed = slot
	default:
		e.err = err.Error()
	}
	s.last[group] = e
}

// committed returns the last slot of a group that was committed.
func (s *groupStatus) committed(group string) (slot time.Time, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	slot = s.last[group].committed
	return slot, !slot.IsZero()
}

// infos describes the configured groups for the page.
func (s *groupStatus) infos(cfg *config.Config) []web.GroupInfo {
	s.mu.Lock()
	defer s.mu.Unlock()
	infos := make([]web.GroupInfo, len(cfg.Groups))
	for i, g := range cfg.Groups {
		last := s.last[g.ID()]
		info := web.GroupInfo{
			ID: g.ID(), Name: g.Name, File: g.File, Interval: g.Interval, Limit: g.Limit,
			LastEvaluation: last.slot, EvaluationTime: last.took, LastError: last.err,
		}
		for j, uid := range ruleUIDs(g) {
			info.Rules = append(info.Rules, ruleInfo(g.Rules[j], uid, last))
		}
		infos[i] = info
	}
	return infos
}

func ruleInfo(r config.Rule, uid string, last evaluated) web.RuleInfo {
	info := web.RuleInfo{
		Type: web.Recording, UID: uid, Name: r.Name(), Query: r.Expr,
		For: r.For, KeepFiringFor: r.KeepFiringFor, Labels: r.Labels, Annotations: r.Annotations,
		LastEvaluation: last.slot,
	}
	if r.Alert != "" {
		info.Type = web.Alerting
	}
	if !last.slot.IsZero() {
		info.Health = web.HealthOK
		if last.err != "" {
			info.Health, info.LastError = web.HealthErr, last.err
		}
	}
	return info
}

// observer tells the telemetry and the page of evaluations.
type observer struct {
	*telemetry
	status *groupStatus
	hub    *web.Hub
}

// Evaluated implements application.SchedulerObserver.
func (o observer) Evaluated(group string, slot time.Time, took time.Duration, err error) {
	o.telemetry.Evaluated(group, slot, took, err)
	o.status.record(group, slot, took, err)
	o.hub.Notify()
}

// targets describes the targets for the page.
func targets(m *metrics.Metrics) (active, dropped []web.Target) {
	scraped, unwanted := m.Targets()
	for _, t := range scraped {
		active = append(active, web.Target(t))
	}
	for _, t := range unwanted {
		dropped = append(dropped, web.Target(t))
	}
	return active, dropped
}
