package relays_test

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	mysqldriver "github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"
	"github.com/uow-go/uow"
	"github.com/uow-go/uow/outbox"
)

// world is a database, those who commit, and a receiver.
type world struct {
	*testing.T
	store, place string
	db           *uow.DB
	log          outbox.Log
	url          string
	chance       *rand.Rand

	mu       sync.Mutex
	received map[string]int   // how often, by id
	first    map[string][]int // the numbers of each key, in the order of their first arrival
	fail     atomic.Int64     // one of so many requests is answered by an error; 0 for none
	requests atomic.Int64

	committed atomic.Int64
}

func newWorld(t *testing.T, store string) *world {
	seed := *seedFlag
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("-seed %d", seed)
	w := &world{T: t, store: store, received: map[string]int{}, first: map[string][]int{}, chance: rand.New(rand.NewPCG(seed, 0))}
	name := "uow_relays_" + strconv.FormatUint(rand.Uint64(), 36)
	switch store {
	case "postgres":
		w.place = w.postgres(name)
	case "mysql":
		w.place = w.mysql(name)
	default:
		w.place = filepath.Join(t.TempDir(), "relays.db")
	}
	var err error
	if w.db, err = open(t.Context(), store, w.place); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.db.Close() })
	if w.log, err = outbox.Of(w.db); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(w.receive))
	t.Cleanup(server.Close)
	w.url = server.URL
	return w
}

func (w *world) postgres(schema string) (place string) {
	dsn := local.Postgres(w)
	w.Cleanup(func() {
		c, err := pgx.Connect(context.Background(), dsn)
		if err == nil {
			_, err = c.Exec(context.Background(), `DROP SCHEMA IF EXISTS `+schema+` CASCADE`)
			_ = c.Close(context.Background())
		}
		if err != nil {
			w.Error(err)
		}
	})
	return dsn + "|" + schema
}

func (w *world) mysql(name string) (place string) {
	cfg, err := mysqldriver.ParseDSN(local.MySQL(w))
	if err != nil {
		w.Fatal(err)
	}
	server, err := sql.Open("mysql", cfg.FormatDSN())
	if err != nil {
		w.Fatal(err)
	}
	if _, err := server.ExecContext(w.Context(), "CREATE DATABASE "+name); err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() {
		if _, err := server.ExecContext(context.Background(), "DROP DATABASE "+name); err != nil {
			w.Error(err)
		}
		_ = server.Close()
	})
	cfg.DBName = name
	return cfg.FormatDSN()
}

