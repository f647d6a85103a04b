package webhook_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cloudevents/sdk-go/v2/binding"
	"github.com/cloudevents/sdk-go/v2/event"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"

	"github.com/uow-go/uow/outbox"
	"github.com/uow-go/uow/publishers/webhook"
	"github.com/uow-go/uow/relay"
)

func open(t *testing.T, server *httptest.Server, change func(cfg *webhook.Config)) *webhook.Publisher {
	t.Helper()
	cfg := webhook.Config{URL: server.URL, Source: "/bank", AllowPrivate: true}
	change(&cfg)
	p, err := webhook.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

func serve(t *testing.T, handler http.HandlerFunc) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server
}

// numbered returns messages without keys.
func numbered(first, n int) (batch []outbox.Message) {
	for i := range n {
		m := message()
		m.ID, m.Key = fmt.Sprint("m", first+i), ""
		batch = append(batch, m)
	}
	return batch
}

func outcomes(results []relay.Result) (all []relay.Outcome) {
	for _, r := range results {
		all = append(all, r.Outcome)
	}
	return all
}

func TestBinaryAndBatchAreReadByTheSDK(t *testing.T) {
	for _, mode := range []webhook.Mode{webhook.Binary, webhook.Batch} {
		var mu sync.Mutex
		var got []event.Event
		server := serve(t, func(_ http.ResponseWriter, r *http.Request) {
			mu.Lock()
			defer mu.Unlock()
			if mode == webhook.Batch {
				events, err := cehttp.NewEventsFromHTTPRequest(r)
				if err != nil {
					t.Error(err)
				}
				got = append(got, events...)
				return
			}
			e, err := binding.ToEvent(r.Context(), cehttp.NewMessageFromHttpRequest(r))
			if err != nil {
				t.Error(err)
				return
			}
			got = append(got, *e)
		})
		p := open(t, server, func(cfg *webhook.Config) { cfg.Mode = mode })
		m := message()
		m.Headers["tenant"] = "acme"
		for _, r := range p.Publish(t.Context(), []outbox.Message{m}) {
			if r.Outcome != relay.Stored {
				t.Fatalf("mode %d: %v (%v)", mode, r.Outcome, r.Err)
			}
		}
		if len(got) != 1 {
			t.Fatalf("mode %d: %d events, want 1", mode, len(got))
		}
		e := got[0]
		if err := e.Validate(); err != nil {
			t.Errorf("mode %d: not valid: %v", mode, err)
		}
		have := []any{e.ID(), e.Source(), e.Type(), e.Subject(), e.DataContentType(), string(e.Data()), e.Extensions()["tenant"], e.Time().UTC()}
		want := []any{m.ID, "/bank", m.Type, m.AggregateID, "application/json", string(m.Payload), "acme", m.CreatedAt}
		if !reflect.DeepEqual(have, want) {
			t.Errorf("mode %d: got %v, want %v", mode, have, want)
		}
	}
}

// The first value is the example of the HTTP binding. (The SDK leaves it encoded.)
func TestAttributesInHeaders(t *testing.T) {
	for value, want := range map[string]string{"Euro € 😀": "Euro%20%E2%82%AC%20%F0%9F%98%80", `100% "x"~!`: "100%25%20%22x%22~!"} {
		got := ""
		server := serve(t, func(_ http.ResponseWriter, r *http.Request) { got = r.Header.Get("Ce-Subject") })
		p := open(t, server, func(cfg *webhook.Config) { cfg.Mode = webhook.Binary })
		m := message()
		m.AggregateID = value
		if r := p.Publish(t.Context(), []outbox.Message{m})[0]; r.Outcome != relay.Stored || got != want {
			t.Errorf("got %q, %v (%v), want %q", got, r.Outcome, r.Err, want)
		}
	}
}

