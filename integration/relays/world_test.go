package relays_test

import (
	"bytes"
	"context"
	"database/sql"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
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
	lease        time.Duration
	db           *uow.DB
	counters     *uow.Collection[counter]
	log          outbox.Log
	url          string
	chance       *rand.Rand
	processes    []*process

	mu       sync.Mutex
	received map[string]int   // how often, by id
	first    map[string][]int // the numbers of each key, in the order of their first arrival
	fail     atomic.Int64     // one of so many requests is answered by an error; 0 for none
	requests atomic.Int64
}

func newWorld(t *testing.T, store string, lease time.Duration) *world {
	seed := *seedFlag
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("-seed %d", seed)
	w := &world{
		T: t, store: store, lease: lease, counters: newCounters(),
		received: map[string]int{}, first: map[string][]int{}, chance: rand.New(rand.NewPCG(seed, 0)),
	}
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
	if w.db, err = open(t.Context(), store, w.place, w.counters); err != nil {
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

// receive notes what arrives, or lets an application wait until there is room.
func (w *world) receive(response http.ResponseWriter, request *http.Request) {
	if request.Method == http.MethodGet {
		me, _ := strconv.Atoi(request.FormValue("application"))
		n, _ := strconv.Atoi(request.FormValue("n"))
		for n-w.arrived(me) >= ahead && request.Context().Err() == nil {
			pause(request.Context(), 2*time.Millisecond)
		}
		return
	}
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

// arrived is of how many units of an application all has arrived that has a key.
func (w *world) arrived(application int) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := len(w.first[keyOf(application, 0)])
	for k := range keys {
		n = min(n, len(w.first[keyOf(application, k)]))
	}
	return n
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// process is a relay or an application.
type process struct {
	*exec.Cmd
	w    *world
	what string
	done chan struct{}
	out  bytes.Buffer
	// told is whether it is to end.
	told bool
}

func (w *world) relay() *process {
	w.Helper()
	return w.start("relay", w.lease.String())
}

// apply starts the applications.
func (w *world) apply() (all []*process) {
	w.Helper()
	for i := range applications {
		all = append(all, w.application(i))
	}
	return all
}

func (w *world) application(i int) *process {
	w.Helper()
	return w.start("application", strconv.Itoa(i))
}

func (w *world) start(what, variable string) *process {
	w.Helper()
	p := &process{Cmd: exec.Command(os.Args[0]), w: w, what: what, done: make(chan struct{})}
	p.Env = append(os.Environ(), child+"="+strings.Join([]string{what, w.store, w.place, w.url, variable}, "\n"))
	p.Stdout, p.Stderr = &p.out, &p.out
	if err := p.Start(); err != nil {
		w.Fatal(err)
	}
	go func() {
		_ = p.Wait() // how it ended is asked of the process' state
		close(p.done)
	}()
	w.Cleanup(p.kill)
	w.processes = append(w.processes, p)
	return p
}

func (p *process) signal(s syscall.Signal) {
	if err := p.Process.Signal(s); err != nil {
		p.w.Errorf("%v: %v\n%s", s, err, p.out.Bytes())
	}
}

// kill ends the process, as a crash does.
func (p *process) kill() {
	p.told = true
	_ = p.Process.Kill() // it may have ended
	<-p.done
}

// stop asks the process to end, which must do so in order.
func (p *process) stop() {
	p.w.Helper()
	p.told = true
	p.signal(syscall.SIGTERM)
	<-p.done
	if !p.ProcessState.Success() {
		p.w.Errorf("a process that was stopped ended by %v:\n%s", p.ProcessState, p.out.Bytes())
	}
}

// until waits for something that has to happen within minutes, however slow the
// machine is.
func (w *world) until(what string, yes func() bool) {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), 3*time.Minute)
	defer cancel()
	for !yes() {
		pause(ctx, 10*time.Millisecond)
		for _, p := range w.processes {
			if p.told {
				continue
			}
			select {
			case <-p.done:
				w.Fatalf("%s ended by %v:\n%s", p.what, p.ProcessState, p.out.Bytes())
			default:
			}
			if ctx.Err() != nil {
				p.kill()
				w.Errorf("%s said\n%s", p.what, p.out.Bytes())
			}
		}
		if ctx.Err() != nil {
			w.Fatalf("%s: it never was", what)
		}
	}
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

// counted returns the numbers that the counters have come to.
func (w *world) counted() map[string]int {
	w.Helper()
	counted := map[string]int{}
	err := w.db.View(w.Context(), func(ctx context.Context, v *uow.View) error {
		for c, err := range w.counters.From(v).All(ctx, uow.Query{}) {
			if err != nil {
				return err
			}
			counted[c.ID] = c.N
		}
		return nil
	})
	if err != nil {
		w.Fatal(err)
	}
	return counted
}

// check compares the database with the outbox, and the outbox with what was received.
func (w *world) check() {
	w.Helper()
	counted := w.counted()
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
	committed := 0
	for key, n := range counted {
		committed += n
		for _, key := range []string{key, streamOf(key)} {
			if !slices.Equal(want[key], upTo(n)) {
				w.Errorf("the log has %v of %q, which has come to %d", want[key], key, n)
			}
		}
	}
	if committed = 2*committed + committed/keys; total != committed || len(w.received) != total || len(counted) != applications*keys {
		w.Errorf("%d messages were committed by %d keys, the log has %d, and %d were received", committed, len(counted), total, len(w.received))
	}
	repeated := 0
	for _, n := range w.received {
		repeated += n - 1
	}
	for key, numbers := range want {
		if key != "" && !slices.Equal(w.first[key], numbers) {
			w.Errorf("the first arrivals of %q are %v, want %v", key, w.first[key], numbers)
		}
	}
	w.Logf("%d messages, %d of them repeated", total, repeated)
}

// upTo returns the numbers from 1.
func upTo(n int) []int {
	numbers := make([]int, n)
	for i := range numbers {
		numbers[i] = i + 1
	}
	return numbers
}
