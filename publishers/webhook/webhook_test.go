package webhook_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/uow-go/uow/outbox"
	"github.com/uow-go/uow/publishers/webhook"
	"github.com/uow-go/uow/relay"
)

func secret(fill byte) string {
	return "whsec_" + base64.StdEncoding.EncodeToString([]byte(strings.Repeat(string(fill), 32)))
}

func message() outbox.Message {
	return outbox.Message{
		Position:      7,
		ID:            "0190b5c0-0000-7000-8000-000000000001",
		Topic:         "accounts",
		Key:           "accounts/alice",
		Type:          "Withdrawn",
		AggregateType: "accounts",
		AggregateID:   "alice",
		Sequence:      3,
		Payload:       []byte(`{"amount":30,"note":"a < b & c"}`),
		Headers: map[string]string{
			"content-type": "application/json",
			"traceparent":  "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
		},
		CreatedAt: time.Date(2026, 11, 23, 10, 0, 0, 123456000, time.UTC),
	}
}

// receiver is a server that records its requests.
type receiver struct {
	*httptest.Server
	mu       sync.Mutex
	requests []*http.Request
	bodies   [][]byte
}

func newReceiver(t *testing.T, answer http.HandlerFunc) *receiver {
	t.Helper()
	r := &receiver{}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		body, err := io.ReadAll(request.Body)
		if err != nil {
			return
		}
		r.mu.Lock()
		r.requests, r.bodies = append(r.requests, request), append(r.bodies, body)
		r.mu.Unlock()
		if answer != nil {
			answer(w, request)
		}
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) only(t *testing.T) (*http.Request, []byte) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.requests) != 1 {
		t.Fatalf("the receiver got %d requests, want 1", len(r.requests))
	}
	return r.requests[0], r.bodies[0]
}

