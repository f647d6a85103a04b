package webhook_test

import (
	"context"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/uow-go/uow/monitor/internal/domain"
	"github.com/uow-go/uow/monitor/internal/infrastructure/destination/webhook"
)

func TestStatuses(t *testing.T) {
	r := newReceiver(t)
	sender := newSender(t, webhook.Config{URL: r.URL})
	for status, want := range map[int]domain.Outcome{
		200: domain.OutcomeDelivered, 201: domain.OutcomeDelivered, 202: domain.OutcomeDelivered, 204: domain.OutcomeDelivered, 299: domain.OutcomeDelivered,
		300: domain.OutcomeRetry, 301: domain.OutcomeRetry, 302: domain.OutcomeRetry, 303: domain.OutcomeRetry, 304: domain.OutcomeRetry,
		307: domain.OutcomeRetry, 308: domain.OutcomeRetry,
		400: domain.OutcomeRefused, 410: domain.OutcomeRefused, 413: domain.OutcomeRefused, 415: domain.OutcomeRefused, 422: domain.OutcomeRefused,
		401: domain.OutcomeRetry, 402: domain.OutcomeRetry, 403: domain.OutcomeRetry, 404: domain.OutcomeRetry, 405: domain.OutcomeRetry,
		407: domain.OutcomeRetry, 408: domain.OutcomeRetry, 409: domain.OutcomeRetry, 418: domain.OutcomeRetry, 425: domain.OutcomeRetry, 429: domain.OutcomeRetry,
		500: domain.OutcomeRetry, 501: domain.OutcomeRetry, 502: domain.OutcomeRetry, 503: domain.OutcomeRetry, 504: domain.OutcomeRetry, 599: domain.OutcomeRetry, 999: domain.OutcomeRetry,
	} {
		r.answer = func(w http.ResponseWriter, request *http.Request) {
			w.Header().Set("Retry-After", "120")
			w.Header().Set("Location", "http://"+request.Host+"/elsewhere")
			w.WriteHeader(status)
		}
		before := r.count()
		got := sender.Send(t.Context(), notification(domain.BecameFiring), 1)
		if got.Outcome != want || got.Status != status {
			t.Errorf("%d: %+v, want %s", status, got, want)
		}
		if wait := got.After == 2*time.Minute; wait != (want == domain.OutcomeRetry) {
			t.Errorf("%d: After = %s", status, got.After)
		}
		if redirected := status >= 300 && status <= 399; redirected && got.Detail != "redirects are not followed" {
			t.Errorf("%d: Detail = %q", status, got.Detail)
		}
		if n := r.count() - before; n != 1 {
			t.Errorf("%d: %d requests", status, n)
		}
	}
}

func TestDetailShowsNoSecrets(t *testing.T) {
	r := newReceiver(t)
	secret, _ := key(7)
	sender := newSender(t, webhook.Config{
		URL:     strings.Replace(r.URL, "http://", "http://someone:pass+word@", 1) + "/services/TOKEN12345?api_key=abcdefgh",
		Headers: map[string]string{"X-Key": "header-secret"},
		Secret:  func() (string, error) { return secret, nil },
	})
	r.answer = func(w http.ResponseWriter, request *http.Request) {
		w.WriteHeader(http.StatusInternalServerError)
		user, password, _ := request.BasicAuth()
		_, _ = io.WriteString(w, "\x1b[31mno "+request.RequestURI+" "+user+" "+password+" "+request.Header.Get("X-Key")+" "+secret+"\n"+request.Header.Get("Authorization"))
	}
	detail := sender.Send(t.Context(), notification(domain.BecameFiring), 1).Detail
	for _, s := range []string{"someone", "pass", "TOKEN", "abcdefgh", "header", strings.TrimPrefix(secret, "whsec_"), base64.StdEncoding.EncodeToString([]byte("someone:pass+word")), "\x1b", "\n"} {
		if strings.Contains(detail, s) {
			t.Errorf("%q shows %q", detail, s)
		}
	}
	r.Close()
	detail = sender.Send(t.Context(), notification(domain.BecameFiring), 1).Detail
	if strings.Contains(detail, "TOKEN") || strings.Contains(detail, "pass") || strings.Contains(detail, "abcdefgh") {
		t.Errorf("%q shows the URL", detail)
	}
}

