package alertmanager_test

import (
	"encoding/json"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/uow-go/uow/monitor/internal/application"
	"github.com/uow-go/uow/monitor/internal/domain"
	"github.com/uow-go/uow/monitor/internal/infrastructure/destination/alertmanager"
)

// startAlertmanager runs an installed Alertmanager, where there is one.
func startAlertmanager(t *testing.T) (url string) {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a process: run without -short")
	}
	binary, err := exec.LookPath("prometheus-alertmanager")
	if err != nil {
		if binary, err = exec.LookPath("alertmanager"); err != nil {
			const how = "there is no Alertmanager: install prometheus-alertmanager, or put alertmanager into PATH"
			if os.Getenv("REQUIRE_SERVICES") == "1" {
				t.Fatal(how)
			}
			t.Skip(how)
		}
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "alertmanager.yml")
	if err := os.WriteFile(file, []byte("route: {receiver: none}\nreceivers: [{name: none}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	listener.Close()
	command := exec.Command(binary, "--config.file="+file, "--storage.path="+dir, "--web.listen-address="+address,
		"--cluster.listen-address=", "--web.route-prefix=/prefix")
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = command.Process.Kill()
		_ = command.Wait()
	})
	url = "http://" + address
	for range 100 {
		if response, err := http.Get(url + "/prefix/-/ready"); err == nil {
			response.Body.Close()
			return url
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatal("Alertmanager does not start")
	return ""
}

// known returns the alerts that the Alertmanager has as active, by name.
func known(t *testing.T, url string) map[string]application.LeasedAlert {
	t.Helper()
	response, err := http.Get(url + "/prefix/api/v2/alerts")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var alerts []application.LeasedAlert
	if err := json.NewDecoder(response.Body).Decode(&alerts); err != nil {
		t.Fatal(err)
	}
	out := map[string]application.LeasedAlert{}
	for _, a := range alerts {
		out[a.Labels["alertname"]] = a
	}
	return out
}

func TestRealAlertmanager(t *testing.T) {
	url := startAlertmanager(t)
	client := newClient(t, alertmanager.Config{URL: url, PathPrefix: "/prefix", ExternalLabels: map[string]string{"cluster": "eu"}})
	now := time.Now().Truncate(time.Millisecond)
	firing := func(name string) application.LeasedAlert {
		return application.LeasedAlert{
			Labels:   map[string]string{"alertname": name, "empty": ""},
			StartsAt: now.Add(-time.Minute), EndsAt: now.Add(4 * time.Minute),
		}
	}
	post := func(want domain.Outcome, alerts ...application.LeasedAlert) {
		t.Helper()
		got := client.Post(t.Context(), alerts)
		t.Logf("answer: %+v", got)
		if got.Outcome != want {
			t.Fatalf("answer = %+v, want %s", got, want)
		}
	}

	post(domain.OutcomeDelivered, firing("Down"))
	got, ok := known(t, url)["Down"]
	if !ok || got.Labels["cluster"] != "eu" || len(got.Labels) != 2 || !got.EndsAt.Equal(now.Add(4*time.Minute)) {
		t.Fatalf("after firing: %+v", got)
	}

	resolved := firing("Down")
	resolved.EndsAt = now
	post(domain.OutcomeDelivered, resolved)
	if got, ok := known(t, url)["Down"]; ok {
		t.Fatalf("after the end: %+v", got)
	}

	bad := firing("Bad")
	bad.StartsAt = bad.EndsAt.Add(time.Second)
	post(domain.OutcomeRefused, firing("Good"), bad)
	alerts := known(t, url)
	if _, ok := alerts["Good"]; !ok || len(alerts) != 1 {
		t.Fatalf("after a batch with a bad alert: %+v", alerts)
	}
}
