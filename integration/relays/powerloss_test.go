package relays_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/integration/internal/servers"
	"github.com/uow-go/uow/outbox"
	"github.com/uow-go/uow/postgres"
	"github.com/uow-go/uow/relay"
)

// volatile has PostgreSQL answer commits long before they are on the disk.
var volatile = []string{"synchronous_commit=off", "wal_writer_delay=10s"}

// record is a publisher that remembers.
type record struct {
	mu   sync.Mutex
	ids  []string
	more chan struct{}
}

func (r *record) Publish(_ context.Context, messages []outbox.Message) []relay.Result {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range messages {
		r.ids = append(r.ids, m.ID)
	}
	select {
	case r.more <- struct{}{}:
	default:
	}
	return slices.Repeat([]relay.Result{{Outcome: relay.Stored}}, len(messages))
}

// reaches waits until so many messages were published.
func (r *record) reaches(t *testing.T, n int) {
	t.Helper()
	for {
		r.mu.Lock()
		got := len(r.ids)
		r.mu.Unlock()
		if got >= n {
			return
		}
		select {
		case <-r.more:
		case <-t.Context().Done():
			t.Fatal("the test has ended")
		}
	}
}

// TestP20_NothingPublishedIsLostByAPowerLoss kills servers that commit without waiting for the disk: they lose
// commits, and none that was published.
func TestP20_NothingPublishedIsLostByAPowerLoss(t *testing.T) {
	server, err := servers.StartPostgres(volatile...)
	if err != nil {
		servers.Missing(t, "PostgreSQL to start: install its server", err)
	}
	t.Cleanup(server.Remove)
	lost, published := 0, map[string]bool{}
	for round := range 2 {
		committed := loseOne(t, server, round, published)
		left := ids(t, server)
		for id := range published {
			if !left[id] {
				t.Errorf("round %d: message %s was published, and lost", round, id)
			}
		}
		for _, id := range committed {
			if !left[id] {
				lost++
			}
		}
	}
	t.Logf("%d published, %d commits lost", len(published), lost)
	if lost == 0 {
		t.Error("no commit was lost: the test shows nothing")
	}
}

// loseOne commits and publishes, and kills the server meanwhile. It returns what was
// committed.
func loseOne(t *testing.T, server *servers.Postgres, round int, published map[string]bool) (committed []string) {
	t.Helper()
	db, err := postgres.Open(t.Context(), server.DSN(), uow.Config{ResolveTimeout: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }() // its server is gone
	log, err := outbox.Of(db)
	if err != nil {
		t.Fatal(err)
	}
	r := &record{more: make(chan struct{}, 1)}
	rl, err := relay.New(relay.Config{Log: log, Publisher: r, DrainTimeout: 100 * time.Millisecond, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var ended sync.WaitGroup
	ended.Go(func() { _ = rl.Run(ctx) }) // ends with the server
	ended.Go(func() {
		for i := 0; ; i++ {
			id := fmt.Sprintf("%d-%d", round, i)
			err := db.Do(ctx, func(_ context.Context, u *uow.Unit) error {
				return outbox.Append(u, outbox.Message{ID: id, Topic: "t", Type: "T"})
			})
			if err != nil {
				return
			}
			committed = append(committed, id)
		}
	})
	r.reaches(t, 100)
	server.Kill()
	stop()
	ended.Wait()
	for _, id := range r.ids {
		published[id] = true
	}
	if err := server.Restart(volatile...); err != nil {
		t.Fatal(err)
	}
	return committed
}

// ids returns which messages the server's outbox has.
func ids(t *testing.T, server *servers.Postgres) map[string]bool {
	t.Helper()
	store, err := postgres.OpenStore(t.Context(), server.DSN())
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	all := map[string]bool{}
	for after := int64(0); ; {
		messages, next, err := store.Scan(t.Context(), outbox.Query{After: after, Limit: 1000})
		if err != nil {
			t.Fatal(err)
		}
		if next == after {
			return all
		}
		for _, m := range messages {
			all[m.ID] = true
		}
		after = next
	}
}

// TestP20_ServersThatSyncNothingAreRefused: unless they are asked for.
func TestP20_ServersThatSyncNothingAreRefused(t *testing.T) {
	server, err := servers.StartPostgres("fsync=off")
	if err != nil {
		servers.Missing(t, "PostgreSQL to start: install its server", err)
	}
	t.Cleanup(server.Remove)
	for _, volatile := range []bool{false, true} {
		store, err := postgres.Options{Volatile: volatile}.OpenStore(t.Context(), server.DSN())
		if err != nil {
			t.Fatal(err)
		}
		defer store.Close()
		_, err = store.Acquire(t.Context(), outbox.Claim{Cursor: "c", Owner: "o"})
		if errors.Is(err, outbox.ErrNotDurable) == volatile || volatile && err != nil {
			t.Errorf("Volatile %v: got %v", volatile, err)
		}
	}
}
