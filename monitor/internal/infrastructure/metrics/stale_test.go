package metrics

import (
	"testing"
	"time"

	"github.com/uow-go/uow/monitor/internal/domain"
	"github.com/uow-go/uow/monitor/internal/infrastructure/config"
)

const staleRules = `
groups:
- name: record
  rules:
  - record: total
    expr: sum by (job) (disk)
  - record: grand
    expr: sum(total)
- name: g
  rules:
  - {alert: Disk, expr: disk > 0}
  - {alert: Total, expr: total > 0}
  - {alert: Grand, expr: grand > 0}
  - {alert: Up, expr: up == 0}
  - {alert: Other, expr: other > 0}
  - {alert: Always, expr: vector(1)}
`

// held reports which alerts of the first evaluation the second one holds.
func held(rules []config.Rule, before, after []domain.Result) map[string]bool {
	held := map[string]bool{}
	for i, r := range before {
		for _, s := range r.Samples {
			name := rules[i].Alert + " " + s.Labels["job"]
			held[name] = after[i].Stale != nil && after[i].Stale(s.Labels)
		}
	}
	return held
}

func TestAlertsOfATargetThatIsDownAreHeld(t *testing.T) {
	bad, good := newExporter(t, "disk 1\nother 1\n"), newExporter(t, "disk 1\n")
	cfg := parse(t, jobs(bad, good), staleRules)
	m := open(t, t.TempDir())
	run(t, m, cfg)
	group := cfg.Groups[1]
	evaluateBoth := func() []domain.Result {
		evaluate(t, m, cfg.Groups[0])
		return evaluate(t, m, group)
	}
	before := evaluateBoth()
	for i, r := range before {
		if r.Stale != nil || r.Err != nil {
			t.Errorf("%s: %+v", group.Rules[i].Alert, r)
		}
	}

	bad.broken.Store(true)
	until(t, "the target is down", func() bool {
		v, ok := valueOf(t, m, `up{job="job0"}`, time.Now())
		return ok && v == 0
	})
	after := evaluateBoth()
	if len(after[0].Samples) != 1 || len(after[3].Samples) != 1 {
		t.Fatalf("after: %+v", after)
	}
	got := held(group.Rules, before, after)
	want := map[string]bool{
		"Disk job0": true, "Disk job1": false, "Total job0": true, "Total job1": false, "Grand ": true,
		"Other job0": true, "Always ": false,
	}
	for name, holds := range want {
		if got[name] != holds {
			t.Errorf("%s: held %v, want %v", name, got[name], holds)
		}
	}
	if after[3].Stale != nil && after[3].Stale(after[3].Samples[0].Labels) {
		t.Error("up is stale while the target is down")
	}

	// Back again, nothing is in doubt.
	bad.body.Store("disk 0\n")
	bad.broken.Store(false)
	until(t, "the target is up", func() bool {
		v, _ := valueOf(t, m, `up{job="job0"}`, time.Now())
		return v == 1
	})
	if again := evaluateBoth(); again[0].Stale != nil || len(again[0].Samples) != 1 {
		t.Errorf("again: %+v", again[0])
	}

	// A target that is no longer configured is gone, not down.
	bad.broken.Store(true)
	until(t, "the target is down", func() bool {
		v, ok := valueOf(t, m, `up{job="job0"}`, time.Now())
		return ok && v == 0
	})
	without := parse(t, jobs(), staleRules)
	apply(t, m, without)
	without.Groups = cfg.Groups
	if r := evaluateBoth(); r[0].Stale != nil {
		t.Error("a target that is gone counts as down")
	}
}

