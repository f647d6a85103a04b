package embedded_test

import (
	"errors"
	"net"
	"testing"
	"time"

	client "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/uow-go/uow/publishers/nats/embedded"
)

func start(t *testing.T, cfg embedded.Config) *embedded.Server {
	t.Helper()
	s, err := embedded.Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func connect(t *testing.T, s *embedded.Server) jetstream.JetStream {
	t.Helper()
	c, err := client.Connect("", s.InProcess())
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

func TestStreamsOutliveTheServer(t *testing.T) {
	dir := t.TempDir()
	s := start(t, embedded.Config{Dir: dir})
	js := connect(t, s)
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "EVENTS", Subjects: []string{"events"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish(t.Context(), "events", []byte("one")); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := s.Close(); err != nil {
			t.Errorf("Close returned %v", err)
		}
	}
	stream, err := connect(t, start(t, embedded.Config{Dir: dir})).Stream(t.Context(), "EVENTS")
	if err != nil {
		t.Fatal(err)
	}
	if m, err := stream.GetMsg(t.Context(), 1); err != nil || string(m.Data) != "one" {
		t.Errorf("the message is %v (%v)", m, err)
	}
}

func TestItListensOnlyWhereAsked(t *testing.T) {
	if s := start(t, embedded.Config{Dir: t.TempDir()}); s.Address() != "" {
		t.Errorf("the server listens at %s", s.Address())
	}
	s := start(t, embedded.Config{Dir: t.TempDir(), Listen: "127.0.0.1:0"})
	host, _, err := net.SplitHostPort(s.Address())
	if err != nil || host != "127.0.0.1" {
		t.Fatalf("the server listens at %q", s.Address())
	}
	c, err := client.Connect(s.Address())
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}

func TestConfigIsValidated(t *testing.T) {
	for name, cfg := range map[string]embedded.Config{
		"no Dir":        {},
		"negative":      {Dir: t.TempDir(), MaxPayload: -1},
		"negative wait": {Dir: t.TempDir(), StartTimeout: -time.Second},
		"no port":       {Dir: t.TempDir(), Listen: "127.0.0.1"},
		"no number":     {Dir: t.TempDir(), Listen: "127.0.0.1:nats"},
		"a large port":  {Dir: t.TempDir(), Listen: "127.0.0.1:70000"},
	} {
		s, err := embedded.Start(cfg)
		if err == nil {
			_ = s.Close()
		}
		if !errors.Is(err, embedded.ErrConfig) {
			t.Errorf("%s: Start returned %v", name, err)
		}
	}
}

func TestDirectoryThatCanNotBeUsed(t *testing.T) {
	s, err := embedded.Start(embedded.Config{Dir: "/dev/null/events", StartTimeout: 2 * time.Second})
	if err == nil {
		_ = s.Close()
		t.Error("the server started in /dev/null/events")
	}
}

// Two servers in one directory would write over each other.
func TestDirectoryBelongsToOneServer(t *testing.T) {
	dir := t.TempDir()
	start(t, embedded.Config{Dir: dir})
	s, err := embedded.Start(embedded.Config{Dir: dir, StartTimeout: 2 * time.Second})
	if err == nil {
		_ = s.Close()
	}
	if !errors.Is(err, embedded.ErrInUse) {
		t.Errorf("in the directory of another server Start returned %v, want ErrInUse", err)
	}
}
