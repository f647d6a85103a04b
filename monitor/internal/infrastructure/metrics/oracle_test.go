package metrics

import (
	"log/slog"
	"net/url"
	"reflect"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/rules"
	"github.com/prometheus/prometheus/storage"

	"github.com/uow-go/uow/monitor/internal/domain"
)

// What Prometheus makes of a result and what this package makes of it must be
// the same.
func TestSamplesAreAsInPrometheus(t *testing.T) {
	const text = `
groups:
- name: g
  labels: {team: a, room: group}
  rules:
  - {alert: Plain, expr: temperature}
  - {alert: Name, expr: temperature, labels: {was: '{{ $labels.__name__ }}'}, annotations: {a: '{{ .Labels.room }}'}}
  - {alert: Override, expr: temperature, labels: {room: '{{ $labels.room }}-{{ $value }}', alertname: x, floor: ''}}
  - {alert: Format, expr: temperature * 1000, annotations: {a: '{{ $value | humanize }} {{ humanizePercentage 0.5 }}'}}
  - {alert: Missing, expr: sum(temperature), annotations: {a: '[{{ $labels.nothing }}]', b: '{{ $externalLabels.cluster }}'}}
  - {alert: Fails, expr: temperature, annotations: {a: '{{ query "nonsense(" }}', b: '{{ template "none" }}'}}
  - {alert: LabelFails, expr: temperature, labels: {bad: '{{ humanize "x" }}'}}
  - {alert: Query, expr: temperature, annotations: {a: '{{ range query "sort(temperature)" }}{{ .Value }} {{ end }}{{ $externalURL }}'}}
  - {alert: Links, expr: temperature, annotations: {a: '{{ externalURL }} {{ pathPrefix }} {{ graphLink "up" }}'}}
  - {alert: Scalar, expr: time()}
  - {alert: Same, expr: temperature, labels: {room: '', floor: ''}}
  - {alert: Wrong, expr: 'temperature + on () temperature'}
`
	m := open(t, t.TempDir())
	cfg := parse(t, "", text)
	apply(t, m, cfg)
	now := time.UnixMilli(time.Now().UnixMilli())
	app := m.db.AppenderV2(t.Context())
	for i, room := range []string{"hall", "attic", "öffice"} {
		lset := labels.FromStrings("__name__", "temperature", "room", room, "floor", string(rune('1'+i)))
		if _, err := app.Append(0, lset, 0, now.UnixMilli(), float64(20+i), nil, nil, storage.AOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := app.Commit(); err != nil {
		t.Fatal(err)
	}
	results, err := m.EvaluateGroup(t.Context(), cfg.Groups[0], now)
	if err != nil {
		t.Fatal(err)
	}
	external, _ := url.Parse(m.cfg.ExternalURL)
	for i, r := range cfg.Groups[0].Rules {
		oracle := rules.NewAlertingRule(r.Alert, r.Query, 0, 0, labels.FromMap(r.Labels), labels.FromMap(r.Annotations),
			cfg.Global.ExternalLabels, m.cfg.ExternalURL, true, slog.New(slog.DiscardHandler))
		_, err := oracle.Eval(t.Context(), 0, now, rules.EngineQueryFunc(m.engine, m.db), external, 0)
		if (err == nil) != (results[i].Err == nil) {
			t.Errorf("%s: error %v, Prometheus has %v", r.Alert, results[i].Err, err)
		}
		want := map[string]domain.Sample{}
		oracle.ForEachActiveAlert(func(a *rules.Alert) {
			want[a.Labels.String()] = domain.Sample{Labels: a.Labels.Map(), Annotations: a.Annotations.Map(), Value: a.Value}
		})
		got := map[string]domain.Sample{}
		for _, s := range results[i].Samples {
			got[labels.FromMap(s.Labels).String()] = s
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\n%v\nPrometheus has\n%v", r.Alert, got, want)
		}
	}
}

func TestRecordingsAreAsInPrometheus(t *testing.T) {
	m := open(t, t.TempDir())
	cfg := parse(t, "", `
groups:
- name: g
  labels: {team: a}
  rules:
  - {record: r1, expr: vector(3), labels: {x: 'y', team: b}}
  - {record: r2, expr: r1 + 1}
`)
	apply(t, m, cfg)
	now := time.UnixMilli(time.Now().UnixMilli())
	if _, err := m.EvaluateGroup(t.Context(), cfg.Groups[0], now); err != nil {
		t.Fatal(err)
	}
	for _, r := range cfg.Groups[0].Rules {
		oracle := rules.NewRecordingRule(r.Record, r.Query, labels.FromMap(r.Labels))
		want, err := oracle.Eval(t.Context(), 0, now, rules.EngineQueryFunc(m.engine, m.db), nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		got, err := m.query(t.Context(), r.Record, now)
		if err != nil || got.String() != want.String() {
			t.Errorf("%s: %v %v, Prometheus has %v", r.Record, got, err, want)
		}
	}
}
