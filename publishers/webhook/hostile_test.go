package webhook_test

import (
	"context"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/uow-go/uow/publishers/webhook"
	"github.com/uow-go/uow/relay"
)

func TestServersThatDoNotAnswer(t *testing.T) {
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		want   relay.Outcome
		sent   bool
	}{
		"never answers": {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, relay.Unknown, true},
		"closes": {func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err == nil {
				conn.Close()
			}
		}, relay.Unknown, true},
		"sends garbage": {func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err == nil {
				_, _ = conn.Write([]byte("what?\r\n\r\n"))
				conn.Close()
			}
		}, relay.Unknown, true},
		"status and then nothing": {func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusOK)
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}, relay.Stored, true},
		"half an answer": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			w.WriteHeader(http.StatusInternalServerError)
			_, _ = w.Write([]byte("half"))
		}, relay.Retry, true},
	} {
		t.Run(name, func(t *testing.T) {
			r := newReceiver(t, c.answer)
			p := newPublisher(t, webhook.Config{URL: r.URL, Timeout: 200 * time.Millisecond})
			a := p.Deliver(t.Context(), message())
			if a.Result.Outcome != c.want || a.Sent != c.sent {
				t.Errorf("the attempt is %+v, want %v", a, c.want)
			}
		})
	}
}

func TestNobodyListens(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := "http://user:pass@" + listener.Addr().String() + "/path-secret?token=query-secret"
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	p := newPublisher(t, webhook.Config{URL: at})
	a := p.Deliver(t.Context(), message())
	if a.Result.Outcome != relay.Retry || a.Sent || a.Status != 0 {
		t.Errorf("the attempt is %+v, want Retry, nothing sent", a)
	}
	text := a.Result.Err.Error()
	for _, leak := range []string{"user", "pass", "secret"} {
		if strings.Contains(text, leak) {
			t.Errorf("the error %q shows the URL's secrets", text)
		}
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if a := p.Deliver(cancelled, message()); a.Result.Outcome != relay.NotTried {
		t.Errorf("after the relay's context ended: %+v, want NotTried", a)
	}
}

func TestHugeAnswerIsReadInPartOnly(t *testing.T) {
	r := newReceiver(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusInternalServerError)
		chunk := []byte("secret\x00" + strings.Repeat("x", 64<<10))
		for {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	})
	p := newPublisher(t, webhook.Config{URL: r.URL, MaxResponseBytes: 1000})
	a := p.Deliver(t.Context(), message())
	if a.Result.Outcome != relay.Retry || a.BodyBytes != 1000 || len(a.BodySHA256) != 64 {
		t.Errorf("the attempt is %+v, want Retry with 1000 bytes read", a)
	}
	if len(a.Excerpt) != 256 || !strings.HasPrefix(a.Excerpt, "secret x") {
		t.Errorf("the excerpt is %q", a.Excerpt)
	}
	if strings.Contains(a.Result.Err.Error(), "secret") {
		t.Errorf("the error %q has the answer", a.Result.Err)
	}
}

func TestPrivateAddressesAreRefused(t *testing.T) {
	r := newReceiver(t, nil)
	for _, at := range []string{r.URL, strings.Replace(r.URL, "127.0.0.1", "localhost", 1)} {
		p, err := webhook.New(webhook.Config{URL: at, Source: "/bank"})
		if err != nil {
			t.Fatal(err)
		}
		a := p.Deliver(t.Context(), message())
		if a.Result.Outcome != relay.Retry || a.Sent || !strings.Contains(a.Result.Err.Error(), "not a public address") {
			t.Errorf("%s: the attempt is %+v, want it refused before connecting", at, a)
		}
	}
	if len(r.requests) != 0 {
		t.Errorf("%d requests reached a loopback server", len(r.requests))
	}
}
