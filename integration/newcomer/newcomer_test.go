package newcomer_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/uow-go/uow/integration/internal/tocsintest"
)

func TestMain(m *testing.M) { tocsintest.Main(m) }

type apiAlerts struct {
	Alerts []struct {
		Labels map[string]string
		State  string
	}
}

type apiTargets struct {
	ActiveTargets []struct {
		ScrapePool, Health, LastError string
	}
}

type apiDeliveries struct {
	Attempts []struct {
		Alert, Destination, Outcome string
	}
}

// start runs a bare tocsin and waits for what a newcomer is to see.
func start(t *testing.T, home string) *tocsintest.Process {
	t.Helper()
	env := []string{"HOME=" + home, "XDG_DATA_HOME=" + filepath.Join(home, "data")}
	p := tocsintest.Launch(t, env, "--listen", "127.0.0.1:0")
	p.WaitReady(t)
	tocsintest.Eventually(t, "the heartbeat fires", func() error {
		got, err := tocsintest.GetData[apiAlerts](p, "/api/v1/alerts")
		if err != nil {
			return err
		}
		for _, a := range got.Alerts {
			if a.Labels["alertname"] == "Heartbeat" && a.State == "firing" {
				return nil
			}
		}
		return fmt.Errorf("the alerts are %v", got.Alerts)
	})
	return p
}

// heartbeats counts the times that a console was told of the heartbeat.
func heartbeats(p *tocsintest.Process) int {
	n := 0
	for line := range strings.Lines(p.Logs()) {
		if strings.Contains(line, "Heartbeat") && !strings.Contains(line, "level=") {
			n++
		}
	}
	return n
}

// TestMainJob: without any configuration, within a minute there are firing alerts
// and the first lines of the ledger, in the API, on the page and on the console;
// an orderly end loses nothing; the next start goes on.
func TestMainJob(t *testing.T) {
	home := t.TempDir()
	p := start(t, home)
	tocsintest.Eventually(t, "the ledger has a line", func() error {
		got, err := tocsintest.GetData[apiDeliveries](p, "/api/deliveries")
		if err != nil {
			return err
		}
		for _, d := range got.Attempts {
			if strings.Contains(d.Alert, "Heartbeat") && d.Outcome == "delivered" && d.Destination == "console" {
				return nil
			}
		}
		return fmt.Errorf("the ledger is %v", got.Attempts)
	})
	tocsintest.Eventually(t, "the targets are up", func() error {
		got, err := tocsintest.GetData[apiTargets](p, "/api/v1/targets")
		up := map[string]bool{}
		for _, target := range got.ActiveTargets {
			up[target.ScrapePool] = target.Health == "up"
		}
		if !up["tocsin"] || !up["node"] {
			err = errors.Join(err, fmt.Errorf("the targets are %+v", got.ActiveTargets))
		}
		return err
	})
	for path, want := range map[string]string{
		"/": "Heartbeat", "/rules": "HostDiskAlmostFull", "/targets": "/metrics/host",
		"/outbox": "console", "/deliveries": "Heartbeat",
		"/api/v1/query?query=up": `"tocsin"`, "/metrics": "tocsin_outbox_oldest_seconds",
		"/metrics/host": "node_cpu_seconds_total",
	} {
		if status, body := p.Get(t, path); status != 200 || !strings.Contains(body, want) {
			t.Errorf("%s answers %d, and not %q", path, status, want)
		}
	}
	p.Stop(t)
	if n := heartbeats(p); n != 1 {
		t.Errorf("the console has %d lines of the heartbeat, want 1:\n%s", n, p.Logs())
	}
	again(t, home)
	onlyItsData(t, home)
}

// again starts tocsin for the second time.
func again(t *testing.T, home string) {
	t.Helper()
	database := filepath.Join(home, "data", "tocsin", "tocsin.db")
	before, err := tocsintest.ReadHistory(database)
	if err != nil {
		t.Fatal(err)
	}
	p := start(t, home)
	last := map[string]time.Time{}
	for _, e := range before.Evaluations {
		last[e.ID] = e.Slot
	}
	tocsintest.Eventually(t, "both groups are evaluated", func() error {
		history, err := tocsintest.ReadHistory(database)
		if len(history.Evaluations) < 2 {
			err = errors.Join(err, fmt.Errorf("only %d groups", len(history.Evaluations)))
		}
		for _, e := range history.Evaluations {
			if !e.Slot.After(last[e.ID]) {
				err = errors.Join(err, fmt.Errorf("%s is still at %v", e.ID, e.Slot))
			}
		}
		return err
	})
	p.Stop(t)
	after, err := tocsintest.ReadHistory(database)
	if err != nil {
		t.Fatal(err)
	}
	if kinds := after.Kinds("Heartbeat"); kinds != "firing" {
		t.Errorf("after the second start the heartbeat's transitions are %q", kinds)
	}
	if n := heartbeats(p); n != 0 {
		t.Errorf("the second start told of the heartbeat again:\n%s", p.Logs())
	}
	for _, e := range after.Evaluations {
		for rule, health := range e.Rules {
			if health.LastError != "" {
				t.Errorf("rule %s fails: %s", rule, health.LastError)
			}
		}
	}
}

// onlyItsData checks that nothing was written but tocsin's own directory.
func onlyItsData(t *testing.T, home string) {
	t.Helper()
	var names []string
	for _, dir := range []string{home, filepath.Join(home, "data")} {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			names = append(names, e.Name())
		}
	}
	if got := strings.Join(names, " "); got != "data tocsin" {
		t.Errorf("the home directory has %q", got)
	}
}
