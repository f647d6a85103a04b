package observability

import (
	"log/slog"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/prometheus/prometheus/rules"
)

// scenario is an hour of samples, one a minute, and the alerts that fire at its
// end, by the value of their label uow_unit_name or uow_cursor.
type scenario struct {
	name  string
	load  string
	fires map[string]string
}

func scenarios() []scenario {
	return []scenario{
		{"all is well", `
			uow_unit_duration_seconds_count{job="bank",uow_unit_name="pay",uow_outcome="committed"} 0+600x60
			uow_unit_duration_seconds_count{job="bank",uow_unit_name="pay",uow_outcome="rolled_back"} 0+10x60
			uow_unit_attempts_sum{job="bank",uow_unit_name="pay",uow_outcome="committed"} 0+650x60
			uow_conflicts_total{job="bank",uow_unit_name="pay",db_collection_name="accounts"} 0+50x60
			uow_commit_duration_seconds_bucket{job="bank",uow_unit_name="pay",le="0.01"} 0+600x60
			uow_commit_duration_seconds_bucket{job="bank",uow_unit_name="pay",le="+Inf"} 0+600x60
			uow_hook_failures_total{job="bank",uow_unit_name="pay"} 3x60
			uow_in_doubt_total{job="bank",uow_unit_name="pay",uow_outcome="in_doubt"} 1x60
			uow_in_doubt_total{job="bank",uow_unit_name="pay",uow_outcome="committed"} 7x60
			uow_outbox_lag_seconds{job="bank",instance="1",uow_cursor="main"} 2x60
			uow_outbox_backlog{job="bank",instance="1",uow_cursor="main"} 40x60
			uow_outbox_held{job="bank",instance="1",uow_cursor="main",uow_hold_state="parked"} 0x60
			uow_outbox_held{job="bank",instance="1",uow_cursor="main",uow_hold_state="retrying"} 1x60
			uow_outbox_held{job="bank",instance="1",uow_cursor="main",uow_hold_state="waiting"} 2x60
			uow_relay_publish_duration_seconds_count{job="bank",instance="1",uow_cursor="main"} 0+60x60
			uow_relay_published_total{job="bank",instance="1",uow_cursor="main"} 0+600x60
			uow_relay_failures_total{job="bank",instance="1",uow_cursor="main",uow_relay_outcome="retry"} 0+10x60
			uow_relay_disorders_total{job="bank",instance="1",uow_cursor="main",uow_relay_disorder="gap"} 2x60
			uow_relay_epoch{job="bank",instance="1",uow_cursor="main"} 4x30 5x29`,
			nil},
		{"the first commit ever in doubt", `
			uow_in_doubt_total{job="bank",uow_unit_name="pay",uow_outcome="in_doubt"} _x55 1x5`,
			map[string]string{"UowCommitInDoubt": "pay"}},
		{"another commit in doubt", `
			uow_in_doubt_total{job="bank",uow_unit_name="pay",uow_outcome="in_doubt"} 1x55 2x5`,
			map[string]string{"UowCommitInDoubt": "pay"}},
		{"answers of commits get lost", `
			uow_in_doubt_total{job="bank",uow_unit_name="pay",uow_outcome="committed"} 0+1x60`,
			map[string]string{"UowCommitAnswersLost": ""}},
		{"a third of the attempts conflict", `
			uow_conflicts_total{job="bank",uow_unit_name="pay",db_collection_name="accounts"} 0+200x60
			uow_unit_attempts_sum{job="bank",uow_unit_name="pay",uow_outcome="committed"} 0+600x60
			uow_unit_attempts_sum{job="bank",uow_unit_name="read",uow_outcome="committed"} 0+6000x60`,
			map[string]string{"UowConflicts": "pay"}},
		{"a third of the units without a name is rolled back", `
			uow_unit_duration_seconds_count{job="bank",uow_outcome="committed"} 0+20x60
			uow_unit_duration_seconds_count{job="bank",uow_outcome="rolled_back",error_type="_OTHER"} 0+10x60
			uow_unit_duration_seconds_count{job="bank",uow_unit_name="read",uow_outcome="committed"} 0+200x60`,
			map[string]string{"UowRollbacks": ""}},
		{"commits take seconds", `
			uow_commit_duration_seconds_bucket{job="bank",le="1"} 0+80x60
			uow_commit_duration_seconds_bucket{job="bank",le="2.5"} 0+100x60
			uow_commit_duration_seconds_bucket{job="bank",le="+Inf"} 0+100x60`,
			map[string]string{"UowCommitsSlow": ""}},
		{"the first hook ever fails", `
			uow_hook_failures_total{job="bank",uow_unit_name="pay"} _x58 1x2`,
			map[string]string{"UowHooksFail": "pay"}},
		{"the relay is slow", `
			uow_outbox_lag_seconds{job="bank",instance="1",uow_cursor="main"} 0+30x60
			uow_outbox_held{job="bank",instance="1",uow_cursor="main",uow_hold_state="parked"} 0x60
			uow_relay_publish_duration_seconds_count{job="bank",instance="1",uow_cursor="main"} 0+60x60`,
			map[string]string{"UowOutboxLag": "main"}},
		{"a message is parked, and all others are delivered", `
			uow_outbox_lag_seconds{job="bank",instance="1",uow_cursor="main"} 0+60x60
			uow_outbox_backlog{job="bank",instance="1",uow_cursor="main"} 3x60
			uow_outbox_held{job="bank",instance="1",uow_cursor="main",uow_hold_state="parked"} 1x60
			uow_outbox_held{job="bank",instance="1",uow_cursor="main",uow_hold_state="waiting"} 2x60`,
			map[string]string{"UowOutboxParked": "main"}},
		{"the relay's process is gone, two others look at the outbox", `
			uow_outbox_lag_seconds{job="bank",instance="1",uow_cursor="main"} 0x30 0+10x29
			uow_outbox_lag_seconds{job="bank",instance="2",uow_cursor="main"} 0x30 0+10x29
			uow_outbox_backlog{job="bank",instance="1",uow_cursor="main"} 0x30 1+1x29
			uow_outbox_backlog{job="bank",instance="2",uow_cursor="main"} 0x30 1+1x29
			uow_outbox_held{job="bank",instance="1",uow_cursor="main",uow_hold_state="parked"} 0x60
			uow_outbox_held{job="bank",instance="2",uow_cursor="main",uow_hold_state="parked"} 0x60
			uow_relay_publish_duration_seconds_count{job="bank",instance="3",uow_cursor="main"} 0+60x30 _x29`,
			map[string]string{"UowNoRelay": "main"}},
		{"nothing can be published", `
			uow_relay_failures_total{job="bank",instance="1",uow_cursor="main",uow_relay_outcome="retry"} 0+10x60
			uow_relay_publish_duration_seconds_count{job="bank",instance="1",uow_cursor="main"} 0+10x60`,
			map[string]string{"UowRelayFails": "main"}},
		{"most can not be published", `
			uow_relay_failures_total{job="bank",instance="1",uow_cursor="main",uow_relay_outcome="unknown"} 0+10x60
			uow_relay_published_total{job="bank",instance="1",uow_cursor="main"} 0+5x60`,
			map[string]string{"UowRelayFails": "main"}},
		{"two relays fight", `
			uow_relay_epoch{job="bank",instance="1",uow_cursor="main"} 0+1x60`,
			map[string]string{"UowRelaysFight": "main"}},
		{"the first message ever is missing", `
			uow_relay_disorders_total{job="bank",instance="1",uow_cursor="main",uow_relay_disorder="gap"} _x55 1x5`,
			map[string]string{"UowRelayDisorder": "main"}},
		{"messages come late", `
			uow_relay_disorders_total{job="bank",instance="1",uow_cursor="main",uow_relay_disorder="late"} 1x55 3x5`,
			map[string]string{"UowRelayDisorder": "main"}},
		{"a consumer fails, another has only duplicates", `
			uow_inbox_delivery_duration_seconds_count{job="bank",uow_consumer="mailer",uow_inbox_outcome="failed"} 0+10x60
			uow_inbox_delivery_duration_seconds_count{job="bank",uow_consumer="mailer",uow_inbox_outcome="handled"} 0+5x60
			uow_inbox_delivery_duration_seconds_count{job="bank",uow_consumer="books",uow_inbox_outcome="failed"} 0+1x60
			uow_inbox_delivery_duration_seconds_count{job="bank",uow_consumer="books",uow_inbox_outcome="handled"} 0+10x60
			uow_inbox_delivery_duration_seconds_count{job="bank",uow_consumer="books",uow_inbox_outcome="duplicate"} 0+100x60`,
			map[string]string{"UowInboxFails": "mailer"}},
		{"the first message that ever came too late", `
			uow_inbox_delivery_duration_seconds_count{job="bank",uow_consumer="mailer",uow_inbox_outcome="handled"} 0+10x60
			uow_inbox_delivery_duration_seconds_count{job="bank",uow_consumer="mailer",uow_inbox_outcome="too_old"} _x55 1x5`,
			map[string]string{"UowInboxForgets": "mailer"}},
		{"consumers handle, one attempt in eleven fails, and long ago some was refused", `
			uow_consumer_attempts_total{job="bank",uow_consumer="mailer",uow_delivery_outcome="handled"} 0+10x60
			uow_consumer_attempts_total{job="bank",uow_consumer="mailer",uow_delivery_outcome="failed",error_type="_OTHER"} 0+1x60
			uow_consumer_attempts_total{job="bank",uow_consumer="mailer",uow_delivery_outcome="refused",error_type="_OTHER"} 2x60`,
			nil},
		{"the first message ever is refused", `
			uow_consumer_attempts_total{job="bank",uow_consumer="mailer",uow_delivery_outcome="handled"} 0+10x60
			uow_consumer_attempts_total{job="bank",uow_consumer="mailer",uow_delivery_outcome="refused",error_type="malformed"} _x55 1x5`,
			map[string]string{"UowMessagesRefused": "mailer"}},
		{"more is refused", `
			uow_consumer_attempts_total{job="bank",uow_consumer="mailer",uow_delivery_outcome="refused",error_type="_OTHER"} 1x50 2x9
			uow_consumer_attempts_total{job="bank",uow_consumer="mailer",uow_delivery_outcome="handled"} 0+10x60`,
			map[string]string{"UowMessagesRefused": "mailer"}},
		{"a message is kept, and tried again each hour", `
			uow_consumer_attempts_total{job="bank",uow_consumer="mailer",uow_delivery_outcome="kept",error_type="_OTHER"} _x5 1x54
			uow_consumer_attempts_total{job="bank",uow_consumer="mailer",uow_delivery_outcome="handled"} 0+10x60`,
			map[string]string{"UowMessagesKept": "mailer"}},
		{"a consumer without an inbox fails, and one with an inbox that says so", `
			uow_consumer_attempts_total{job="bank",uow_consumer="mailer",uow_delivery_outcome="failed",error_type="_OTHER"} 0+10x60
			uow_consumer_attempts_total{job="bank",uow_consumer="mailer",uow_delivery_outcome="handled"} 0+5x60
			uow_consumer_attempts_total{job="bank",uow_consumer="books",uow_delivery_outcome="failed",error_type="gap"} 0+10x60
			uow_inbox_delivery_duration_seconds_count{job="bank",uow_consumer="books",uow_inbox_outcome="duplicate"} 0+10x60`,
			map[string]string{"UowConsumerFails": "mailer"}},
	}
}