func TestHonoredLabelsAreHeldToo(t *testing.T) {
	e := newExporter(t, "batch{job=\"nightly\",instance=\"b1\"} 1\n")
	other := newExporter(t, "disk 1\n")
	text := "scrape_configs:\n- job_name: gateway\n  honor_labels: true\n  static_configs: [{targets: ['" + e.address() + "']}]\n" +
		"- job_name: other\n  static_configs: [{targets: ['" + other.address() + "']}]\n"
	cfg := parse(t, text, "groups: [{name: g, rules: [{alert: Batch, expr: batch > 0}, {alert: Disk, expr: disk > 0}]}]")
	m := open(t, t.TempDir())
	run(t, m, cfg)
	before := evaluate(t, m, cfg.Groups[0])
	e.broken.Store(true)
	until(t, "the gateway is down", func() bool {
		v, ok := valueOf(t, m, `up{job="gateway"}`, time.Now())
		return ok && v == 0
	})
	after := evaluate(t, m, cfg.Groups[0])
	got := held(cfg.Groups[0].Rules, before, after)
	if !got["Batch nightly"] || got["Disk other"] {
		t.Errorf("held: %v", got)
	}
}

func TestAlertsOnARecordingRuleThatFailsAreHeld(t *testing.T) {
	e := newExporter(t, "a 1\n")
	cfg := parse(t, jobs(e), `
groups:
- name: record
  rules:
  - {record: r, expr: a * on (job) group_left () (b or a)}
- name: g
  rules: [{alert: R, expr: r > 0}, {alert: A, expr: a > 0}]
`)
	m := open(t, t.TempDir())
	run(t, m, cfg)
	if r := evaluate(t, m, cfg.Groups[1]); !r[0].Stale(nil) {
		t.Error("not held before the recording rule was evaluated")
	}
	evaluate(t, m, cfg.Groups[0])
	if r := evaluate(t, m, cfg.Groups[1]); r[0].Stale != nil || len(r[0].Samples) != 1 {
		t.Fatalf("healthy: %+v", r)
	}
	e.body.Store("a 1\nb{x=\"1\"} 1\nb{x=\"2\"} 1\n")
	until(t, "b", func() bool { _, ok := valueOf(t, m, "count(b)", time.Now()); return ok })
	evaluate(t, m, cfg.Groups[0])
	r := evaluate(t, m, cfg.Groups[1])
	if !r[0].Stale(map[string]string{"job": "job0"}) {
		t.Error("not held although the recording rule fails")
	}
	if r[1].Stale(map[string]string{"job": "job0"}) {
		t.Error("held although the rule does not depend on the recording rule")
	}
}

func TestAnalysis(t *testing.T) {
	both := carried{true, true}
	tests := []struct {
		expr   string
		labels map[string]string
		want   []carried
	}{
		{expr: `a`, want: []carried{both}},
		{expr: `a > 1`, labels: map[string]string{"job": "x"}, want: []carried{{false, true}}},
		{expr: `rate(a[5m]) > 1`, want: []carried{both}},
		{expr: `max_over_time((a > 1)[5m:1m])`, want: []carried{both}},
		{expr: `sum(a)`, want: []carried{{}}},
		{expr: `sum by (job) (a)`, want: []carried{{true, false}}},
		{expr: `sum without (job) (a)`, want: []carried{{false, true}}},
		{expr: `topk(1, a)`, want: []carried{both}},
		{expr: `count_values("instance", a)`, want: []carried{{}}},
		{expr: `a / b`, want: []carried{both, both}},
		{expr: `a / on (job) b`, want: []carried{{true, false}, {true, false}}},
		{expr: `a * on (job) group_left (instance) b`, want: []carried{{true, false}, {true, false}}},
		{expr: `a * on (cluster) group_left () b`, want: []carried{both, {}}},
		{expr: `a * on (cluster) group_right () b`, want: []carried{{}, both}},
		{expr: `a and on (job) b`, want: []carried{both, {true, false}}},
		{expr: `a or b`, want: []carried{both, both}},
		{expr: `a unless on (job) b`, want: []carried{both}},
		{expr: `a unless on () (b > 1)`, want: []carried{both, {}}},
		{expr: `a > scalar(b)`, want: []carried{both, {}}},
		{expr: `absent(a)`, want: nil},
		{expr: `absent(a > 1)`, want: []carried{{}}},
		{expr: `label_replace(a, "instance", "$1", "x", "(.*)")`, want: []carried{{true, false}}},
		{expr: `vector(1)`, want: nil},
		{expr: `a @ 0`, want: []carried{both}},
	}
	for _, test := range tests {
		query, err := config.NewParser().ParseExpr(test.expr)
		if err != nil {
			t.Fatal(err)
		}
		a := analyse(config.Rule{Query: query, Labels: test.labels}, newRecordings())
		var got []carried
		for _, s := range a.sources {
			got = append(got, s.carried)
		}
		if len(got) != len(test.want) {
			t.Errorf("%s: %v, want %v", test.expr, got, test.want)
			continue
		}
		for i := range got {
			if got[i] != test.want[i] {
				t.Errorf("%s: source %d carries %v, want %v", test.expr, i, got[i], test.want[i])
			}
		}
	}
}

