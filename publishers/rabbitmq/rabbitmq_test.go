package rabbitmq_test

import (
	"context"
	"crypto/rand"
	"errors"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/uow-go/uow/outbox"
	"github.com/uow-go/uow/publishers/rabbitmq"
	"github.com/uow-go/uow/relay"
	"github.com/uow-go/uow/uowtest"
)

func at(u *url.URL, address string) string {
	moved := *u
	moved.Host = address
	return moved.String()
}

// exchange is one of a test, with its queue.
type exchange struct {
	name    string
	channel *amqp.Channel

	mu  sync.Mutex
	got []outbox.Message
}

// newExchange makes an exchange whose queue gets what has the routing key "accounts".
func newExchange(t testing.TB, u *url.URL, arguments amqp.Table) *exchange {
	t.Helper()
	c, err := amqp.Dial(u.String())
	if err != nil {
		t.Fatal(err)
	}
	channel, err := c.Channel()
	if err != nil {
		t.Fatal(err)
	}
	x := &exchange{name: "uow-test-" + rand.Text()[:10], channel: channel}
	t.Cleanup(func() {
		_, err := channel.QueueDelete(x.name, false, false, false)
		if err := errors.Join(err, channel.ExchangeDelete(x.name, false, false), c.Close()); err != nil {
			t.Errorf("delete %s: %v", x.name, err)
		}
	})
	if err := channel.ExchangeDeclare(x.name, "direct", true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	if arguments == nil {
		return x
	}
	if _, err := channel.QueueDeclare(x.name, true, false, false, false, arguments); err != nil {
		t.Fatal(err)
	}
	if err := channel.QueueBind(x.name, "accounts", x.name, false, nil); err != nil {
		t.Fatal(err)
	}
	return x
}

// stored reads what the queue has, and remembers it.
func (x *exchange) stored(context.Context) ([]outbox.Message, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for {
		d, ok, err := x.channel.Get(x.name, true)
		if err != nil {
			return nil, err
		}
		if !ok {
			return slices.Clone(x.got), nil
		}
		x.got = append(x.got, rabbitmq.Decode(d))
	}
}

func TestPublisher(t *testing.T) {
	u := brokerURL(t)
	const maxPayload = 1 << 20
	uowtest.TestPublisher(t, uowtest.PublisherHarness{
		Address: u.Host, MaxPayload: maxPayload,
		Lacks: uowtest.PublisherCapabilities{Deduplication: true},
		New: func(t testing.TB) uowtest.Destination {
			x := newExchange(t, u, amqp.Table{"x-queue-type": "quorum"})
			return uowtest.Destination{
				Open: func(ctx context.Context, address string) (uowtest.ClosingPublisher, error) {
					return rabbitmq.New(ctx, rabbitmq.Config{URL: at(u, address), Exchange: x.name, Source: "/bank", MaxPayload: maxPayload})
				},
				Stored: x.stored,
				Poison: func(m outbox.Message) outbox.Message {
					m.Topic = "nowhere"
					return m
				},
			}
		},
	})
}

func publish(t *testing.T, cfg rabbitmq.Config, batch ...outbox.Message) (outcomes []relay.Outcome) {
	t.Helper()
	p, err := rabbitmq.New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	for _, r := range p.Publish(t.Context(), batch) {
		outcomes = append(outcomes, r.Outcome)
		if r.Err != nil && !strings.HasPrefix(r.Err.Error(), "rabbitmq: ") {
			t.Errorf("the error %q does not tell whose it is", r.Err)
		}
	}
	return outcomes
}

func message(id, key, topic string) outbox.Message {
	return outbox.Message{ID: id, Key: key, Topic: topic, Type: "T"}
}

// A full queue rejects a message and could take the next one: its key stops.
func TestP21_RejectedMessageStopsItsKey(t *testing.T) {
	u := brokerURL(t)
	x := newExchange(t, u, amqp.Table{"x-max-length": 2, "x-overflow": "reject-publish"})
	cfg := rabbitmq.Config{URL: u.String(), Exchange: x.name, Source: "/bank", Concurrency: 1}
	got := publish(t, cfg, message("1", "a", "accounts"), message("2", "a", "accounts"), message("3", "a", "accounts"), message("4", "a", "accounts"))
	if want := []relay.Outcome{relay.Stored, relay.Stored, relay.Retry, relay.NotTried}; !slices.Equal(got, want) {
		t.Errorf("outcomes are %v, want %v", got, want)
	}
}

func TestUnroutableMessages(t *testing.T) {
	u := brokerURL(t)
	x := newExchange(t, u, amqp.Table{})
	batch := []outbox.Message{message("1", "a", "accounts"), message("2", "a", "nowhere"), message("3", "a", "accounts"), message("4", "b", "accounts")}
	for refuse, want := range map[bool]relay.Outcome{false: relay.Retry, true: relay.Refused} {
		cfg := rabbitmq.Config{URL: u.String(), Exchange: x.name, Source: "/bank", RefuseUnroutable: refuse}
		got := publish(t, cfg, batch...)
		if want := []relay.Outcome{relay.Stored, want, relay.NotTried, relay.Stored}; !slices.Equal(got, want) {
			t.Errorf("outcomes are %v, want %v", got, want)
		}
	}
}

// The headers CC and BCC would send copies to other queues.
func TestHeadersThatRouteAreRefused(t *testing.T) {
	u := brokerURL(t)
	x := newExchange(t, u, amqp.Table{})
	for _, name := range []string{"CC", "BCC"} {
		m := message("1", "a", "accounts")
		m.Headers = map[string]string{name: "other"}
		cfg := rabbitmq.Config{URL: u.String(), Exchange: x.name, Source: "/bank"}
		if got := publish(t, cfg, m); got[0] != relay.Refused {
			t.Errorf("a message with the header %s is %v", name, got[0])
		}
	}
}

func TestQueueIsDeclaredWhereAsked(t *testing.T) {
	u := brokerURL(t)
	x := newExchange(t, u, nil)
	cfg := rabbitmq.Config{URL: u.String(), Exchange: x.name, Source: "/bank"}
	if got := publish(t, cfg, message("1", "a", "accounts")); got[0] != relay.Retry {
		t.Errorf("with no queue a message is %v", got[0])
	}
	cfg.Queue = &rabbitmq.Queue{Name: x.name, RoutingKeys: []string{"accounts"}, Arguments: map[string]any{"x-max-length": 5}}
	if got := publish(t, cfg, message("2", "a", "accounts")); got[0] != relay.Stored {
		t.Errorf("with a queue a message is %v", got[0])
	}
	if _, err := x.channel.QueueDeclarePassive(x.name, true, false, false, false, amqp.Table{"x-queue-type": "quorum"}); err != nil {
		t.Errorf("the queue is not there: %v", err)
	}
}

// An exchange that goes while messages are under way closes the channel; the publisher
// goes on when there is one again.
func TestExchangeThatGoes(t *testing.T) {
	u := brokerURL(t)
	x := newExchange(t, u, amqp.Table{})
	p, err := rabbitmq.New(t.Context(), rabbitmq.Config{URL: u.String(), Exchange: x.name, Source: "/bank"})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if err := x.channel.ExchangeDelete(x.name, false, false); err != nil {
		t.Fatal(err)
	}
	m := message("1", "a", "accounts")
	if r := p.Publish(t.Context(), []outbox.Message{m})[0]; r.Outcome != relay.Unknown || r.Err == nil {
		t.Errorf("the message is %v (%v), want unknown", r.Outcome, r.Err)
	}
	if r := p.Publish(t.Context(), []outbox.Message{m})[0]; r.Outcome != relay.Unavailable || !strings.Contains(r.Err.Error(), x.name) {
		t.Errorf("the message is %v (%v), want unavailable", r.Outcome, r.Err)
	}
	if err := errors.Join(x.channel.ExchangeDeclare(x.name, "direct", true, false, false, false, nil), x.channel.QueueBind(x.name, "accounts", x.name, false, nil)); err != nil {
		t.Fatal(err)
	}
	if r := p.Publish(t.Context(), []outbox.Message{m})[0]; r.Outcome != relay.Stored {
		t.Errorf("the message is %v (%v), want stored", r.Outcome, r.Err)
	}
}

func TestConfigIsValidated(t *testing.T) {
	good := rabbitmq.Config{URL: "amqp://user:topsecret@127.0.0.1:1/", Source: "/bank", Timeout: time.Second}
	if _, err := rabbitmq.New(t.Context(), good); err == nil || errors.Is(err, rabbitmq.ErrConfig) || strings.Contains(err.Error(), "topsecret") {
		t.Errorf("New returned %v", err)
	}
	for name, change := range map[string]func(c *rabbitmq.Config){
		"no URL":         func(c *rabbitmq.Config) { c.URL = "" },
		"not amqp":       func(c *rabbitmq.Config) { c.URL = "http://user:topsecret@host" },
		"bad URL":        func(c *rabbitmq.Config) { c.URL = "amqp://user:topsecret@host:port/" },
		"no Source":      func(c *rabbitmq.Config) { c.Source = "" },
		"negative":       func(c *rabbitmq.Config) { c.MaxPayload = -1 },
		"no queue name":  func(c *rabbitmq.Config) { c.Queue = &rabbitmq.Queue{} },
		"needless binds": func(c *rabbitmq.Config) { c.Queue = &rabbitmq.Queue{Name: "q", RoutingKeys: []string{"k"}} },
	} {
		cfg := good
		change(&cfg)
		if _, err := rabbitmq.New(t.Context(), cfg); !errors.Is(err, rabbitmq.ErrConfig) || strings.Contains(err.Error(), "topsecret") {
			t.Errorf("%s: New returned %v", name, err)
		}
	}
}
