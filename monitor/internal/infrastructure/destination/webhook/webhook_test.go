package webhook_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/uow-go/uow/monitor/internal/application"
	"github.com/uow-go/uow/monitor/internal/domain"
	"github.com/uow-go/uow/monitor/internal/infrastructure/destination/webhook"
)

var update = flag.Bool("update", false, "write the golden files")

func at(second int) time.Time { return time.Date(2026, 5, 1, 12, 0, second, 0, time.UTC) }

func notification(kind domain.TransitionKind) domain.Notification {
	const alert = "rules.yml;hosts|r1|0123456789abcdef"
	n := domain.Notification{
		ID: domain.NotificationID(alert+"#2", "pager"), Destination: "pager", ExternalURL: "http://tocsin.example",
		Transition: domain.Transition{
			ID: alert + "#2", Alert: alert, Group: "rules.yml;hosts", Rule: "r1", Name: "InstanceDown",
			Episode: 1, Number: 2, Kind: kind, From: domain.Pending, To: domain.Firing,
			Slot: at(30), Value: 0.5, ActiveAt: at(0), FiredAt: at(30),
			Labels:      map[string]string{"alertname": "InstanceDown", "instance": "a:9100", "job": "node"},
			Annotations: map[string]string{"summary": "<a> is \"down\""},
		},
	}
	t := &n.Transition
	switch kind {
	case domain.BecameResolved, domain.RuleDeleted:
		t.From, t.To, t.Slot, t.ResolvedAt = domain.Firing, domain.Inactive, at(50), at(50)
	case domain.FellBack:
		t.From, t.To, t.Slot, t.Reason = domain.Firing, domain.Pending, at(50), "for is now 5m0s"
	case domain.BecameHeld:
		t.From, t.To, t.Hold, t.Reason = domain.Firing, domain.Firing, domain.HoldStale, "target is down"
	}
	if kind == domain.RuleDeleted {
		t.Reason = "the group no longer has the rule"
	}
	return n
}

// receiver keeps what it was sent and answers as it is told to.
type receiver struct {
	*httptest.Server
	mu       sync.Mutex
	requests []*http.Request
	bodies   [][]byte
	answer   http.HandlerFunc
}

func newReceiver(t *testing.T) *receiver {
	r := &receiver{answer: func(http.ResponseWriter, *http.Request) {}}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		body, err := io.ReadAll(request.Body)
		if err != nil {
			t.Error(err)
		}
		r.mu.Lock()
		r.requests, r.bodies = append(r.requests, request), append(r.bodies, body)
		r.mu.Unlock()
		r.answer(w, request)
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.requests)
}

func newSender(t *testing.T, cfg webhook.Config) *webhook.Sender {
	t.Helper()
	sender, err := webhook.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return sender
}

// bodyOf returns what a receiver gets, empty when nothing.
func bodyOf(t *testing.T, cfg webhook.Config, n domain.Notification) []byte {
	t.Helper()
	r := newReceiver(t)
	cfg.URL = r.URL
	answer := newSender(t, cfg).Send(t.Context(), n, 1)
	if answer.Outcome != domain.OutcomeDelivered {
		t.Fatalf("answer = %+v", answer)
	}
	if len(r.bodies) == 0 {
		return nil
	}
	return r.bodies[0]
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	var indented bytes.Buffer
	if err := json.Indent(&indented, got, "", "  "); err != nil {
		t.Fatal(err)
	}
	indented.WriteByte('\n')
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, indented.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(indented.Bytes(), want) {
		t.Errorf("%s:\n got %s\nwant %s", name, indented.Bytes(), want)
	}
}

func TestBodies(t *testing.T) {
	for _, format := range []webhook.Format{webhook.CloudEvents, webhook.Alertmanager} {
		for _, kind := range []domain.TransitionKind{
			domain.BecameFiring, domain.BecameResolved, domain.RuleDeleted, domain.FellBack, domain.BecameHeld,
		} {
			body := bodyOf(t, webhook.Config{Name: "pager", Format: format, ExternalLabels: map[string]string{
				"cluster": "eu", "job": "not added",
			}}, notification(kind))
			if format == webhook.Alertmanager && kind == domain.BecameHeld {
				if body != nil {
					t.Errorf("a hold was sent: %s", body)
				}
				continue
			}
			golden(t, fmt.Sprintf("%s-%s.json", format, kind), body)
		}
	}
}

func TestInexpressibleIsSaidSo(t *testing.T) {
	sender := newSender(t, webhook.Config{URL: "http://127.0.0.1:1", Format: webhook.Alertmanager})
	for _, kind := range []domain.TransitionKind{domain.BecameHeld, domain.HoldEnded} {
		want := application.Answer{Outcome: domain.OutcomeDelivered, Detail: "not expressible in this format, nothing sent"}
		if got := sender.Send(t.Context(), notification(kind), 1); got != want {
			t.Errorf("%s: %+v", kind, got)
		}
	}
}

// alertmanagerMessage is written from Alertmanager's documentation of
// webhook_config, apart from the sender.
type alertmanagerMessage struct {
	Version           string
	GroupKey          string
	TruncatedAlerts   int
	Status            string
	Receiver          string
	GroupLabels       map[string]string
	CommonLabels      map[string]string
	CommonAnnotations map[string]string
	ExternalURL       string
	Alerts            []struct {
		Status       string
		Labels       map[string]string
		Annotations  map[string]string
		StartsAt     time.Time
		EndsAt       time.Time
		GeneratorURL string
		Fingerprint  string
	}
}

