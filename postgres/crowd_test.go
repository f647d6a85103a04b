package postgres

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/driver"
	"github.com/uow-go/uow/outbox"
)

// crowd makes every operation one of a crowd.
func (f *fixture) crowd() *fixture {
	f.store.crowd.Limit = 0
	return f
}

// TestSharedSnapshots: units whose first reads were made together read on in the
// snapshot of those, whatever is committed meanwhile.
func TestSharedSnapshots(t *testing.T) {
	f := open(t, needServer(t), Options{}).crowd()
	f.add("a", "b")
	const n = 6
	units := make([]*uow.Unit, n)
	var wg sync.WaitGroup
	for i := range units {
		units[i] = f.db.Begin()
		defer units[i].Close()
		wg.Go(func() {
			_, err := f.documents.In(units[i]).Get(t.Context(), "a")
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got := f.store.pool.Stat().AcquiredConns(); got >= n {
		t.Errorf("%d units have %d connections: nothing was shared", n, got)
	}
	f.must(f.change("b"))
	for i, u := range units {
		switch i {
		case 4:
			f.documents.In(u).Add(&document{ID: "new"})
			f.must(u.Flush(t.Context()))
		case 5:
			var count int
			f.must(Tx(u).QueryRow(t.Context(), `SELECT (body->>'Count')::int FROM `+f.store.schema+`.documents WHERE id = 'b'`).Scan(&count))
			if count != 1 {
				t.Errorf("the unit's own SQL sees %d, want the newest, 1", count)
			}
			continue
		}
		b, err := f.documents.In(u).Get(t.Context(), "b")
		f.must(err)
		if b.Count != 0 {
			t.Errorf("unit %d sees what was committed after its first read", i)
		}
		b.Count = 9
	}
	for i, u := range units[:4] {
		err := u.Commit(t.Context())
		if !errors.Is(err, uow.ErrConflict) {
			t.Errorf("unit %d: got %v, want a conflict", i, err)
		}
	}
	for _, u := range units {
		u.Close()
	}
	f.until("all connections are back", func() bool { return f.store.pool.Stat().AcquiredConns() == 0 })
}

// TestAbandonedReads: a read whose context has ended leaves nothing behind.
func TestAbandonedReads(t *testing.T) {
	f := open(t, needServer(t), Options{}).crowd()
	f.add("a")
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if i%2 == 0 {
				go cancel()
			}
			err := f.db.Do(ctx, func(ctx context.Context, u *uow.Unit) error {
				_, err := f.documents.In(u).Get(ctx, "a")
				return err
			})
			if err != nil && !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	f.until("all connections are back", func() bool { return f.store.pool.Stat().AcquiredConns() == 0 })
}

// TestCloseInACrowd closes the store under units.
func TestCloseInACrowd(t *testing.T) {
	f := open(t, needServer(t), Options{MaxConns: 4}).crowd()
	ids := names("a", 16)
	f.add(ids...)
	var wg sync.WaitGroup
	started := make(chan struct{}, len(ids))
	for _, id := range ids {
		wg.Go(func() {
			for i := 0; ; i++ {
				if err := f.change(id); err != nil {
					if !errors.Is(err, ErrClosed) && !errors.Is(err, uow.ErrInDoubt) {
						t.Errorf("got %v, want ErrClosed", err)
					}
					return
				}
				if i == 0 {
					started <- struct{}{}
				}
			}
		})
	}
	for range ids {
		<-started
	}
	f.must(f.db.Close())
	wg.Wait()
}

// TestCrowd has many units move amounts between documents, with deletes, inserts and
// the user's own SQL in between, and then demands that sums, versions and messages
// are exactly those of the units that say they were committed.
func TestCrowd(t *testing.T) {
	for name, limit := range map[string]int32{"always": 0, "mixed": 4} {
		t.Run(name, func(t *testing.T) {
			f := open(t, needServer(t), Options{MaxConns: 6})
			f.store.crowd.Limit = limit
			ids := names("a", 40)
			f.add(ids...)
			var mu sync.Mutex
			changes, conflicts, want := map[string]int64{}, 0, 0
			var wg sync.WaitGroup
			for w := range 24 {
				wg.Go(func() {
					random := rand.New(rand.NewPCG(uint64(w), 11))
					for n := range 15 {
						one, two := ids[random.IntN(len(ids))], ids[random.IntN(len(ids))]
						flush := random.IntN(10) == 0
						err := f.db.Do(t.Context(), func(ctx context.Context, u *uow.Unit) error {
							return f.move(ctx, u, one, two, flush, fmt.Sprint(w, ".", n))
						})
						mu.Lock()
						switch {
						case err == nil:
							changes[one]++
							if two != one {
								changes[two]++
								want++
							}
							want++
						case errors.Is(err, uow.ErrConflict) || errors.Is(err, uow.ErrRetryable):
							conflicts++
						default:
							t.Error(err)
						}
						mu.Unlock()
					}
				})
			}
			wg.Wait()
			t.Logf("%d conflicts, %d groups, %d reads", conflicts, f.store.commits.Groups(), f.store.reads.Groups())
			f.exactly(ids, changes, want)
			f.until("all connections are back", func() bool { return f.store.pool.Stat().AcquiredConns() == 0 })
		})
	}
}

// move takes one from a document and gives it to another.
func (f *fixture) move(ctx context.Context, u *uow.Unit, from, to string, flush bool, extra string) error {
	r := f.documents.In(u)
	a, err := r.Get(ctx, from)
	if err != nil {
		return err
	}
	b, err := r.Get(ctx, to)
	if err != nil {
		return err
	}
	a.Count--
	a.Record(counting{To: a.Count})
	if flush {
		if err := u.Flush(ctx); err != nil {
			return err
		}
	}
	b.Count++
	if b != a {
		b.Record(counting{To: b.Count})
	}
	return r.Add(&document{ID: "extra " + extra})
}

// exactly demands the versions, the sum and the messages that follow from the number
// of changes to each document.
func (f *fixture) exactly(ids []string, changes map[string]int64, messages int) {
	f.Helper()
	t := f.tx()
	defer t.Rollback()
	rows, err := t.Get(f.Context(), "documents", ids)
	f.must(err)
	for _, row := range rows {
		if row.Sequence != changes[row.ID] {
			f.Errorf("%s has recorded %d events, want %d", row.ID, row.Sequence, changes[row.ID])
		}
	}
	var sum int64
	var n int
	f.must(f.store.pool.QueryRow(f.Context(), `SELECT sum((body->>'Count')::int) FROM `+f.store.schema+`.documents`).Scan(&sum))
	if sum != 0 {
		f.Errorf("the sum is %d, want 0", sum)
	}
	log, next := []driver.Message{}, int64(0)
	for {
		some, after, err := f.store.Scan(f.Context(), outbox.Query{After: next, Limit: 100})
		f.must(err)
		if after == next {
			break
		}
		log, next = append(log, some...), after
	}
	last := map[string]int64{}
	for _, m := range log {
		if last[m.AggregateID]++; m.Sequence != last[m.AggregateID] {
			f.Errorf("event %d of %s comes after %d others", m.Sequence, m.AggregateID, last[m.AggregateID]-1)
		}
		n++
	}
	if n != messages {
		f.Errorf("the log has %d messages, want %d", n, messages)
	}
}