// A late slot is judged by the targets as they were then.
func TestLateSlotsAreJudgedAtTheirTime(t *testing.T) {
	e := newExporter(t, "disk 1\n")
	cfg := parse(t, jobs(e), "groups: [{name: g, rules: [{alert: Disk, expr: disk > 0}]}]")
	m := open(t, t.TempDir())
	before := time.Now().Add(-time.Minute)
	run(t, m, cfg)
	labels := evaluate(t, m, cfg.Groups[0])[0].Samples[0].Labels
	results, err := m.EvaluateGroup(t.Context(), cfg.Groups[0], before)
	// The store knows of no series of the target before that slot; the labels tell.
	if err != nil || results[0].Stale == nil || !results[0].Stale(labels) {
		t.Fatalf("before the first scrape: %+v %v", results, err)
	}
	if results[0].Stale(map[string]string{"job": "job0"}) || results[0].Stale(nil) {
		t.Error("an alert that is not surely of the target is held")
	}
	up := time.Now()
	e.broken.Store(true)
	until(t, "the target is down", func() bool {
		v, ok := valueOf(t, m, "up", time.Now())
		return ok && v == 0
	})
	if results, _ := m.EvaluateGroup(t.Context(), cfg.Groups[0], up); len(results[0].Samples) != 1 || results[0].Stale != nil {
		t.Errorf("while it was up: %+v", results[0])
	}
	if results := evaluate(t, m, cfg.Groups[0]); !results[0].Stale(labels) {
		t.Error("not held while it is down")
	}
}

func TestHeldAfterTheLossOfTheStore(t *testing.T) {
	e := newExporter(t, "disk 1\n")
	e.broken.Store(true)
	cfg := parse(t, jobs(e), `
groups:
- name: g
  rules: [{alert: Disk, expr: disk > 0}, {alert: Slow, expr: scrape_duration_seconds > 9}, {alert: Sum, expr: sum(disk) > 0}]
`)
	m := open(t, t.TempDir())
	apply(t, m, cfg)
	if r := evaluate(t, m, cfg.Groups[0]); r[0].Stale == nil || !r[0].Stale(nil) {
		t.Error("not held before the targets are known")
	}
	run(t, m, cfg)
	r := evaluate(t, m, cfg.Groups[0])
	labels := map[string]string{"job": "job0", "instance": e.address()}
	for i, want := range []bool{true, false, false} {
		if got := r[i].Stale(labels); got != want {
			t.Errorf("%s: held %v, want %v", cfg.Groups[0].Rules[i].Alert, got, want)
		}
	}
}

// A broken exporter may answer well and say nothing, and Prometheus' parser takes
// a NUL character for the end.
func TestAlertsOfATargetThatSaysNothingAreHeld(t *testing.T) {
	for name, body := range map[string]string{"empty": "", "NUL": "\x00disk 0\n"} {
		t.Run(name, func(t *testing.T) {
			bad := newExporter(t, "disk 1\n")
			cfg := parse(t, jobs(bad), staleRules)
			m := open(t, t.TempDir())
			run(t, m, cfg)
			before := evaluate(t, m, cfg.Groups[1])
			bad.body.Store(body)
			until(t, "the answer is empty", func() bool {
				v, ok := valueOf(t, m, `scrape_samples_scraped`, time.Now())
				return ok && v == 0
			})
			after := evaluate(t, m, cfg.Groups[1])
			if len(after[0].Samples) != 0 || !held(cfg.Groups[1].Rules, before, after)["Disk job0"] {
				t.Errorf("the alert is not held: %+v", after[0])
			}
		})
	}
}