func newPublisher(t *testing.T, cfg webhook.Config) *webhook.Publisher {
	t.Helper()
	cfg.Source, cfg.AllowPrivate = "/bank", true
	p, err := webhook.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

func TestSignatureIsVerifiedByTheStandardLibrary(t *testing.T) {
	r := newReceiver(t, nil)
	p := newPublisher(t, webhook.Config{URL: r.URL, Secrets: []string{secret('n'), secret('o')}})
	a := p.Deliver(t.Context(), message())
	if a.Result.Outcome != relay.Stored || a.Status != 200 || !a.Sent {
		t.Fatalf("the attempt is %+v, want Stored", a)
	}
	request, body := r.only(t)
	for _, s := range []string{secret('n'), secret('o')} {
		wh, err := standardwebhooks.NewWebhook(s)
		if err != nil {
			t.Fatal(err)
		}
		if err := wh.Verify(body, request.Header); err != nil {
			t.Errorf("a receiver with one of the secrets: %v", err)
		}
		if err := wh.Verify(append(body, ' '), request.Header); err == nil {
			t.Error("a changed body was verified")
		}
	}
	other, err := standardwebhooks.NewWebhook(secret('x'))
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Verify(body, request.Header); err == nil {
		t.Error("another secret verified the request")
	}
}

func TestRequestHeaders(t *testing.T) {
	r := newReceiver(t, nil)
	at := strings.Replace(r.URL, "http://", "http://user:pass@", 1) + "/hook?token=t"
	p := newPublisher(t, webhook.Config{URL: at, Headers: map[string]string{"x-tenant": "7"}})
	p.Deliver(t.Context(), message())
	request, _ := r.only(t)
	if request.Method != http.MethodPost || request.URL.String() != "/hook?token=t" {
		t.Errorf("the request is %s %s", request.Method, request.URL)
	}
	if user, password, _ := request.BasicAuth(); user != "user" || password != "pass" {
		t.Errorf("basic authentication is %q, %q", user, password)
	}
	for name, want := range map[string]string{
		"Content-Type":      "application/cloudevents+json; charset=utf-8",
		"Webhook-Id":        message().ID,
		"Idempotency-Key":   message().ID,
		"Traceparent":       message().Headers["traceparent"],
		"X-Tenant":          "7",
		"User-Agent":        "uow-webhook",
		"Webhook-Signature": "",
	} {
		if got := request.Header.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}

func TestPostSendsAnyBodyTheSameWay(t *testing.T) {
	r := newReceiver(t, nil)
	p := newPublisher(t, webhook.Config{URL: r.URL, Secrets: []string{secret('n')}})
	a := p.Post(t.Context(), webhook.Request{
		ID: "n-1", ContentType: "application/json", Body: []byte(`{"version":"4"}`),
		Headers: map[string]string{"X-Group": "g"},
	})
	if a.Result.Outcome != relay.Stored || a.ID != "n-1" {
		t.Fatalf("the attempt is %+v", a)
	}
	request, body := r.only(t)
	wh, err := standardwebhooks.NewWebhook(secret('n'))
	if err != nil {
		t.Fatal(err)
	}
	if err := wh.Verify(body, request.Header); err != nil {
		t.Error(err)
	}
	if string(body) != `{"version":"4"}` || request.Header.Get("X-Group") != "g" {
		t.Errorf("the request is %s with %v", body, request.Header)
	}
	for name, bad := range map[string]webhook.Request{
		"no id":           {},
		"line end in id":  {ID: "a\r\nX: y"},
		"reserved header": {ID: "a", Headers: map[string]string{"webhook-signature": "v1,x"}},
		"header injected": {ID: "a", Headers: map[string]string{"X": "a\nY: b"}},
		"bad media type":  {ID: "a", ContentType: "a\nb"},
	} {
		if a := p.Post(t.Context(), bad); a.Result.Outcome != relay.Refused || a.Sent {
			t.Errorf("%s: the attempt is %+v, want Refused without sending", name, a)
		}
	}
	if len(r.requests) != 1 {
		t.Errorf("%d requests, want 1", len(r.requests))
	}
}

func TestStatuses(t *testing.T) {
	status, header := 0, ""
	r := newReceiver(t, func(w http.ResponseWriter, _ *http.Request) {
		if header != "" {
			w.Header().Set("Retry-After", header)
		}
		w.Header().Set("Location", "/elsewhere?secret=s")
		w.WriteHeader(status)
	})
	p := newPublisher(t, webhook.Config{URL: r.URL, Refused: []int{422}, MaxRetryAfter: time.Minute})
	for _, c := range []struct {
		status     int
		retryAfter string
		want       relay.Outcome
		after      time.Duration
	}{
		{200, "", relay.Stored, 0}, {201, "", relay.Stored, 0}, {202, "", relay.Stored, 0}, {204, "", relay.Stored, 0},
		{301, "", relay.Retry, 0}, {302, "", relay.Retry, 0}, {307, "", relay.Retry, 0}, {308, "", relay.Retry, 0}, {304, "", relay.Retry, 0},
		{400, "", relay.Retry, 0}, {401, "", relay.Retry, 0}, {403, "", relay.Retry, 0}, {404, "", relay.Retry, 0}, {413, "", relay.Retry, 0},
		{408, "", relay.Retry, 0}, {429, "7", relay.Retry, 7 * time.Second}, {429, "9999", relay.Retry, time.Minute},
		{410, "", relay.Refused, 0}, {422, "", relay.Refused, 0},
		{500, "", relay.Retry, 0}, {502, "", relay.Retry, 0}, {503, "30", relay.Retry, 30 * time.Second}, {504, "x", relay.Retry, 0},
		{503, "Fri, 01 Jan 2100 00:00:00 GMT", relay.Retry, time.Minute}, {599, "", relay.Retry, 0},
	} {
		status, header = c.status, c.retryAfter
		a := p.Deliver(t.Context(), message())
		if a.Result.Outcome != c.want || a.Result.After != c.after || a.Status != c.status {
			t.Errorf("%d, Retry-After %q: %+v, want %v after %v", c.status, c.retryAfter, a, c.want, c.after)
		}
		if c.want == relay.Stored {
			continue
		}
		if text := a.Result.Err.Error(); !strings.HasPrefix(text, "webhook: ") || !strings.Contains(text, fmt.Sprint(c.status)) || strings.Contains(text, "secret") {
			t.Errorf("%d: the error is %q", c.status, text)
		}
	}
	for _, request := range r.requests {
		if request.URL.Path != "/" {
			t.Errorf("a redirect was followed to %s", request.URL.Path)
		}
	}
}

func TestMessageThatCanNotBeEncodedIsRefused(t *testing.T) {
	cause := errors.New("no")
	p := newPublisher(t, webhook.Config{URL: "http://localhost", Encode: func(outbox.Message) (string, []byte, error) {
		return "", nil, cause
	}})
	a := p.Deliver(t.Context(), message())
	if a.Result.Outcome != relay.Refused || !errors.Is(a.Result.Err, cause) || a.StartedAt.IsZero() {
		t.Errorf("the attempt is %+v, want Refused", a)
	}
}

func TestPublishKeepsTheOrderOfKeys(t *testing.T) {
	r := newReceiver(t, func(w http.ResponseWriter, request *http.Request) {
		if request.Header.Get("Webhook-Id") == "a-2" {
			w.WriteHeader(http.StatusInternalServerError)
		}
	})
	p := newPublisher(t, webhook.Config{URL: r.URL})
	var batch []outbox.Message
	for _, id := range []string{"a-1", "b-1", "a-2", "b-2", "a-3"} {
		batch = append(batch, outbox.Message{ID: id, Key: id[:1], Type: "T"})
	}
	var got []relay.Outcome
	for _, result := range p.Publish(t.Context(), batch) {
		got = append(got, result.Outcome)
	}
	want := []relay.Outcome{relay.Stored, relay.Stored, relay.Retry, relay.Stored, relay.NotTried}
	if !slices.Equal(got, want) {
		t.Errorf("outcomes are %v, want %v", got, want)
	}
}

func TestConfigIsValidated(t *testing.T) {
	good := webhook.Config{URL: "https://example.com/hook", Source: "/bank", Secrets: []string{secret('n')}}
	if _, err := webhook.New(good); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*webhook.Config){
		"no URL":           func(c *webhook.Config) { c.URL = "" },
		"not http":         func(c *webhook.Config) { c.URL = "ftp://example.com" },
		"no host":          func(c *webhook.Config) { c.URL = "https:///hook" },
		"bad URL":          func(c *webhook.Config) { c.URL = "https://user:topsecret@example.com:port/" },
		"no Source":        func(c *webhook.Config) { c.Source = "" },
		"bad Source":       func(c *webhook.Config) { c.Source = "a:b\x00" },
		"no prefix":        func(c *webhook.Config) { c.Secrets = []string{"topsecret"} },
		"not base64":       func(c *webhook.Config) { c.Secrets = []string{"whsec_topsecret!"} },
		"short secret":     func(c *webhook.Config) { c.Secrets = []string{"whsec_dG9wc2VjcmV0"} },
		"reserved header":  func(c *webhook.Config) { c.Headers = map[string]string{"webhook-id": "x"} },
		"bad header":       func(c *webhook.Config) { c.Headers = map[string]string{"a b": "x"} },
		"bad value":        func(c *webhook.Config) { c.Headers = map[string]string{"a": "topsecret\n"} },
		"negative":         func(c *webhook.Config) { c.Timeout = -1 },
		"success refused":  func(c *webhook.Config) { c.Refused = []int{200} },
		"status not known": func(c *webhook.Config) { c.Refused = []int{1000} },
	} {
		cfg := good
		change(&cfg)
		_, err := webhook.New(cfg)
		if !errors.Is(err, webhook.ErrConfig) {
			t.Errorf("%s: New returned %v, want ErrConfig", name, err)
			continue
		}
		if strings.Contains(err.Error(), "topsecret") {
			t.Errorf("%s: the error %q shows a secret", name, err)
		}
	}
}