func TestTimeout(t *testing.T) {
	r := newReceiver(t)
	stop := make(chan struct{})
	r.answer = func(http.ResponseWriter, *http.Request) { <-stop }
	t.Cleanup(func() { close(stop) })
	got := newSender(t, webhook.Config{URL: r.URL, Timeout: 100 * time.Millisecond}).Send(t.Context(), notification(domain.BecameFiring), 1)
	if got.Outcome != domain.OutcomeUnknown || got.Detail != "sent, and then: no answer in time" {
		t.Errorf("answer = %+v", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(100*time.Millisecond, cancel)
	got = newSender(t, webhook.Config{URL: r.URL}).Send(ctx, notification(domain.BecameFiring), 1)
	if got.Outcome != domain.OutcomeUnknown || got.Detail != "sent, and then: interrupted" {
		t.Errorf("answer = %+v", got)
	}
}

// One attempt is one request, also where a connection that was kept breaks.
func TestOneAttemptIsOneRequest(t *testing.T) {
	r := newReceiver(t)
	var broken atomic.Bool
	r.answer = func(w http.ResponseWriter, _ *http.Request) {
		if broken.Load() {
			c, _, err := w.(http.Hijacker).Hijack()
			if err == nil {
				_ = c.(*net.TCPConn).SetLinger(0)
				c.Close()
			}
		}
	}
	sender := newSender(t, webhook.Config{URL: r.URL})
	if got := sender.Send(t.Context(), notification(domain.BecameFiring), 1); got.Outcome != domain.OutcomeDelivered {
		t.Fatalf("answer = %+v", got)
	}
	broken.Store(true)
	if got := sender.Send(t.Context(), notification(domain.BecameFiring), 2); got.Outcome != domain.OutcomeUnknown {
		t.Errorf("answer = %+v", got)
	}
	if n := r.count(); n != 2 {
		t.Errorf("%d requests for 2 attempts", n)
	}
}

func TestNewRefuses(t *testing.T) {
	ok := webhook.Config{URL: "https://user:s3cret@host/s3cret?s3cret=1"}
	if _, err := webhook.New(ok); err != nil {
		t.Fatal(err)
	}
	fails := errors.New("unreadable")
	for name, change := range map[string]func(*webhook.Config){
		"no URL":             func(c *webhook.Config) { c.URL = "" },
		"a URL of a file":    func(c *webhook.Config) { c.URL = "file:///s3cret" },
		"a URL without host": func(c *webhook.Config) { c.URL = "http:///s3cret" },
		"no URL at all":      func(c *webhook.Config) { c.URL = "http://s3cret\x00" },
		"a format":           func(c *webhook.Config) { c.Format = "xml" },
		"a timeout":          func(c *webhook.Config) { c.Timeout = -1 },
		"a source":           func(c *webhook.Config) { c.Source = ":" },
		"a header's name":    func(c *webhook.Config) { c.Headers = map[string]string{"a b": "s3cret"} },
		"a header's value":   func(c *webhook.Config) { c.Headers = map[string]string{"A": "s3cret\r\nB: c"} },
		"its own header":     func(c *webhook.Config) { c.Headers = map[string]string{"webhook-ID": "s3cret"} },
		"a bare key":         func(c *webhook.Config) { c.Secret = func() (string, error) { return "s3cret", nil } },
		"a short key":        func(c *webhook.Config) { c.Secret = func() (string, error) { return "whsec_s3cret", nil } },
		"no base64":          func(c *webhook.Config) { c.Secret = func() (string, error) { return "whsec_s3cret!", nil } },
		"an unreadable key":  func(c *webhook.Config) { c.Secret = func() (string, error) { return "", fails } },
	} {
		cfg := ok
		change(&cfg)
		_, err := webhook.New(cfg)
		if !errors.Is(err, webhook.ErrConfig) || !strings.HasPrefix(err.Error(), "webhook: ") || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzSecret shows that no text makes a key by accident, and that none is shown.
func FuzzSecret(f *testing.F) {
	secret, _ := key(1)
	for _, s := range []string{secret, secret + " " + secret, "", "whsec_", "s3cretly", "whsec_s3cretly=", "\x00 \xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, secret string) {
		_, err := webhook.New(webhook.Config{URL: "http://receiver.example", Secret: func() (string, error) { return secret, nil }})
		for text := range strings.FieldsSeq(secret) {
			if !strings.HasPrefix(text, "whsec_") && err == nil {
				t.Fatalf("%q was taken for a key", text)
			}
			if len(text) > 12 && err != nil && strings.Contains(err.Error(), text) {
				t.Fatalf("%v shows the secret", err)
			}
		}
	})
}

func TestDetailShowsNoHalfSecret(t *testing.T) {
	r := newReceiver(t)
	const secret = "0123456789abcdefghijklmnopqrstuvwxyz"
	sender := newSender(t, webhook.Config{URL: r.URL, Headers: map[string]string{"X-Key": secret}})
	for gap := 210; gap < 260; gap++ { // an excerpt has 256 bytes
		r.answer = func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusInternalServerError)
			_, _ = io.WriteString(w, "why"+strings.Repeat(" ", gap)+secret)
		}
		if detail := sender.Send(t.Context(), notification(domain.BecameFiring), 1).Detail; strings.Contains(detail, "0") {
			t.Errorf("gap %d: %q", gap, detail)
		}
	}
}
