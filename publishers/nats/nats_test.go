package nats_test

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	client "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/uow-go/uow/outbox"
	"github.com/uow-go/uow/publishers/nats"
	"github.com/uow-go/uow/publishers/nats/embedded"
	"github.com/uow-go/uow/relay"
	"github.com/uow-go/uow/uowtest"
)

// The tests use the server of NATS_URL (host:port); else one at 127.0.0.1:4222; else one
// that they start from an installed nats-server. Where there is none they are skipped,
// or fail with REQUIRE_SERVICES=1. Those of embedded servers need nothing.
func localServer(t testing.TB) string {
	t.Helper()
	address := cmp.Or(os.Getenv("NATS_URL"), "127.0.0.1:4222")
	if c, err := client.Connect(address); err == nil {
		c.Close()
		return address
	}
	path, err := exec.LookPath("nats-server")
	if err != nil {
		const how = "no NATS: set NATS_URL, start one with JetStream at 127.0.0.1:4222, or install nats-server (%v)"
		if os.Getenv("REQUIRE_SERVICES") == "1" {
			t.Fatalf(how, err)
		}
		t.Skipf(how, err)
	}
	port := fmt.Sprint(freePorts(t, 1)[0])
	cmd := exec.Command(path, "-a", "127.0.0.1", "-p", port, "-js", "-sd", t.TempDir())
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = cmd.Process.Kill(), cmd.Wait() })
	address = "127.0.0.1:" + port
	try(t, "connect to the server that was started", func(context.Context) (any, error) {
		c, err := client.Connect(address)
		if err == nil {
			c.Close()
		}
		return nil, err
	})
	return address
}

