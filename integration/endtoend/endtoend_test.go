package endtoend_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/uow-go/uow/integration/internal/tocsintest"
)

func TestMain(m *testing.M) { tocsintest.Main(m) }

// node is a node_exporter with one more metric, which is in a file.
type node struct {
	url  string
	file string
}

func newNode(t *testing.T) *node {
	t.Helper()
	dir := t.TempDir()
	n := &node{file: filepath.Join(dir, "drill.prom")}
	n.set(t, 0)
	n.url = tocsintest.Service{
		Healthy:  "/metrics",
		Programs: []string{"prometheus-node-exporter", "node_exporter"}, Package: "prometheus-node-exporter",
		Args: func(address string) []string {
			return []string{"--web.listen-address=" + address, "--collector.textfile.directory=" + dir}
		},
	}.StartOwn(t)
	return n
}

func (n *node) set(t *testing.T, value float64) {
	t.Helper()
	if err := os.WriteFile(n.file+".new", fmt.Appendf(nil, "tocsin_drill %g\n", value), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(n.file+".new", n.file); err != nil {
		t.Fatal(err)
	}
}

// alertmanager returns the URL of one.
func alertmanager(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	config := filepath.Join(dir, "alertmanager.yml")
	if err := os.WriteFile(config, []byte("route: {receiver: nobody}\nreceivers: [{name: nobody}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return tocsintest.Service{
		Variable: "ALERTMANAGER_URL", Standard: "http://127.0.0.1:9093", Healthy: "/-/healthy",
		Programs: []string{"prometheus-alertmanager", "alertmanager"}, Package: "prometheus-alertmanager",
		Args: func(address string) []string {
			return []string{
				"--config.file=" + config, "--storage.path=" + filepath.Join(dir, "data"),
				"--web.listen-address=" + address, "--cluster.listen-address=",
			}
		},
	}.Find(t)
}

// listed is an alert as amtool lists it.
type listed struct {
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
	StartsAt    time.Time         `json:"startsAt"`
	EndsAt      time.Time         `json:"endsAt"`
}

// list asks amtool for the alerts with a name that are active in Alertmanager.
func list(t *testing.T, url, name string) ([]listed, error) {
	t.Helper()
	amtool := tocsintest.Program(t, "prometheus-alertmanager", "amtool")
	output, err := exec.Command(amtool, "--alertmanager.url="+url, "--output=json", "alert", "query", "alertname="+name).Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			err = fmt.Errorf("%w: %s", err, exit.Stderr)
		}
		return nil, err
	}
	var alerts []listed
	return alerts, json.Unmarshal(output, &alerts)
}

// waitListed waits until Alertmanager has so many active alerts with a name.
func waitListed(t *testing.T, url, name string, n int) (alerts []listed) {
	t.Helper()
	tocsintest.Eventually(t, fmt.Sprintf("amtool lists %d alerts", n), func() (err error) {
		alerts, err = list(t, url, name)
		if err == nil && len(alerts) != n {
			err = fmt.Errorf("amtool lists %v", alerts)
		}
		return err
	})
	return alerts
}

// drill is a tocsin between both, with a rule that has a name of its own, since
// the Alertmanager may not be the test's own.
type drill struct {
	*tocsintest.Home
	node         *node
	alertmanager string
	alert        string
}

func newDrill(t *testing.T, hold string) *drill {
	t.Helper()
	d := &drill{
		Home: tocsintest.NewHome(t), node: newNode(t), alertmanager: alertmanager(t),
		alert: "Drill" + strconv.Itoa(os.Getpid()) + strings.ReplaceAll(t.Name(), "Test", ""),
	}
	address := strings.TrimPrefix(d.node.url, "http://")
	d.Write(t, "prometheus.yml", fmt.Sprintf(`global: {scrape_interval: 500ms, scrape_timeout: 500ms, evaluation_interval: 500ms, external_labels: {site: test}}
rule_files: [rules.yml]
alerting:
  alertmanagers: [{static_configs: [{targets: ['%s']}]}]
scrape_configs:
  - job_name: node
    static_configs: [{targets: ['%s']}]
    metric_relabel_configs:
      - {source_labels: [__name__], regex: 'tocsin_drill|node_load1|node_boot_time_seconds', action: keep}
`, strings.TrimPrefix(d.alertmanager, "http://"), address))
	d.Write(t, "rules.yml", fmt.Sprintf(`groups:
  - name: drill
    rules:
      - alert: %s
        expr: tocsin_drill > 0 and on (instance) node_boot_time_seconds > 0
        for: %s
        labels: {severity: page}
        annotations: {summary: 'drill at {{ $value }} on {{ $labels.instance }}'}
`, d.alert, hold))
	return d
}

// TestFromExporterToAlertmanager: a value of node_exporter makes an alert pending,
// then firing, which Alertmanager lists as it is, and its end takes it away there.
func TestFromExporterToAlertmanager(t *testing.T) {
	d := newDrill(t, "2s")
	p := d.Start(t)
	d.node.set(t, 7)
	d.WaitKinds(t, d.alert, "pending")
	if alerts, err := list(t, d.alertmanager, d.alert); err != nil || len(alerts) > 0 {
		t.Errorf("while it is pending, amtool lists %v, %v", alerts, err)
	}
	firing := d.WaitKinds(t, d.alert, "pending firing")[1]
	got := waitListed(t, d.alertmanager, d.alert, 1)[0]
	if got.Labels["severity"] != "page" || got.Labels["job"] != "node" || got.Labels["site"] != "test" {
		t.Errorf("its labels are %v", got.Labels)
	}
	if want := "drill at 7 on " + got.Labels["instance"]; got.Annotations["summary"] != want {
		t.Errorf("its summary is %q, want %q", got.Annotations["summary"], want)
	}
	if d := got.StartsAt.Sub(firing.FiredAt).Abs(); d >= time.Millisecond {
		t.Errorf("it starts at %v there, and fired at %v here", got.StartsAt, firing.FiredAt)
	}
	d.node.set(t, 0)
	d.WaitKinds(t, d.alert, "pending firing resolved")
	waitListed(t, d.alertmanager, d.alert, 0)
	p.Stop(t)
	ledger(t, d, "firing", "inactive")
}

// TestAlertmanagerHearsOfTheEndAfterAKill: the fault clears while tocsin is dead.
func TestAlertmanagerHearsOfTheEndAfterAKill(t *testing.T) {
	d := newDrill(t, "0s")
	p := d.Start(t)
	d.node.set(t, 7)
	before := waitListed(t, d.alertmanager, d.alert, 1)[0]
	p.Kill()
	d.node.set(t, 0)
	if before.EndsAt.Before(time.Now()) {
		t.Fatal("the lease ended before tocsin did")
	}
	p = d.Start(t)
	waitListed(t, d.alertmanager, d.alert, 0)
	if time.Now().After(before.EndsAt) {
		t.Error("it is gone because its lease ended, not because tocsin said so")
	}
	p.Stop(t)
	d.WaitKinds(t, d.alert, "firing resolved")
}

// ledger checks that the requests that told something new are in the ledger.
func ledger(t *testing.T, d *drill, states ...string) {
	t.Helper()
	var told []string
	for _, a := range d.History(t).Attempts {
		if a.Outcome != "delivered" {
			t.Errorf("an attempt with Alertmanager was %s: %s", a.Outcome, a.Detail)
		}
		if a.Alert != "" {
			told = append(told, strings.Fields(a.Detail)[0])
		}
	}
	if fmt.Sprint(told) != fmt.Sprint(states) {
		t.Errorf("the ledger has %v, want %v", told, states)
	}
}
