package alertmanager_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/config"

	"github.com/uow-go/uow/monitor/internal/application"
	"github.com/uow-go/uow/monitor/internal/domain"
	"github.com/uow-go/uow/monitor/internal/infrastructure/destination/alertmanager"
)

func at(second int) time.Time { return time.Date(2026, 5, 1, 12, 0, second, 0, time.UTC) }

func alert(name string) application.LeasedAlert {
	return application.LeasedAlert{
		Labels:      map[string]string{"alertname": name, "job": "node", "empty": ""},
		Annotations: map[string]string{"summary": "down"},
		StartsAt:    at(0).In(time.FixedZone("", 3600)), EndsAt: at(40),
	}
}

func newClient(t *testing.T, cfg alertmanager.Config) *alertmanager.Client {
	t.Helper()
	client, err := alertmanager.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// received returns the path, the headers and the body of one request.
func received(t *testing.T, cfg alertmanager.Config, alerts ...application.LeasedAlert) (path string, header http.Header, body string) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		text, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		path, header, body = r.Method+" "+r.URL.Path, r.Header, string(text)
	}))
	defer server.Close()
	cfg.URL = server.URL + cfg.URL
	if got := newClient(t, cfg).Post(t.Context(), alerts); got.Outcome != domain.OutcomeDelivered || got.Status != 0 && got.Status != 200 {
		t.Fatalf("answer = %+v", got)
	}
	return path, header, body
}

func TestRequest(t *testing.T) {
	shared := alert("Down")
	before := maps.Clone(shared.Labels)
	path, header, body := received(t, alertmanager.Config{
		URL: "/a", PathPrefix: "/b/", ExternalLabels: map[string]string{"cluster": "eu", "job": "x", "empty": "", "alertname": "x"},
		GeneratorURL: func(labels map[string]string) string { return "http://page/" + labels["cluster"] },
	}, shared, application.LeasedAlert{Labels: map[string]string{"alertname": "Up"}, StartsAt: at(1), EndsAt: at(2)})
	if path != "POST /a/b/api/v2/alerts" || header.Get("Content-Type") != "application/json" {
		t.Errorf("%s %v", path, header)
	}
	const want = `[{"labels":{"alertname":"Down","cluster":"eu","job":"node"},"annotations":{"summary":"down"},` +
		`"startsAt":"2026-05-01T12:00:00Z","endsAt":"2026-05-01T12:00:40Z","generatorURL":"http://page/eu"},` +
		`{"labels":{"alertname":"Up","cluster":"eu","job":"x"},` +
		`"startsAt":"2026-05-01T12:00:01Z","endsAt":"2026-05-01T12:00:02Z","generatorURL":"http://page/eu"}]`
	if body != want {
		t.Errorf("body:\n got %s\nwant %s", body, want)
	}
	if !maps.Equal(shared.Labels, before) {
		t.Errorf("the alert's own labels were changed: %v", shared.Labels)
	}
}

func TestRelabel(t *testing.T) {
	cfg := alertmanager.Config{
		ExternalLabels: map[string]string{"cluster": "eu"},
		Relabel: func(labels map[string]string) map[string]string {
			if labels["alertname"] == "Secret" {
				return nil
			}
			return map[string]string{"alertname": labels["alertname"], "where": labels["cluster"], "gone": ""}
		},
	}
	_, _, body := received(t, cfg, alert("Secret"), alert("Down"))
	var got []struct{ Labels map[string]string }
	if err := json.Unmarshal([]byte(body), &got); err != nil {
		t.Fatal(err)
	}
	if want := map[string]string{"alertname": "Down", "where": "eu"}; len(got) != 1 || !maps.Equal(got[0].Labels, want) {
		t.Errorf("got %v", got)
	}
	if path, _, _ := received(t, cfg, alert("Secret")); path != "" {
		t.Errorf("a request without alerts: %s", path)
	}
}

func TestCredentials(t *testing.T) {
	for _, http := range []config.HTTPClientConfig{
		{BasicAuth: &config.BasicAuth{Username: "u", Password: "p"}},
		{Authorization: &config.Authorization{Type: "Basic", Credentials: "dTpw"}},
	} {
		client, err := config.NewClientFromConfig(http, "alertmanager")
		if err != nil {
			t.Fatal(err)
		}
		if _, header, _ := received(t, alertmanager.Config{Client: client}, alert("Down")); header.Get("Authorization") != "Basic dTpw" {
			t.Errorf("authorization %q", header.Get("Authorization"))
		}
	}
}

func TestStatuses(t *testing.T) {
	status, requests := 0, 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests++
		w.Header().Set("Location", "http://"+r.Host+"/elsewhere")
		w.WriteHeader(status)
		if status >= 400 {
			_, _ = io.WriteString(w, "\"invalid\x1b label\"\n")
		}
	}))
	defer server.Close()
	followed, err := config.NewClientFromConfig(config.DefaultHTTPClientConfig, "alertmanager")
	if err != nil {
		t.Fatal(err)
	}
	client := newClient(t, alertmanager.Config{URL: server.URL, Client: followed})
	want := map[int]domain.Outcome{
		200: domain.OutcomeDelivered, 202: domain.OutcomeDelivered, 204: domain.OutcomeDelivered,
		400: domain.OutcomeRefused, 413: domain.OutcomeRefused, 422: domain.OutcomeRefused,
	}
	for _, retry := range []int{301, 302, 303, 307, 308, 401, 403, 404, 405, 408, 410, 415, 429, 500, 502, 503, 504} {
		want[retry] = domain.OutcomeRetry
	}
	for code, outcome := range want {
		status, requests = code, 0
		got := client.Post(t.Context(), []application.LeasedAlert{alert("Down")})
		if got.Outcome != outcome || got.Status != code || requests != 1 {
			t.Errorf("%d: %+v, want %s; %d requests", code, got, outcome, requests)
		}
		if code >= 400 && got.Detail != `"invalid label"` {
			t.Errorf("%d: Detail = %q", code, got.Detail)
		}
	}
}

func TestNoAnswer(t *testing.T) {
	stop := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-stop }))
	defer server.Close()
	defer close(stop)
	url := strings.Replace(server.URL, "http://", "http://u:s3cret@", 1)
	client := newClient(t, alertmanager.Config{URL: url, Timeout: 100 * time.Millisecond})
	got := client.Post(t.Context(), []application.LeasedAlert{alert("Down")})
	if got.Outcome != domain.OutcomeUnknown || got.Detail != "sent, and then: no answer in time" {
		t.Errorf("never answered: %+v", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got := client.Post(ctx, []application.LeasedAlert{alert("Down")}); got.Outcome != domain.OutcomeRetry {
		t.Errorf("never sent: %+v", got)
	}
	late := alert("Down")
	late.EndsAt = late.EndsAt.AddDate(9999, 0, 0)
	if got := client.Post(t.Context(), []application.LeasedAlert{late}); got.Outcome != domain.OutcomeRefused || !strings.HasPrefix(got.Detail, "alertmanager: ") {
		t.Errorf("no JSON can be made of it: %+v", got)
	}
}

func TestNewRefuses(t *testing.T) {
	for _, cfg := range []alertmanager.Config{
		{}, {URL: "s3cret"}, {URL: "ftp://s3cret@host"}, {URL: "http://s3cret\x00"}, {URL: "http:///s3cret"}, {URL: "http://host", Timeout: -1},
	} {
		if _, err := alertmanager.New(cfg); !errors.Is(err, alertmanager.ErrConfig) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%+v: %v", cfg, err)
		}
	}
}
