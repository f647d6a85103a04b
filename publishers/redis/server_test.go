package redis_test

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	client "github.com/redis/go-redis/v9"

	"github.com/uow-go/uow/outbox"
	"github.com/uow-go/uow/publishers/redis"
)

// The tests use the server of REDIS_ADDR, or one at 127.0.0.1:6379; where there is
// none, and for those about durability, they start their own from an installed
// redis-server. Else they are skipped, or fail with REQUIRE_SERVICES=1.

func missing(t testing.TB, how string, err error) {
	t.Helper()
	if os.Getenv("REQUIRE_SERVICES") == "1" {
		t.Fatalf("no Redis: %s (%v)", how, err)
	}
	t.Skipf("no Redis: %s (%v)", how, err)
}

func localServer(t testing.TB) string {
	t.Helper()
	address := cmp.Or(os.Getenv("REDIS_ADDR"), "127.0.0.1:6379")
	if connect(t, address).Ping(t.Context()).Err() != nil {
		return newServer(t).address
	}
	return address
}

// connect returns a client for looking at what is stored.
func connect(t testing.TB, address string) *client.Client {
	t.Helper()
	c := client.NewClient(&client.Options{Addr: address})
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// ownServer is a server of a test.
type ownServer struct {
	t       testing.TB
	address string
	args    []string
	cmd     *exec.Cmd
}

// newServer starts a server with these settings, "name value".
func newServer(t testing.TB, args ...string) *ownServer {
	t.Helper()
	path, err := exec.LookPath("redis-server")
	if err != nil {
		missing(t, "set REDIS_ADDR, start one at 127.0.0.1:6379, or install redis-server", err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	_ = l.Close()
	s := &ownServer{t: t, address: fmt.Sprint("127.0.0.1:", port)}
	s.args = append([]string{path, "--port", strconv.Itoa(port), "--bind", "127.0.0.1", "--dir", t.TempDir(), "--save", ""}, args...)
	t.Cleanup(s.kill)
	s.start()
	return s
}

func (s *ownServer) start() {
	s.t.Helper()
	s.cmd = exec.Command(s.args[0], s.args[1:]...)
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	c := client.NewClient(&client.Options{Addr: s.address})
	defer c.Close()
	for began := time.Now(); c.Ping(s.t.Context()).Err() != nil; {
		if time.Since(began) > time.Minute {
			s.t.Fatal("the server that was started does not answer")
		}
		<-time.After(10 * time.Millisecond)
	}
}

func (s *ownServer) kill() {
	if s.cmd != nil {
		_ = s.cmd.Process.Kill()
		_ = s.cmd.Wait()
		s.cmd = nil
	}
}

func newStream(t testing.TB, c *client.Client) string {
	t.Helper()
	name := "uow-test-" + rand.Text()[:10]
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		keys := c.Scan(ctx, 0, name+"*", 1000).Iterator()
		for keys.Next(ctx) {
			c.Del(ctx, keys.Val())
		}
	})
	return name
}

func config(stream, address string) redis.Config {
	return redis.Config{
		Options: client.Options{Addr: address}, Source: "/bank", Window: 5 * time.Minute,
		Stream: func(m outbox.Message) string {
			if m.Topic == "nowhere" {
				return stream + "-nowhere"
			}
			return stream
		},
	}
}

func stored(ctx context.Context, c *client.Client, stream string) (all []outbox.Message, err error) {
	entries, err := c.XRange(ctx, stream, "-", "+").Result()
	for _, e := range entries {
		all = append(all, redis.Decode(e.Values))
	}
	return all, err
}