func embeddedServer(t testing.TB) *embedded.Server {
	t.Helper()
	s, err := embedded.Start(embedded.Config{Dir: t.TempDir(), Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// connect returns JetStream for looking at what is stored.
func connect(t testing.TB, address string, options ...client.Option) jetstream.JetStream {
	t.Helper()
	c, err := client.Connect(address, options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	js, err := jetstream.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

// noStore is what a server may answer while it deletes the files of another stream.
const noStore = 10049

// newStream makes a stream of a name that no other has, for subjects that begin with
// it.
func newStream(t testing.TB, js jetstream.JetStream, change func(c *jetstream.StreamConfig)) string {
	t.Helper()
	name := "uow-test-" + rand.Text()[:10]
	cfg := jetstream.StreamConfig{Name: name, Subjects: []string{name + ".>"}}
	if change != nil {
		change(&cfg)
	}
	_, err := js.CreateStream(t.Context(), cfg)
	var refused *jetstream.APIError
	for began := time.Now(); errors.As(err, &refused) && refused.ErrorCode == noStore && time.Since(began) < time.Minute; {
		<-time.After(10 * time.Millisecond)
		_, err = js.CreateStream(t.Context(), cfg)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := js.DeleteStream(ctx, name); err != nil {
			t.Errorf("delete stream %s: %v", name, err)
		}
	})
	return name
}

func config(stream, address string) nats.Config {
	return nats.Config{
		URL: "nats://" + address, Stream: stream, Source: "/bank",
		Subject: func(m outbox.Message) string {
			if m.Topic == "nowhere" {
				return "nowhere-" + stream
			}
			return stream + "." + m.Topic
		},
	}
}

// read reads a stream from its beginning.
func read(ctx context.Context, js jetstream.JetStream, name string, each func(m jetstream.Msg)) error {
	stream, err := js.Stream(ctx, name)
	if err != nil {
		return err
	}
	want := int(stream.CachedInfo().State.Msgs)
	consumer, err := stream.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{})
	if err != nil {
		return err
	}
	for n := 0; n < want; {
		some, err := consumer.Fetch(want-n, jetstream.FetchMaxWait(5*time.Second))
		if err != nil {
			return err
		}
		for m := range some.Messages() {
			n++
			each(m)
		}
		if err := some.Error(); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// stored returns the messages of a stream.
func stored(ctx context.Context, js jetstream.JetStream, name string) (all []outbox.Message, err error) {
	err = read(ctx, js, name, func(m jetstream.Msg) { all = append(all, nats.Decode(m.Headers(), m.Data())) })
	return all, err
}

func harness(address string, maxPayload int, fence bool, js func(t testing.TB) jetstream.JetStream, change func(c *jetstream.StreamConfig)) uowtest.PublisherHarness {
	return uowtest.PublisherHarness{
		Address: address, MaxPayload: maxPayload,
		New: func(t testing.TB) uowtest.Destination {
			js := js(t)
			name := newStream(t, js, change)
			return uowtest.Destination{
				Open: func(ctx context.Context, address string) (uowtest.ClosingPublisher, error) {
					cfg := config(name, address)
					cfg.Fence = fence
					return nats.New(ctx, cfg)
				},
				Stored: func(ctx context.Context) ([]outbox.Message, error) { return stored(ctx, js, name) },
				Poison: func(m outbox.Message) outbox.Message {
					m.Topic = "nowhere"
					return m
				},
			}
		},
	}
}

func TestPublisherOnAServer(t *testing.T) {
	address := localServer(t)
	js := func(t testing.TB) jetstream.JetStream { return connect(t, address) }
	for name, fence := range map[string]bool{"one by one": false, "fenced": true} {
		t.Run(name, func(t *testing.T) { uowtest.TestPublisher(t, harness(address, 1<<20-8192, fence, js, nil)) })
	}
}

func TestPublisherOnAnEmbeddedServer(t *testing.T) {
	s := embeddedServer(t)
	js := func(t testing.TB) jetstream.JetStream { return connect(t, "", s.InProcess()) }
	for name, is := range map[string]struct{ atomic, fence bool }{
		"atomic batches": {atomic: true}, "one by one": {},
		"fenced batches": {atomic: true, fence: true}, "fenced": {fence: true},
	} {
		t.Run(name, func(t *testing.T) {
			uowtest.TestPublisher(t, harness(s.Address(), 8<<20-8192, is.fence, js, func(c *jetstream.StreamConfig) { c.AllowAtomicPublish = is.atomic }))
		})
	}
}

func TestStreamIsChecked(t *testing.T) {
	s := embeddedServer(t)
	js := connect(t, "", s.InProcess())
	good := newStream(t, js, func(c *jetstream.StreamConfig) { c.Duplicates = 5 * time.Minute })
	memory := newStream(t, js, func(c *jetstream.StreamConfig) { c.Storage = jetstream.MemoryStorage })
	short := newStream(t, js, func(c *jetstream.StreamConfig) { c.Duplicates = time.Second })
	silent := newStream(t, js, func(c *jetstream.StreamConfig) { c.NoAck = true })
	for name, c := range map[string]struct {
		stream string
		change func(c *nats.Config)
		ok     bool
	}{
		"good":             {good, func(*nats.Config) {}, true},
		"a longer window":  {good, func(c *nats.Config) { c.MinDuplicates = time.Hour }, false},
		"replicas":         {good, func(c *nats.Config) { c.MinReplicas = 3 }, false},
		"memory":           {memory, func(*nats.Config) {}, false},
		"memory, allowed":  {memory, func(c *nats.Config) { c.AllowMemory = true }, true},
		"a short window":   {short, func(*nats.Config) {}, false},
		"no acks":          {silent, func(*nats.Config) {}, false},
		"no stream":        {"uow-test-none", func(*nats.Config) {}, false},
		"no name":          {"", func(*nats.Config) {}, false},
		"no source":        {good, func(c *nats.Config) { c.Source = "" }, false},
		"negative timeout": {good, func(c *nats.Config) { c.Timeout = -1 }, false},
	} {
		cfg := config(c.stream, s.Address())
		c.change(&cfg)
		p, err := nats.New(t.Context(), cfg)
		if err == nil {
			_ = p.Close()
		}
		if c.ok != (err == nil) || !c.ok && !errors.Is(err, nats.ErrConfig) {
			t.Errorf("%s: New returned %v", name, err)
		}
	}
}

func TestServerThatIsNotThere(t *testing.T) {
	_, err := nats.New(t.Context(), nats.Config{URL: "nats://user:topsecret@127.0.0.1:1", Stream: "S", Source: "/bank"})
	if err == nil || errors.Is(err, nats.ErrConfig) {
		t.Errorf("New returned %v", err)
	}
	if err != nil && containsSecret(err) {
		t.Errorf("the error %q shows a secret", err)
	}
}

// A full stream takes nothing, whatever the message: no message is to be parked for it.
func TestFullStreamIsUnavailable(t *testing.T) {
	s := embeddedServer(t)
	js := connect(t, "", s.InProcess())
	name := newStream(t, js, func(c *jetstream.StreamConfig) {
		c.MaxMsgs, c.Discard, c.AllowAtomicPublish = 2, jetstream.DiscardNew, true
	})
	p, err := nats.New(t.Context(), config(name, s.Address()))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	var batch []outbox.Message
	for _, id := range []string{"1", "2", "3"} {
		batch = append(batch, outbox.Message{ID: id, Key: "k", Type: "T", Topic: "t"})
	}
	results := p.Publish(t.Context(), batch)
	want := []relay.Outcome{relay.Stored, relay.Stored, relay.Unavailable}
	for i, r := range results {
		if r.Outcome != want[i] {
			t.Errorf("message %d is %v (%v), want %v", i+1, r.Outcome, r.Err, want[i])
		}
	}
}

// A key whose subject is full is held, and others go on.
func TestFullSubjectIsRetried(t *testing.T) {
	s := embeddedServer(t)
	js := connect(t, "", s.InProcess())
	name := newStream(t, js, func(c *jetstream.StreamConfig) {
		c.MaxMsgsPerSubject, c.Discard, c.DiscardNewPerSubject, c.AllowAtomicPublish = 1, jetstream.DiscardNew, true, true
	})
	p, err := nats.New(t.Context(), config(name, s.Address()))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	batch := []outbox.Message{
		{ID: "1", Key: "a", Type: "T", Topic: "a"}, {ID: "2", Key: "a", Type: "T", Topic: "a"},
		{ID: "3", Key: "a", Type: "T", Topic: "a"}, {ID: "4", Key: "b", Type: "T", Topic: "b"},
	}
	want := []relay.Outcome{relay.Stored, relay.Retry, relay.NotTried, relay.Stored}
	for i, r := range p.Publish(t.Context(), batch) {
		if r.Outcome != want[i] {
			t.Errorf("message %d is %v (%v), want %v", i+1, r.Outcome, r.Err, want[i])
		}
	}
}

func containsSecret(err error) bool { return strings.Contains(err.Error(), "topsecret") }
