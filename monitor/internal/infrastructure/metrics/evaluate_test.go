package metrics

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/uow-go/uow/monitor/internal/domain"
)

func TestFromScrapeToResult(t *testing.T) {
	e := newExporter(t, "temperature{room=\"hall\"} 30\ntemperature{room=\"attic\"} 10\n")
	cfg := parse(t, jobs(e), `
groups:
- name: g
  labels: {team: a}
  rules:
  - record: room:temperature
    expr: temperature * 2
    labels: {unit: double}
  - alert: Hot
    expr: room:temperature > 50
    labels: {severity: 'page-{{ $labels.room }}', unit: ''}
    annotations:
      summary: '{{ $labels.room }} {{ $value }} {{ $externalLabels.cluster }} {{ $externalURL }}'
      query: '{{ with query "temperature{room=\"attic\"}" }}{{ . | first | value }}{{ end }}'
      wrong: '{{ template "absent" }}'
  - alert: Broken
    expr: temperature * on (job) temperature
  - alert: Same
    expr: temperature
    labels: {room: ''}
`)
	m := open(t, t.TempDir())
	run(t, m, cfg)
	results := evaluate(t, m, cfg.Groups[0])
	if len(results) != 3 || len(results[0].Samples) != 1 || results[0].Err != nil {
		t.Fatalf("results: %+v", results)
	}
	hot := results[0].Samples[0]
	want := map[string]string{
		"alertname": "Hot", "instance": e.address(), "job": "job0", "room": "hall", "severity": "page-hall", "team": "a",
	}
	if hot.Value != 60 || len(hot.Labels) != len(want) {
		t.Errorf("sample: %+v", hot)
	}
	for name, value := range want {
		if hot.Labels[name] != value {
			t.Errorf("label %s is %q, want %q", name, hot.Labels[name], value)
		}
	}
	if got := hot.Annotations["summary"]; got != "hall 60 blue http://tocsin.example:9099" {
		t.Errorf("summary: %q", got)
	}
	if got := hot.Annotations["query"]; got != "10" {
		t.Errorf("query: %q", got)
	}
	if got := hot.Annotations["wrong"]; !strings.HasPrefix(got, "<error expanding template: ") {
		t.Errorf("wrong: %q", got)
	}
	if err := results[1].Err; err == nil || !strings.HasPrefix(err.Error(), "metrics: rule Broken: ") {
		t.Errorf("Broken: %v", err)
	}
	if !errors.Is(results[2].Err, ErrDuplicateLabels) {
		t.Errorf("Same: %v", results[2].Err)
	}
	for _, r := range results {
		if r.Stale != nil {
			t.Error("Stale is set although all targets are up")
		}
	}
}

func TestRecordedSeriesEnd(t *testing.T) {
	e := newExporter(t, "a 1\n")
	m := open(t, t.TempDir())
	cfg := parse(t, jobs(e), `
groups:
- name: g
  interval: 1s
  rules: [{record: r, expr: a > 0}]
`)
	run(t, m, cfg)
	evaluate(t, m, cfg.Groups[0])
	if _, ok := valueOf(t, m, "r", time.Now()); !ok {
		t.Fatal("nothing recorded")
	}
	e.body.Store("a 0\n")
	until(t, "a is 0", func() bool { v, _ := valueOf(t, m, "a", time.Now()); return v == 0 })
	evaluate(t, m, cfg.Groups[0])
	if v, ok := valueOf(t, m, "r", time.Now()); ok {
		t.Errorf("r is still %v", v)
	}

	// A rule that is gone ends its series after two intervals.
	e.body.Store("a 1\n")
	until(t, "a is 1", func() bool { v, _ := valueOf(t, m, "a", time.Now()); return v == 1 })
	evaluate(t, m, cfg.Groups[0])
	without := parse(t, jobs(e), "groups: [{name: g, interval: 1s, rules: [{record: s, expr: a}]}]")
	apply(t, m, without)
	evaluate(t, m, without.Groups[0])
	if _, ok := valueOf(t, m, "r", time.Now()); !ok {
		t.Error("r has ended at once, before a renamed rule could take it over")
	}
	until(t, "r has ended", func() bool {
		evaluate(t, m, without.Groups[0])
		_, ok := valueOf(t, m, "r", time.Now())
		return !ok
	})
}

