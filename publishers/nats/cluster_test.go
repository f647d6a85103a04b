package nats_test

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	client "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/uow-go/uow/outbox"
	"github.com/uow-go/uow/publishers/nats"
	"github.com/uow-go/uow/relay"
)

// startCluster starts three servers in process, each a node of one cluster.
func startCluster(t *testing.T) map[string]*server.Server {
	t.Helper()
	ports := freePorts(t, 3)
	var routes []*url.URL
	for _, port := range ports {
		routes = append(routes, &url.URL{Scheme: "nats", Host: fmt.Sprint("127.0.0.1:", port)})
	}
	nodes := map[string]*server.Server{}
	for i, port := range ports {
		name := fmt.Sprint("node", i)
		s, err := server.NewServer(&server.Options{
			ServerName: name, Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true,
			JetStream: true, StoreDir: t.TempDir(), SyncAlways: true,
			Cluster: server.ClusterOpts{Name: "uow-test", Host: "127.0.0.1", Port: port}, Routes: routes,
		})
		if err != nil {
			t.Fatal(err)
		}
		s.Start()
		t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
		nodes[name] = s
	}
	for _, s := range nodes {
		if !s.ReadyForConnections(time.Minute) {
			t.Fatal("a node was not ready within a minute")
		}
	}
	return nodes
}

func freePorts(t testing.TB, n int) (ports []int) {
	t.Helper()
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports
}

// try repeats what needs an election that is still going on.
func try[T any](t testing.TB, what string, fn func(ctx context.Context) (T, error)) T {
	t.Helper()
	began := time.Now()
	for {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		v, err := fn(ctx)
		cancel()
		if err == nil {
			return v
		}
		if time.Since(began) > 2*time.Minute {
			t.Fatalf("%s: %v", what, err)
		}
		<-time.After(50 * time.Millisecond)
	}
}

// A node of a cluster of three goes, the one that leads the stream: what is published
// goes on, and nothing that was confirmed is lost.
func TestP20_NothingConfirmedIsLostWhenANodeGoes(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts a cluster: run without -short")
	}
	nodes := startCluster(t)
	var urls []string
	for _, s := range nodes {
		urls = append(urls, s.ClientURL())
	}
	c, err := client.Connect(strings.Join(urls, ","), client.MaxReconnects(-1), client.ReconnectWait(50*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	js, err := jetstream.New(c)
	if err != nil {
		t.Fatal(err)
	}
	try(t, "create the stream", func(ctx context.Context) (jetstream.Stream, error) {
		return js.CreateStream(ctx, jetstream.StreamConfig{
			Name: "EVENTS", Subjects: []string{"EVENTS.>"}, Replicas: 3, AllowAtomicPublish: true,
		})
	})
	cfg := config("EVENTS", "")
	cfg.URL, cfg.MinReplicas = strings.Join(urls, ","), 3
	p := try(t, "connect", func(ctx context.Context) (*nats.Publisher, error) { return nats.New(ctx, cfg) })
	defer p.Close()

	confirmed, want := map[string]bool{}, map[string][]string{}
	for round := range 12 {
		if round == 4 {
			stream := try(t, "find the leader", func(ctx context.Context) (jetstream.Stream, error) { return js.Stream(ctx, "EVENTS") })
			leader := nodes[stream.CachedInfo().Cluster.Leader]
			if leader == nil {
				t.Fatalf("the leader %q is not among the nodes", stream.CachedInfo().Cluster.Leader)
			}
			leader.Shutdown()
			defer leader.WaitForShutdown()
		}
		var batch []outbox.Message
		for n := range 10 {
			for _, key := range []string{"a", "b", "c"} {
				id := fmt.Sprintf("%s-%d", key, round*10+n)
				want[key] = append(want[key], id)
				batch = append(batch, outbox.Message{ID: id, Key: key, Type: "T", Topic: "t", Payload: make([]byte, 1000)})
			}
		}
		publishAll(t, p, batch, confirmed)
	}
	all := try(t, "read the stream", func(ctx context.Context) ([]outbox.Message, error) { return stored(ctx, js, "EVENTS") })
	got := map[string][]string{}
	for _, m := range all {
		got[m.Key] = append(got[m.Key], m.ID)
		delete(confirmed, m.ID)
	}
	if len(confirmed) > 0 {
		t.Errorf("%d messages were confirmed and are lost", len(confirmed))
	}
	for key := range want {
		if !slices.Equal(got[key], want[key]) {
			t.Errorf("%s is stored as %v, want %v", key, got[key], want[key])
		}
	}
}

// publishAll publishes as a relay does, until all is delivered.
func publishAll(t *testing.T, p relay.Publisher, batch []outbox.Message, confirmed map[string]bool) {
	t.Helper()
	for began := time.Now(); len(batch) > 0; {
		if time.Since(began) > 2*time.Minute {
			t.Fatalf("%d messages could not be published", len(batch))
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		results := p.Publish(ctx, batch)
		cancel()
		var rest []outbox.Message
		for i, r := range results {
			if r.Outcome.Delivered() {
				confirmed[batch[i].ID] = true
				continue
			}
			if r.Outcome == relay.Refused || r.Outcome == relay.Retry {
				t.Errorf("while a node goes %s is %v (%v)", batch[i].ID, r.Outcome, r.Err)
			}
			rest = append(rest, batch[i])
		}
		if batch = rest; len(batch) > 0 {
			<-time.After(20 * time.Millisecond)
		}
	}
}