func TestAlertmanagerFormatIsReadable(t *testing.T) {
	for kind, want := range map[domain.TransitionKind]string{
		domain.BecameFiring: "firing", domain.BecameResolved: "resolved",
		domain.RuleDeleted: "resolved", domain.FellBack: "resolved",
	} {
		decoder := json.NewDecoder(bytes.NewReader(bodyOf(t, webhook.Config{Name: "pager", Format: webhook.Alertmanager}, notification(kind))))
		decoder.DisallowUnknownFields()
		var m alertmanagerMessage
		if err := decoder.Decode(&m); err != nil {
			t.Fatal(err)
		}
		a := m.Alerts[0]
		if m.Version != "4" || m.Status != want || a.Status != want || m.Receiver != "pager" || len(m.Alerts) != 1 {
			t.Errorf("%s: %+v", kind, m)
		}
		if ended := !a.EndsAt.IsZero(); ended != (want == "resolved") || ended && !a.EndsAt.After(a.StartsAt) {
			t.Errorf("%s: from %s to %s", kind, a.StartsAt, a.EndsAt)
		}
		if told := a.Annotations["tocsin_reason"] != ""; told != (kind == domain.RuleDeleted || kind == domain.FellBack) {
			t.Errorf("%s: annotations %v", kind, a.Annotations)
		}
		if a.Fingerprint != domain.Fingerprint(a.Labels) || m.GroupKey != `{}:{alertname="InstanceDown", instance="a:9100", job="node"}` {
			t.Errorf("%s: fingerprint %s, group key %s", kind, a.Fingerprint, m.GroupKey)
		}
	}
}

func TestGeneratorURLAndSource(t *testing.T) {
	link := func(n domain.Notification) string { return "http://page/" + n.Transition.Name }
	body := bodyOf(t, webhook.Config{Format: webhook.Alertmanager, GeneratorURL: link}, notification(domain.BecameFiring))
	if !bytes.Contains(body, []byte(`"generatorURL":"http://page/InstanceDown"`)) {
		t.Errorf("body %s", body)
	}
	n := notification(domain.BecameFiring)
	for source, want := range map[string]string{"urn:mine": "urn:mine", "": "http://tocsin.example"} {
		body := bodyOf(t, webhook.Config{Source: source}, n)
		if !bytes.Contains(body, []byte(`"source":"`+want+`"`)) {
			t.Errorf("body %s", body)
		}
	}
	n.ExternalURL = ""
	if body := bodyOf(t, webhook.Config{}, n); !bytes.Contains(body, []byte(`"source":"tocsin"`)) {
		t.Errorf("body %s", body)
	}
}

func key(b byte) (secret string, raw []byte) {
	raw = bytes.Repeat([]byte{b}, 24)
	return "whsec_" + base64.StdEncoding.EncodeToString(raw), raw
}

func TestHeadersAndSignature(t *testing.T) {
	r := newReceiver(t)
	secret1, key1 := key(1)
	secret2, key2 := key(2)
	sender := newSender(t, webhook.Config{
		URL: r.URL, Secret: func() (string, error) { return secret1 + " " + secret2 + "\n", nil },
		Headers: map[string]string{"authorization": "Bearer abc"},
		Now:     func() time.Time { return at(0) },
	})
	n := notification(domain.BecameFiring)
	for number := 1; number <= 2; number++ {
		sender.Send(t.Context(), n, number)
		h := r.requests[number-1].Header
		for name, want := range map[string]string{
			"Idempotency-Key": n.ID, "Webhook-Id": n.ID, "Tocsin-Attempt": fmt.Sprint(number),
			"Webhook-Timestamp": "1777636800", "Authorization": "Bearer abc", "User-Agent": "tocsin",
			"Content-Type": "application/cloudevents+json; charset=utf-8",
		} {
			if got := h.Values(name); len(got) != 1 || got[0] != want {
				t.Errorf("attempt %d: %s = %q, want %q", number, name, got, want)
			}
		}
		var want []string
		for _, k := range [][]byte{key1, key2} {
			mac := hmac.New(sha256.New, k)
			fmt.Fprintf(mac, "%s.%s.%s", h.Get("webhook-id"), h.Get("webhook-timestamp"), r.bodies[number-1])
			want = append(want, "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
		}
		if got := h.Get("webhook-signature"); got != strings.Join(want, " ") {
			t.Errorf("signature %q, want %q", got, want)
		}
	}
	newSender(t, webhook.Config{URL: r.URL}).Send(t.Context(), n, 1)
	if h := r.requests[2].Header; h.Get("webhook-id") != n.ID || h.Get("webhook-signature") != "" {
		t.Errorf("signed without a secret: %v", h)
	}
}

func TestSecretIsReadForEachAttempt(t *testing.T) {
	r := newReceiver(t)
	secret, _ := key(1)
	var err error
	sender := newSender(t, webhook.Config{URL: r.URL, Secret: func() (string, error) { return secret, err }})
	secret, _ = key(2)
	if got := sender.Send(t.Context(), notification(domain.BecameFiring), 1); got.Outcome != domain.OutcomeDelivered {
		t.Errorf("answer = %+v", got)
	}
	secret = "whsec_dG9vIHNob3J0"
	if got := sender.Send(t.Context(), notification(domain.BecameFiring), 2); got.Outcome != domain.OutcomeRetry || strings.Contains(got.Detail, "dG9v") {
		t.Errorf("answer = %+v", got)
	}
	secret, err = "", errors.New("no such file")
	if got := sender.Send(t.Context(), notification(domain.BecameFiring), 3); got.Outcome != domain.OutcomeRetry || !strings.Contains(got.Detail, "no such file") {
		t.Errorf("answer = %+v", got)
	}
	if len(r.requests) != 1 {
		t.Errorf("%d requests: unsigned ones were sent", len(r.requests))
	}
}