func TestAlerts(t *testing.T) {
	covered := map[string]bool{}
	for _, s := range scenarios() {
		t.Run(s.name, func(t *testing.T) {
			fired := firing(t, s.load)
			for name, who := range s.fires {
				covered[name] = true
				if got, ok := fired[name]; !ok || got != who {
					t.Errorf("%s fires: %v, for %q; it should, for %q", name, ok, got, who)
				}
			}
			for name, who := range fired {
				if _, want := s.fires[name]; !want {
					t.Errorf("%s fires, for %q; it should not", name, who)
				}
			}
		})
	}
	for _, rule := range alertRules(t) {
		if !covered[rule.Alert] {
			t.Errorf("no scenario makes %s fire", rule.Alert)
		}
	}
}

// firing evaluates all rules each minute of an hour, and returns those that fire.
func firing(t *testing.T, load string) map[string]string {
	t.Helper()
	storage := promqltest.LoadedStorage(t, "load 1m\n  "+strings.TrimSpace(load))
	query := rules.EngineQueryFunc(promqltest.NewTestEngine(t, false, 5*time.Minute, 1_000_000), storage)
	fired := map[string]string{}
	for _, r := range alertRules(t) {
		expr, err := newParser().ParseExpr(r.Expr)
		if err != nil {
			t.Fatal(err)
		}
		rule := rules.NewAlertingRule(r.Alert, expr, time.Duration(r.For), 0, labels.FromMap(r.Labels),
			labels.FromMap(r.Annotations), labels.EmptyLabels(), "", true, slog.New(slog.DiscardHandler))
		for minute := range 60 {
			if _, err := rule.Eval(t.Context(), 0, time.Unix(int64(minute)*60, 0), query, &url.URL{}, 0); err != nil {
				t.Fatalf("%s: %v", r.Alert, err)
			}
		}
		rule.ForEachActiveAlert(func(a *rules.Alert) {
			if a.State != rules.StateFiring {
				return
			}
			fired[r.Alert] = a.Labels.Get("uow_unit_name") + a.Labels.Get("uow_cursor") + a.Labels.Get("uow_consumer")
			a.Annotations.Range(func(l labels.Label) {
				if l.Value == "" || strings.Contains(l.Value, "error") && strings.Contains(l.Value, "template") || strings.Contains(l.Value, "{{") {
					t.Errorf("%s: the annotation %s became %q", r.Alert, l.Name, l.Value)
				}
			})
		})
	}
	return fired
}