func TestQueryOffsetAndLimit(t *testing.T) {
	e := newExporter(t, "a{x=\"1\"} 1\na{x=\"2\"} 1\n")
	cfg := parse(t, jobs(e), `
groups:
- name: offset
  query_offset: 1h
  rules: [{alert: A, expr: a}, {alert: Now, expr: time()}]
- name: limit
  limit: 1
  rules: [{record: r, expr: a}, {alert: B, expr: a}]
`)
	m := open(t, t.TempDir())
	run(t, m, cfg)
	slot := time.Now()
	results, err := m.EvaluateGroup(t.Context(), cfg.Groups[0], slot)
	if err != nil || len(results[0].Samples) != 0 {
		t.Errorf("an hour ago there was nothing: %v %v", results, err)
	}
	if got := results[1].Samples[0].Value; int64(got) != slot.Add(-time.Hour).Unix() {
		t.Errorf("evaluated at %v", got)
	}
	// The limit of recorded series is here, that of alerts is in the domain.
	if results := evaluate(t, m, cfg.Groups[1]); len(results[0].Samples) != 2 {
		t.Errorf("limit: %+v", results)
	}
	if _, ok := valueOf(t, m, "count(r)", time.Now()); ok {
		t.Error("more series than the limit are recorded")
	}
}

func TestTheEndOfTheContextIsNoResult(t *testing.T) {
	m := open(t, t.TempDir())
	cfg := parse(t, "", "groups: [{name: g, rules: [{alert: A, expr: vector(1)}]}]")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if results, err := m.EvaluateGroup(ctx, cfg.Groups[0], time.Now()); err == nil || results != nil {
		t.Errorf("results %v, error %v", results, err)
	}
}

func TestWriteAlerts(t *testing.T) {
	m := open(t, t.TempDir())
	cfg := parse(t, "", "groups: [{name: g, rules: [{alert: A, expr: vector(1)}]}]")
	apply(t, m, cfg)
	slot := time.Now().Add(-time.Minute)
	alert := domain.Alert{
		Name: "A", State: domain.Pending, ActiveAt: time.Unix(1000, 0), Labels: map[string]string{"alertname": "A", "x": "1"},
	}
	write := func(alerts ...domain.Alert) {
		t.Helper()
		slot = slot.Add(time.Second)
		if err := m.WriteAlerts(t.Context(), cfg.Groups[0], slot, alerts); err != nil {
			t.Fatal(err)
		}
	}
	write(alert)
	if v, _ := valueOf(t, m, `ALERTS{alertname="A",alertstate="pending",x="1"}`, slot); v != 1 {
		t.Error("no pending alert")
	}
	if v, _ := valueOf(t, m, `ALERTS_FOR_STATE{alertname="A",x="1"}`, slot); v != 1000 {
		t.Errorf("for state: %v", v)
	}
	alert.State = domain.Firing
	write(alert)
	if v, ok := valueOf(t, m, "ALERTS", slot); !ok || v != 1 {
		t.Error("not exactly one state")
	}
	alert.State = domain.Inactive
	write(alert)
	if _, ok := valueOf(t, m, `{__name__=~"ALERTS.*"}`, slot); ok {
		t.Error("the alert has not ended")
	}
}

func TestSlots(t *testing.T) {
	group := parse(t, "", "groups: [{name: g, interval: 7s, rules: []}]").Groups[0]
	now := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	slot := Slot(group, now)
	if slot.After(now) || now.Sub(slot) >= group.Interval {
		t.Errorf("slot %s of %s", slot, now)
	}
	if !Slot(group, slot).Equal(slot) || !Slot(group, slot.Add(-1)).Equal(slot.Add(-group.Interval)) {
		t.Error("a slot is not its own slot")
	}
	if next := NextSlot(group, slot); !next.Equal(slot.Add(group.Interval)) || !Slot(group, next).Equal(next) {
		t.Errorf("next %s", next)
	}
	other := group
	other.Name = "h"
	if Slot(other, now).Equal(slot) {
		t.Error("two groups share the grid")
	}
}
