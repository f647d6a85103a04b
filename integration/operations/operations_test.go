package operations_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/admin"
	"github.com/uow-go/uow/inbox"
	"github.com/uow-go/uow/integration/internal/servers"
	"github.com/uow-go/uow/integration/internal/stores"
	"github.com/uow-go/uow/outbox"
	"github.com/uow-go/uow/relay"
)

var local servers.Local

func TestMain(m *testing.M) {
	remove, err := build()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	remove()
	local.Close()
	os.Exit(code)
}

// destination refuses keys, and remembers what it was given.
type destination struct {
	mu     sync.Mutex
	refuse map[string]bool
	got    []string
}

func (d *destination) take(_ context.Context, m outbox.Message) relay.Result {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.refuse[m.Key] {
		return relay.Result{Outcome: relay.Refused, Err: errors.New("no such customer")}
	}
	d.got = append(d.got, m.ID)
	return relay.Result{Outcome: relay.Stored}
}

func (d *destination) accept(key string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.refuse, key)
	d.got = nil
}

func (d *destination) ids() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Sorted(slices.Values(d.got))
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); {
		if time.Now().After(deadline) {
			t.Fatalf("not within a minute: %s", what)
		}
		<-time.After(10 * time.Millisecond)
	}
}

func TestP23_OperatorsManageMessagesOfEveryStore(t *testing.T) {
	for _, store := range stores.All(&local) {
		if store.Variant {
			continue
		}
		t.Run(store.Name, func(t *testing.T) { manage(t, store) })
	}
}

func manage(t *testing.T, store stores.Store) {
	records := inbox.NewRecords()
	db := store.Open(t, stores.Options{Config: uow.Config{Collections: records.Collections()}})
	log, err := outbox.Of(db.DB)
	if err != nil {
		t.Fatal(err)
	}
	ops, err := admin.New(admin.Config{Log: log, DB: db.DB, Records: records, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	to := &destination{refuse: map[string]bool{"b": true, "d": true}}
	r, err := relay.New(relay.Config{Log: log, Cursor: "mail", Publisher: relay.Each(to.take, 1), PollInterval: 20 * time.Millisecond, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	defer func() {
		stop()
		if err := <-ended; err != nil {
			t.Error("the relay: ", err)
		}
	}()
	err = db.Do(t.Context(), func(_ context.Context, u *uow.Unit) error {
		for i, key := range []string{"a", "b", "b", "c", "d", ""} {
			if err := outbox.Append(u, outbox.Message{ID: fmt.Sprint(i+1, key), Key: key, Topic: "orders", Type: "Placed"}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	in := func(states ...admin.State) (ids []string) {
		t.Helper()
		page, err := ops.List(t.Context(), admin.Query{Cursor: "mail", Filter: admin.Filter{States: states}})
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range page.Messages {
			ids = append(ids, m.ID)
		}
		return ids
	}
	eventually(t, "the cursor is there", func() bool {
		stats, err := ops.Stats(t.Context())
		return err == nil && len(stats.Cursors) == 1
	})
	eventually(t, "two are parked and one waits", func() bool {
		return slices.Equal(in(admin.Parked), []string{"2b", "5d"}) && slices.Equal(in(admin.Waiting), []string{"3b"})
	})
	eventually(t, "three are delivered", func() bool { return slices.Equal(in(admin.Delivered), []string{"1a", "4c", "6"}) })

	to.accept("b")
	done, err := ops.Redrive(t.Context(), admin.Action{Cursor: "mail", Filter: admin.Filter{Keys: []string{"b"}}})
	if err != nil || done.Changed != 1 {
		t.Fatalf("the redrive: %+v, %v", done, err)
	}
	eventually(t, "b is delivered", func() bool { return slices.Equal(to.ids(), []string{"2b", "3b"}) })
	done, err = ops.Discard(t.Context(), admin.Action{Cursor: "mail", All: true})
	if err != nil || done.Changed != 1 {
		t.Fatalf("the discard: %+v, %v", done, err)
	}
	eventually(t, "nothing is held", func() bool { return len(in(admin.Parked, admin.Waiting, admin.Retrying)) == 0 })

	to.accept("d")
	before, err := ops.Stats(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	done, err = ops.Replay(t.Context(), admin.Action{Cursor: "mail", Filter: admin.Filter{Since: time.Now().Add(-time.Hour)}, Rate: 100})
	if err != nil || done.Changed != 6 {
		t.Fatalf("the replay: %+v, %v", done, err)
	}
	defer func() { t.Logf("delivered again: %q", to.ids()) }()
	eventually(t, "all are delivered again", func() bool {
		return slices.Equal(to.ids(), []string{"1a", "2b", "3b", "4c", "5d", "6"})
	})
	after, err := ops.Stats(t.Context())
	if err != nil || after.Cursors[0].Position != before.Cursors[0].Position {
		t.Errorf("the replay moved the cursor from %+v to %+v, %v", before.Cursors, after.Cursors, err)
	}
	if page, err := ops.Marks(t.Context(), inbox.Filter{Consumer: "mailer"}); err != nil || page.Count != 0 || page.Streams != 0 {
		t.Errorf("the marks of a consumer without any are %+v, %v", page, err)
	}
}
