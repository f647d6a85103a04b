package storetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/driver"
	"github.com/uow-go/uow/outbox"
)

// Crowd is a database of which many units read at once, so that they share
// connections and snapshots.
type Crowd struct {
	*Fixture
	// InUse is how many connections units have.
	InUse func() int
}

// SharedSnapshots demands that units whose first reads were made together read on in the
// snapshot of those, whatever is committed meanwhile. One that has flushed sees as many changes of
// a document as flushed says, and own has a unit read its count with SQL of the user's.
func (c Crowd) SharedSnapshots(flushed int64, own func(u *uow.Unit, id string) int64) {
	c.Insert("a", "b")
	const n = 6
	units := make([]*uow.Unit, n)
	var wg sync.WaitGroup
	for i := range units {
		units[i] = c.DB.Begin()
		defer units[i].Close()
		wg.Go(func() {
			_, err := c.Documents.In(units[i]).Get(c.Context(), "a")
			if err != nil {
				c.Error(err)
			}
		})
	}
	wg.Wait()
	if got := c.InUse(); got >= n {
		c.Errorf("%d units have %d connections: nothing was shared", n, got)
	}
	c.Must(c.Change("b"))
	for i, u := range units {
		want := int64(0)
		switch i {
		case 4:
			want = flushed
			c.Must(c.Documents.In(u).Add(&Document{ID: "new"}))
			c.Must(u.Flush(c.Context()))
		case 5:
			if count := own(u, "b"); count != 1 {
				c.Errorf("the unit's own SQL sees %d, want the newest, 1", count)
			}
			continue
		}
		b, err := c.Documents.In(u).Get(c.Context(), "b")
		c.Must(err)
		if b.Count != want {
			c.Errorf("unit %d sees %d, want %d", i, b.Count, want)
		}
		b.Count = 9
	}
	for i, u := range units[:4] {
		err := u.Commit(c.Context())
		if !errors.Is(err, uow.ErrConflict) {
			c.Errorf("unit %d: got %v, want a conflict", i, err)
		}
	}
	for _, u := range units {
		u.Close()
	}
	c.quiet()
}

func (c Crowd) quiet() {
	c.Helper()
	c.Until("all connections are back", func() bool { return c.InUse() == 0 })
}

// AbandonedReads demands that a read whose context has ended leaves nothing behind.
func (c Crowd) AbandonedReads() {
	c.Insert("a")
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() {
			ctx, cancel := context.WithCancel(c.Context())
			defer cancel()
			if i%2 == 0 {
				go cancel()
			}
			err := c.DB.Do(ctx, func(ctx context.Context, u *uow.Unit) error {
				_, err := c.Documents.In(u).Get(ctx, "a")
				return err
			})
			if err != nil && !errors.Is(err, context.Canceled) {
				c.Error(err)
			}
		})
	}
	wg.Wait()
	c.quiet()
}

// Close closes the store under units, which get this error, or are in doubt.
func (c Crowd) Close(closed error) {
	ids := Names("a", 16)
	c.Insert(ids...)
	var wg sync.WaitGroup
	started := make(chan struct{}, len(ids))
	for _, id := range ids {
		wg.Go(func() {
			for i := 0; ; i++ {
				if err := c.Change(id); err != nil {
					if !errors.Is(err, closed) && !errors.Is(err, uow.ErrInDoubt) {
						c.Errorf("got %v, want %v", err, closed)
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
	c.Must(c.DB.Close())
	wg.Wait()
}

// Move has many units move amounts between documents, with inserts and flushes in
// between, and then demands that sums, sequences and messages are exactly those of the units
// that say they were committed.
func (c Crowd) Move() {
	ids := Names("a", 40)
	c.Insert(ids...)
	var mu sync.Mutex
	changes, conflicts, want := map[string]int64{}, 0, 0
	var wg sync.WaitGroup
	for w := range 24 {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(uint64(w), 11))
			for n := range 15 {
				one, two := ids[random.IntN(len(ids))], ids[random.IntN(len(ids))]
				flush := random.IntN(10) == 0
				err := c.DB.Do(c.Context(), func(ctx context.Context, u *uow.Unit) error {
					return c.move(ctx, u, one, two, flush, fmt.Sprint(w, ".", n))
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
					c.Error(err)
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	c.Logf("%d conflicts", conflicts)
	c.exactly(ids, changes, want)
	c.quiet()
}

// move takes one from a document and gives it to another.
func (c Crowd) move(ctx context.Context, u *uow.Unit, from, to string, flush bool, extra string) error {
	r := c.Documents.In(u)
	a, err := r.Get(ctx, from)
	if err != nil {
		return err
	}
	b, err := r.Get(ctx, to)
	if err != nil {
		return err
	}
	a.Add(-1)
	if flush {
		if err := u.Flush(ctx); err != nil {
			return err
		}
	}
	if b == a {
		b.Count++
	} else {
		b.Add(1)
	}
	return r.Add(&Document{ID: "extra " + extra})
}

// exactly demands the sequences, the sum and the messages that follow from the number of
// changes to each document.
func (c Crowd) exactly(ids []string, changes map[string]int64, messages int) {
	c.Helper()
	t := c.Tx()
	rows, err := t.Get(c.Context(), "documents", ids)
	c.Must(errors.Join(err, t.Rollback()))
	for _, row := range rows {
		if row.Sequence != changes[row.ID] {
			c.Errorf("%s has recorded %d events, want %d", row.ID, row.Sequence, changes[row.ID])
		}
	}
	sum := int64(0)
	c.Must(c.DB.View(c.Context(), func(ctx context.Context, v *uow.View) error {
		all, err := c.Documents.From(v).Find(ctx, uow.Query{})
		for _, d := range all {
			sum += d.Count
		}
		return err
	}))
	if sum != 0 {
		c.Errorf("the sum is %d, want 0", sum)
	}
	c.inOrder(messages)
}

// inOrder demands so many events, each stream's in its order.
func (c Crowd) inOrder(messages int) {
	c.Helper()
	log, next := []driver.Message{}, int64(0)
	for {
		some, after, err := c.Store.Scan(c.Context(), outbox.Query{After: next, Limit: 100})
		c.Must(err)
		if after == next {
			break
		}
		log, next = append(log, some...), after
	}
	last := map[string]int64{}
	for _, m := range log {
		if last[m.AggregateID]++; m.Sequence != last[m.AggregateID] {
			c.Errorf("event %d of %s comes after %d others", m.Sequence, m.AggregateID, last[m.AggregateID]-1)
		}
	}
	if len(log) != messages {
		c.Errorf("the log has %d messages, want %d", len(log), messages)
	}
}
