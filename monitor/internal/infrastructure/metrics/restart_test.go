package metrics

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"

	"github.com/uow-go/uow/monitor/internal/domain"
	"github.com/uow-go/uow/monitor/internal/infrastructure/config"
)

const restartRules = `
groups:
- name: g
  rules:
  - record: copy
    expr: fault
  - alert: Fault
    expr: fault > 0
  - alert: History
    expr: max_over_time(fault[10m]) > 0
  - alert: Absent
    expr: absent(fault)
`

// firstProcess lets the fault fire, and returns the slot at which it did.
func firstProcess(t *testing.T, m *Metrics, cfg *config.Config) (slot time.Time) {
	t.Helper()
	run(t, m, cfg)
	slot = time.Now()
	results := evaluate(t, m, cfg.Groups[0])
	if len(results[0].Samples) != 1 {
		t.Fatal("no fault")
	}
	alert := domain.Alert{Name: "Fault", State: domain.Firing, Labels: results[0].Samples[0].Labels}
	if err := m.WriteAlerts(t.Context(), cfg.Groups[0], slot, []domain.Alert{alert}); err != nil {
		t.Fatal(err)
	}
	until(t, "another scrape", func() bool {
		at, ok := valueOf(t, m, "timestamp(up)", time.Now())
		return ok && at > float64(slot.UnixMilli())/1000
	})
	return slot
}

// TestChild is the process that TestSamplesFromBeforeTheStart kills.
func TestChild(t *testing.T) {
	dir, address := os.Getenv("TOCSIN_TEST_DIR"), os.Getenv("TOCSIN_TEST_TARGET")
	if dir == "" {
		return // it is no test when nobody has started it as a child
	}
	text := "scrape_configs:\n- job_name: job0\n  static_configs: [{targets: ['" + address + "']}]\n"
	slot := firstProcess(t, open(t, dir), parse(t, text, restartRules))
	fmt.Println("slot", slot.UnixNano())
	select {}
}

// killedProcess runs TestChild and kills it as soon as it has fired.
func killedProcess(t *testing.T, dir string, e *exporter) (slot time.Time) {
	t.Helper()
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestChild$")
	child.Env = append(os.Environ(), "TOCSIN_TEST_DIR="+dir, "TOCSIN_TEST_TARGET="+e.address())
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		var nanos int64
		if _, err := fmt.Sscanf(lines.Text(), "slot %d", &nanos); err == nil {
			slot = time.Unix(0, nanos)
			break
		}
		t.Log(lines.Text())
	}
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait()
	if slot.IsZero() {
		t.Fatal("the child has not fired")
	}
	return slot
}

// A fault that has cleared while the process was dead must not fire from the old
// sample.
func TestSamplesFromBeforeTheStart(t *testing.T) {
	for _, how := range []string{"killed", "closed"} {
		t.Run(how, func(t *testing.T) {
			e := newExporter(t, "fault 1\n")
			cfg := parse(t, jobs(e), restartRules)
			dir := t.TempDir()
			var lastSlot time.Time
			if how == "killed" {
				lastSlot = killedProcess(t, dir, e)
			} else {
				t.Run("first process", func(t *testing.T) { lastSlot = firstProcess(t, open(t, dir), cfg) })
			}
			e.body.Store("fault 0\n")
			m := open(t, dir)
			apply(t, m, cfg)
			if _, ok := valueOf(t, m, `count({__name__=~".+"})`, time.Now()); ok {
				t.Error("samples from before the start count as present")
			}
			if _, ok := valueOf(t, m, "fault", lastSlot); !ok {
				t.Error("a slot from before the end lacks its samples")
			}
			if m.Ready(t.Context()) {
				t.Error("ready before the first scrape")
			}
			run(t, m, cfg)
			results := evaluate(t, m, cfg.Groups[0])
			if len(results[0].Samples) != 0 || results[0].Stale != nil {
				t.Errorf("phantom: %+v", results[0])
			}
			if len(results[1].Samples) != 1 {
				t.Error("the history is lost")
			}
			if len(results[2].Samples) != 0 {
				t.Error("absent fires after the first scrape")
			}
			if _, ok := valueOf(t, m, "ALERTS", time.Now()); ok {
				t.Error("the alerts of the last process have not ended")
			}
		})
	}
}

func TestHeldUntilTheFirstScrape(t *testing.T) {
	e := newExporter(t, "fault 1\n")
	cfg := parse(t, jobs(e), restartRules)
	dir := t.TempDir()
	var fault domain.Sample
	t.Run("first process", func(t *testing.T) {
		m := open(t, dir)
		run(t, m, cfg)
		fault = evaluate(t, m, cfg.Groups[0])[0].Samples[0]
	})
	e.broken.Store(true)
	m := open(t, dir)
	run(t, m, cfg)
	results := evaluate(t, m, cfg.Groups[0])
	if len(results[0].Samples) != 0 || results[0].Stale == nil || !results[0].Stale(fault.Labels) {
		t.Errorf("not held: %+v", results[0])
	}
}

func TestEndOldSeriesOfEveryKind(t *testing.T) {
	dir := t.TempDir()
	now := time.Now()
	t.Run("first process", func(t *testing.T) {
		m := open(t, dir)
		app := m.db.AppenderV2(t.Context())
		h := &histogram.Histogram{Schema: 0, Count: 1, Sum: 1, PositiveSpans: []histogram.Span{{Length: 1}}, PositiveBuckets: []int64{1}}
		add := func(name string, at time.Time, h *histogram.Histogram, fh *histogram.FloatHistogram) {
			t.Helper()
			if _, err := app.Append(0, labels.FromStrings("__name__", name), 0, at.UnixMilli(), 1, h, fh, storage.AOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		add("up", now.Add(-10*time.Second), nil, nil)
		add("float", now.Add(-10*time.Second), nil, nil)
		add("integers", now.Add(-10*time.Second), h, nil)
		add("floats", now.Add(-10*time.Second), nil, h.ToFloat(nil))
		add("old", now.Add(-20*time.Minute), nil, nil)
		add("future", now.Add(time.Minute), nil, nil)
		if err := app.Commit(); err != nil {
			t.Fatal(err)
		}
	})
	m := open(t, dir)
	for _, at := range []time.Time{now, now.Add(2 * time.Minute)} {
		if n, ok := valueOf(t, m, `count({__name__=~".+"})`, at); ok {
			t.Errorf("%v series count as present", n)
		}
	}
	// The series go on.
	app := m.db.AppenderV2(t.Context())
	if _, err := app.Append(0, labels.FromStrings("__name__", "float"), 0, now.UnixMilli(), 2, nil, nil, storage.AOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := app.Commit(); err != nil {
		t.Fatal(err)
	}
	if v, _ := valueOf(t, m, "float", now); v != 2 {
		t.Errorf("float is %v", v)
	}
}

func TestConfigIsChecked(t *testing.T) {
	for _, cfg := range []Config{{}, {Dir: "x", Retention: time.Second}, {Dir: "x", Lookback: -1}, {Dir: t.TempDir(), ExternalURL: ":"}} {
		if m, err := Open(cfg); err == nil {
			_ = m.Close()
			t.Errorf("%+v was taken", cfg)
		}
	}
}
