package redis_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	client "github.com/redis/go-redis/v9"

	"github.com/uow-go/uow/outbox"
	"github.com/uow-go/uow/publishers/redis"
	"github.com/uow-go/uow/relay"
	"github.com/uow-go/uow/uowtest"
)

func harness(address string, d redis.Durability) uowtest.PublisherHarness {
	const maxPayload = 2 << 20
	return uowtest.PublisherHarness{
		Address: address, MaxPayload: maxPayload,
		New: func(t testing.TB) uowtest.Destination {
			c := connect(t, address)
			name := newStream(t, c)
			if err := c.Set(t.Context(), name+"-nowhere", "no stream", time.Hour).Err(); err != nil {
				t.Fatal(err)
			}
			return uowtest.Destination{
				Open: func(ctx context.Context, address string) (uowtest.ClosingPublisher, error) {
					cfg := config(name, address)
					cfg.MaxPayload, cfg.Durability = maxPayload, d
					return redis.New(ctx, cfg)
				},
				Stored: func(ctx context.Context) ([]outbox.Message, error) { return stored(ctx, c, name) },
				Poison: func(m outbox.Message) outbox.Message {
					m.Topic = "nowhere"
					return m
				},
			}
		},
	}
}

func TestPublisherInMemory(t *testing.T) {
	uowtest.TestPublisher(t, harness(localServer(t), redis.InMemory))
}

func TestPublisherSynced(t *testing.T) {
	s := newServer(t, "--appendonly", "yes", "--appendfsync", "always")
	uowtest.TestPublisher(t, harness(s.address, redis.Synced))
}