// A message that the receiver refuses costs those that came with it no attempt.
func TestBatchWithAMessageThatIsRefused(t *testing.T) {
	var sizes []int
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		sizes = append(sizes, strings.Count(string(body), `"specversion"`))
		if strings.Contains(string(body), `"m3"`) {
			w.WriteHeader(http.StatusUnprocessableEntity)
		}
	})
	p := open(t, server, func(cfg *webhook.Config) { cfg.Mode, cfg.BatchSize = webhook.Batch, 4 })
	got := outcomes(p.Publish(t.Context(), numbered(0, 10)))
	want := slices.Repeat([]relay.Outcome{relay.Stored}, 10)
	want[3] = relay.Retry
	if !slices.Equal(got, want) || !slices.Equal(sizes, []int{4, 1, 1, 1, 1, 4, 2}) {
		t.Errorf("got %v by requests of %v", got, sizes)
	}
}

func TestBatchesAreSignedAndNamedAlike(t *testing.T) {
	var ids []string
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		ids = append(ids, r.Header.Get("Webhook-Id"))
		if r.Header.Get("Webhook-Signature") == "" || r.Header.Get("Idempotency-Key") != r.Header.Get("Webhook-Id") {
			t.Errorf("headers %v", r.Header)
		}
		w.WriteHeader(http.StatusServiceUnavailable)
	})
	p := open(t, server, func(cfg *webhook.Config) {
		cfg.Mode, cfg.Secrets, cfg.BreakAfter = webhook.Batch, []string{secret('a')}, -1
	})
	for range 2 {
		if got := outcomes(p.Publish(t.Context(), numbered(0, 3))); !slices.Equal(got, slices.Repeat([]relay.Outcome{relay.Retry}, 3)) {
			t.Errorf("got %v", got)
		}
	}
	if len(ids) != 2 || ids[0] != ids[1] || !strings.HasPrefix(ids[0], "batch_") {
		t.Errorf("ids %q, want the same twice", ids)
	}
}

// A receiver that is away is told from a message that it does not like, and costs no
// message an attempt.
func TestReceiverThatIsAway(t *testing.T) {
	var away atomic.Bool
	var requests atomic.Int64
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		body, _ := io.ReadAll(r.Body)
		if away.Load() || strings.Contains(string(body), `"m7"`) {
			w.WriteHeader(http.StatusInternalServerError)
		}
	})
	p := open(t, server, func(cfg *webhook.Config) { cfg.BreakAfter, cfg.Concurrency = 3, 1 })
	publish := func(first, n int, want ...relay.Outcome) {
		t.Helper()
		if got := outcomes(p.Publish(t.Context(), numbered(first, n))); !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	}
	for range 5 { // one message that fails is no receiver that is away
		publish(7, 1, relay.Retry)
	}
	publish(8, 1, relay.Stored)
	away.Store(true)
	publish(0, 4, relay.Retry, relay.Retry, relay.Unavailable, relay.Unavailable)
	before := requests.Load()
	publish(0, 4, slices.Repeat([]relay.Outcome{relay.Unavailable}, 4)...)
	if n := requests.Load() - before; n != 1 {
		t.Errorf("%d requests found out that the receiver is still away, want 1", n)
	}
	away.Store(false)
	publish(0, 4, slices.Repeat([]relay.Outcome{relay.Stored}, 4)...)
	publish(7, 1, relay.Retry)
}

func TestModesThatDoNotFit(t *testing.T) {
	for want, cfg := range map[string]webhook.Config{
		"Encode is set":        {Mode: webhook.Binary, Encode: webhook.CloudEvents("/x")},
		"Mode is not one":      {Mode: 3},
		"BatchSize is set":     {BatchSize: 10},
		"BatchSize is 1000000": {Mode: webhook.Batch, BatchSize: 1_000_000},
	} {
		cfg.URL, cfg.Source = "https://example.com", "/bank"
		if _, err := webhook.New(cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error with %q", err, want)
		}
	}
}