// receive notes what arrives.
func (w *world) receive(response http.ResponseWriter, request *http.Request) {
	body, err := io.ReadAll(request.Body)
	number, parsed := strconv.Atoi(string(body))
	id, key := request.Header.Get("Id"), request.Header.Get("Key")
	if n := w.fail.Load(); err != nil || n > 0 && w.requests.Add(1)%n == 0 {
		http.Error(response, "not now", http.StatusServiceUnavailable)
		return
	}
	if parsed != nil || id == "" {
		w.Errorf("message %q of %q has the payload %q", id, key, body)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.received[id]++; w.received[id] == 1 {
		w.first[key] = append(w.first[key], number)
	}
}

// backlog is how many messages may wait: those who commit wait too where there are
// more, so that in the end a relay that does not get on stops everything.
const backlog = 300

// commit has units commit until stop is called: each appends the next message of a
// few keys, and one without a key.
func (w *world) commit() (stop func()) {
	ctx, cancel := context.WithCancel(w.Context())
	var writers sync.WaitGroup
	for writer := range 3 {
		writers.Go(func() {
			for n := 1; ctx.Err() == nil; n++ {
				messages := []outbox.Message{{Type: "t", Payload: []byte("0")}}
				for k := range 4 {
					messages = append(messages, outbox.Message{Type: "t", Key: fmt.Sprintf("key %d of %d", k, writer), Payload: strconv.AppendInt(nil, int64(n), 10)})
				}
				err := w.db.Do(context.WithoutCancel(ctx), func(_ context.Context, u *uow.Unit) error { return outbox.Append(u, messages...) })
				if err != nil {
					w.Errorf("commit: %v", err)
					return
				}
				w.committed.Add(int64(len(messages)))
				pause(ctx, 5*time.Millisecond)
				for ctx.Err() == nil && int(w.committed.Load())-w.arrivals() > backlog {
					pause(ctx, 5*time.Millisecond)
				}
			}
		})
	}
	return func() { cancel(); writers.Wait() }
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// process is a relay.
type process struct {
	*exec.Cmd
	w    *world
	done chan struct{}
	out  bytes.Buffer
}

func (w *world) start() *process {
	w.Helper()
	p := &process{Cmd: exec.Command(os.Args[0]), w: w, done: make(chan struct{})}
	p.Env = append(os.Environ(), child+"="+strings.Join([]string{w.store, w.place, w.url}, "\n"))
	p.Stdout, p.Stderr = &p.out, &p.out
	if err := p.Start(); err != nil {
		w.Fatal(err)
	}
	go func() {
		_ = p.Wait() // how it ended is asked of the process' state
		close(p.done)
	}()
	w.Cleanup(p.kill)
	return p
}

func (p *process) signal(s syscall.Signal) {
	if err := p.Process.Signal(s); err != nil {
		p.w.Errorf("%v: %v\n%s", s, err, p.out.Bytes())
	}
}

// kill ends the process, as a crash does.
func (p *process) kill() {
	_ = p.Process.Kill() // it may have ended
	<-p.done
}

// stop asks the process to end, which must do so in order.
func (p *process) stop() {
	p.w.Helper()
	p.signal(syscall.SIGTERM)
	<-p.done
	if !p.ProcessState.Success() {
		p.w.Errorf("a relay that was stopped ended by %v:\n%s", p.ProcessState, p.out.Bytes())
	}
}

// until waits for something that has to happen within minutes, however slow the
// machine is.
func (w *world) until(what string, yes func() bool) {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), 3*time.Minute)
	defer cancel()
	for !yes() {
		if pause(ctx, 10*time.Millisecond); ctx.Err() != nil {
			w.Fatalf("%s: it never was", what)
		}
	}
}

// arrivals counts the messages that have arrived.
func (w *world) arrivals() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.received)
}

// settled reports whether everything was delivered, as the log knows it.
func (w *world) settled() bool {
	stats, err := w.log.Stats(w.Context())
	if err != nil {
		w.Fatal(err)
	}
	for _, c := range stats.Cursors {
		return c.Position == stats.End && c.Retrying+c.Waiting+c.Parked == 0
	}
	return false
}

// check compares what was committed with what was received.
func (w *world) check() {
	w.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	want, total, after := map[string][]int{}, 0, int64(0)
	for {
		messages, next, err := w.log.Scan(w.Context(), outbox.Query{After: after, Limit: 1000})
		if err != nil {
			w.Fatal(err)
		}
		for _, m := range messages {
			total++
			if w.received[m.ID] == 0 {
				w.Errorf("message %s at %d, of %q, is lost", m.ID, m.Position, m.Key)
			}
			number, _ := strconv.Atoi(string(m.Payload))
			want[m.Key] = append(want[m.Key], number)
		}
		if next == after {
			break
		}
		after = next
	}
	if total != int(w.committed.Load()) || len(w.received) != total {
		w.Errorf("%d messages were committed, the log has %d, and %d were received", w.committed.Load(), total, len(w.received))
	}
	repeated := 0
	for _, n := range w.received {
		repeated += n - 1
	}
	for key, numbers := range want {
		if key != "" && fmt.Sprint(w.first[key]) != fmt.Sprint(numbers) {
			w.Errorf("the first arrivals of %q are %v, want %v", key, w.first[key], numbers)
		}
	}
	w.Logf("%d messages, %d of them repeated", total, repeated)
}