func open(t testing.TB, cfg redis.Config) *redis.Publisher {
	t.Helper()
	p, err := redis.New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

func messages(key string, first, n int) (batch []outbox.Message) {
	for i := range n {
		batch = append(batch, outbox.Message{ID: fmt.Sprintf("%s-%d", key, first+i), Key: key, Type: "T", Topic: "t", Payload: make([]byte, 200)})
	}
	return batch
}

func outcomes(results []relay.Result) (all []relay.Outcome) {
	for _, r := range results {
		all = append(all, r.Outcome)
	}
	return all
}

// A server that is killed while messages come in has all that it confirmed.
func TestP20_NothingConfirmedIsLostWhenTheServerIsKilled(t *testing.T) {
	s := newServer(t, "--appendonly", "yes", "--appendfsync", "always")
	c := connect(t, s.address)
	name := newStream(t, c)
	p := open(t, config(name, s.address))
	confirmed := map[string]bool{}
	sent := 0
	for range 3 {
		killed := make(chan struct{})
		for round := 0; ; round++ {
			batch := messages("a", sent, 20)
			if round == 20 {
				go func() { defer close(killed); s.kill() }()
			}
			stop := false
			for i, r := range p.Publish(t.Context(), batch) {
				if r.Outcome.Delivered() {
					confirmed[batch[i].ID], sent = true, sent+1
				} else {
					stop = true
				}
			}
			if stop {
				break
			}
		}
		<-killed
		s.start()
		for began := time.Now(); !p.Publish(t.Context(), messages("a", sent, 1))[0].Outcome.Delivered(); {
			if time.Since(began) > time.Minute {
				t.Fatal("the publisher does not come back")
			}
			<-time.After(20 * time.Millisecond)
		}
		sent++
	}
	got, err := stored(t.Context(), c, name)
	if err != nil {
		t.Fatal(err)
	}
	for i, m := range got {
		if want := fmt.Sprintf("a-%d", i); m.ID != want {
			t.Fatalf("entry %d is %s, want %s", i, m.ID, want)
		}
		delete(confirmed, m.ID)
	}
	if len(confirmed) > 0 {
		t.Errorf("%d messages were confirmed and are lost", len(confirmed))
	}
}

func TestServerIsChecked(t *testing.T) {
	for _, c := range []struct {
		settings []string
		ok       []redis.Durability
	}{
		{[]string{"--appendonly", "no"}, []redis.Durability{redis.InMemory}},
		{[]string{"--appendonly", "yes", "--appendfsync", "everysec"}, []redis.Durability{redis.InMemory, redis.EverySecond}},
		{[]string{"--appendonly", "yes", "--appendfsync", "no"}, []redis.Durability{redis.InMemory}},
		{[]string{"--appendonly", "yes", "--appendfsync", "always"}, []redis.Durability{redis.InMemory, redis.EverySecond, redis.Synced}},
		{[]string{"--appendonly", "yes", "--appendfsync", "always", "--maxmemory-policy", "allkeys-lru"}, []redis.Durability{redis.InMemory}},
		{[]string{"--appendonly", "yes", "--rename-command", "CONFIG", ""}, []redis.Durability{redis.InMemory}},
	} {
		s := newServer(t, c.settings...)
		for _, d := range []redis.Durability{redis.InMemory, redis.EverySecond, redis.Synced} {
			cfg := config("uow-test", s.address)
			cfg.Durability = d
			p, err := redis.New(t.Context(), cfg)
			if err == nil {
				_ = p.Close()
			}
			ok := slices.Contains(c.ok, d)
			if ok != (err == nil) || !ok && !errors.Is(err, redis.ErrConfig) {
				t.Errorf("%v, %v: New returned %v", c.settings, d, err)
			}
		}
	}
}

// A server without memory takes nothing: no message is to be parked for it.
func TestServerWithoutMemoryIsUnavailable(t *testing.T) {
	s := newServer(t)
	if err := connect(t, s.address).Set(t.Context(), "filler", make([]byte, 4<<20), 0).Err(); err != nil {
		t.Fatal(err)
	}
	if err := connect(t, s.address).ConfigSet(t.Context(), "maxmemory", "1mb").Err(); err != nil {
		t.Fatal(err)
	}
	cfg := config("uow-test", s.address)
	cfg.Durability = redis.InMemory
	p := open(t, cfg)
	got := outcomes(p.Publish(t.Context(), messages("a", 0, 2)))
	if want := []relay.Outcome{relay.Unavailable, relay.NotTried}; !slices.Equal(got, want) {
		t.Errorf("outcomes are %v, want %v", got, want)
	}
	if err := connect(t, s.address).ConfigSet(t.Context(), "maxmemory", "0").Err(); err != nil {
		t.Fatal(err)
	}
	got = outcomes(p.Publish(t.Context(), messages("a", 0, 2)))
	if want := []relay.Outcome{relay.Stored, relay.Stored}; !slices.Equal(got, want) {
		t.Errorf("with memory outcomes are %v, want %v", got, want)
	}
}

// A message that is confirmed has reached a replica, a repeated one too.
func TestReplicasAreAwaited(t *testing.T) {
	s := newServer(t)
	cfg := config("uow-test", s.address)
	cfg.Durability, cfg.Replicas, cfg.Timeout = redis.InMemory, 1, 500*time.Millisecond
	p := open(t, cfg)
	batch := messages("a", 0, 2)
	for range 2 { // the second time it is a duplicate, and no more confirmed than before
		for i, r := range p.Publish(t.Context(), batch) {
			if r.Outcome != relay.Unknown || !strings.Contains(r.Err.Error(), "replicas") {
				t.Errorf("without a replica message %d is %v (%v)", i, r.Outcome, r.Err)
			}
		}
	}
	host, port, _ := strings.Cut(s.address, ":")
	replica := newServer(t, "--replicaof", host+" "+port)
	for began := time.Now(); ; {
		if got := outcomes(p.Publish(t.Context(), batch)); slices.Equal(got, []relay.Outcome{relay.Duplicate, relay.Duplicate}) {
			break
		}
		if time.Since(began) > time.Minute {
			t.Fatal("with a replica nothing is confirmed")
		}
	}
	got, err := stored(t.Context(), connect(t, replica.address), "uow-test")
	if err != nil || len(got) != 2 {
		t.Errorf("the replica has %d messages (%v), want 2", len(got), err)
	}
	if p := open(t, func() redis.Config {
		cfg := config("uow-test", replica.address)
		cfg.Durability = redis.InMemory
		return cfg
	}()); p.Publish(t.Context(), batch)[0].Outcome != relay.Unavailable {
		t.Error("a replica, which is read-only, should be unavailable")
	}
}

func TestWindowAndLength(t *testing.T) {
	address := localServer(t)
	c := connect(t, address)
	name := newStream(t, c)
	cfg := config(name, address)
	cfg.Durability, cfg.Window, cfg.MaxLen = redis.InMemory, time.Minute, 100
	p := open(t, cfg)
	batch := messages("a", 0, 250)
	for i, r := range p.Publish(t.Context(), batch) {
		if r.Outcome != relay.Stored {
			t.Fatalf("message %d is %v (%v)", i, r.Outcome, r.Err)
		}
	}
	if n := c.XLen(t.Context(), name).Val(); n < 100 || n >= 250 {
		t.Errorf("the stream has %d entries, want about 100", n)
	}
	if ttl := c.PTTL(t.Context(), name+":uow:a-0").Val(); ttl <= 0 || ttl > time.Minute {
		t.Errorf("the id is remembered for %v, want a minute at most", ttl)
	}
}

func TestConfigIsValidated(t *testing.T) {
	good := redis.Config{Options: client.Options{Addr: "127.0.0.1:1", Password: "topsecret"}, Source: "/bank", Timeout: time.Second}
	if _, err := redis.New(t.Context(), good); err == nil || errors.Is(err, redis.ErrConfig) || strings.Contains(err.Error(), "topsecret") {
		t.Errorf("New returned %v", err)
	}
	for name, change := range map[string]func(c *redis.Config){
		"no Source":    func(c *redis.Config) { c.Source = "" },
		"durability":   func(c *redis.Config) { c.Durability = 7 },
		"negative":     func(c *redis.Config) { c.MaxLen = -1 },
		"tiny window":  func(c *redis.Config) { c.Window = time.Microsecond },
		"replicas":     func(c *redis.Config) { c.Replicas = -1 },
		"negative max": func(c *redis.Config) { c.MaxPayload = -1 },
	} {
		cfg := good
		change(&cfg)
		if _, err := redis.New(t.Context(), cfg); !errors.Is(err, redis.ErrConfig) {
			t.Errorf("%s: New returned %v", name, err)
		}
	}
}
