package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go"
	"github.com/uow-go/uow"
	"github.com/uow-go/uow/outbox"
)

// courier commits one message a time, and has it published. committing is called when the
// transaction has begun and has nothing left to do but to insert the message and commit.
type courier struct {
	commit func(ctx context.Context, number int, committing func()) error
	// run publishes until ctx ends; ready is closed when it has begun.
	run func(ctx context.Context, ready chan<- struct{}) error
	end func() error
}

// Latency compares how long it takes from when a unit's work is done, and its message is to
// be inserted and committed, until a subscriber has the message, with a hundred messages a second at uneven intervals.
func Latency(dsn string, span time.Duration) *Comparison {
	c := &Comparison{Title: "Commit to receipt, PostgreSQL to NATS, 100 messages a second", Key: "latency", Columns: []Column{
		{"messages", func(c *Comparison, i int) string { return fmt.Sprint(c.Results[i][0].Units) }},
		percentile("p50", 0.5), percentile("p99", 0.99), worst(),
	}}
	for _, v := range []struct {
		name string
		open func(ctx context.Context, s *site) (courier, error)
	}{
		{"uow", openCourier(false)},
		{"uow, another process relays", openCourier(true)},
		{"by hand, LISTEN and NOTIFY", openHandCourier},
	} {
		c.Runners = append(c.Runners, Runner{Name: v.name, Once: func(ctx context.Context) (Result, error) {
			return latency(ctx, settings{make: makeSchema(dsn)}, v.open, span)
		}})
	}
	return c
}

// openCourier is uow. A second DB, which shares nothing in memory with the first, stands
// for another process.
func openCourier(across bool) func(ctx context.Context, s *site) (courier, error) {
	return func(ctx context.Context, s *site) (c courier, err error) {
		db, err := openPostgresOutbox(ctx, s.where)
		if err != nil {
			return c, err
		}
		ends := []func() error{db.Close}
		c.end = func() (err error) {
			for _, end := range slices.Backward(ends) {
				err = errors.Join(err, end())
			}
			return err
		}
		relaying := db
		if across {
			if relaying, err = openPostgresOutbox(ctx, s.where); err != nil {
				return c, errors.Join(err, c.end())
			}
			ends = append(ends, relaying.Close)
		}
		r, end, err := s.relay(ctx, relaying, nil)
		if err != nil {
			return c, errors.Join(err, c.end())
		}
		ends = append(ends, end)
		c.run = func(ctx context.Context, ready chan<- struct{}) error { close(ready); return r.Run(ctx) }
		c.commit = func(ctx context.Context, number int, committing func()) error {
			return db.Do(ctx, func(_ context.Context, u *uow.Unit) error {
				err := outbox.Append(u, newMessageOf(s.stream, number))
				committing()
				return err
			})
		}
		return c, nil
	}
}

// openHandCourier is a NOTIFY in each transaction, and a loop that listens.
func openHandCourier(ctx context.Context, s *site) (c courier, err error) {
	pool, err := newPool(ctx, s.where)
	if err != nil {
		return c, err
	}
	c.end = func() error { pool.Close(); return nil }
	if err := fillByHand(ctx, pool, 0); err != nil {
		return c, errors.Join(err, c.end())
	}
	c.run = func(ctx context.Context, ready chan<- struct{}) error { return s.handLoop(ctx, pool, ready) }
	c.commit = func(ctx context.Context, number int, committing func()) error {
		return handCommit(ctx, pool, number, committing)
	}
	return c, nil
}

func handCommit(ctx context.Context, pool *pgxpool.Pool, number int, committing func()) error {
	tx, err := pool.Begin(ctx)
	if err != nil {
		return err
	}
	key, payload := newParcel(number)
	committing()
	if _, err = tx.Exec(ctx, handInsert, parcelID(number), key, payload); err == nil {
		_, err = tx.Exec(ctx, "NOTIFY outbox")
	}
	if err != nil {
		return errors.Join(err, tx.Rollback(ctx))
	}
	return tx.Commit(ctx)
}

// receipts are the times of commits and of arrivals.
type receipts struct {
	mu                 sync.Mutex
	committed, arrived map[int]time.Time
	all                chan struct{}
	want               int
}

func (r *receipts) receive(m *nats.Msg) {
	now := time.Now()
	var p parcel
	if json.Unmarshal(m.Data, &p) != nil {
		return // it is missed then
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, again := r.arrived[p.Number]; !again {
		r.arrived[p.Number] = now
		if len(r.arrived) == r.want {
			close(r.all)
		}
	}
}

// latency commits, and waits for each message.
func latency(ctx context.Context, settings settings, open func(ctx context.Context, s *site) (courier, error), span time.Duration) (result Result, err error) {
	s, err := settings.open(ctx)
	if err != nil {
		return result, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	c, err := open(ctx, s)
	if err != nil {
		return result, err
	}
	defer func() { err = errors.Join(err, c.end()) }()
	const pause, warm = 10 * time.Millisecond, 20
	n := warm + int(span/pause)
	r := &receipts{committed: map[int]time.Time{}, arrived: map[int]time.Time{}, all: make(chan struct{}), want: n}
	sub, err := s.conn.Subscribe(s.stream, r.receive)
	if err != nil {
		return result, err
	}
	defer sub.Unsubscribe()
	ctx, cancel := context.WithTimeout(ctx, span+patience)
	defer cancel()
	running, stop := context.WithCancel(ctx)
	defer stop()
	ready, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- c.run(running, ready) }()
	select {
	case <-ready:
	case err := <-done:
		return result, err
	}
	start := time.Now()
	for number := range n {
		err := c.commit(ctx, number, func() {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.committed[number] = time.Now()
		})
		if err != nil {
			return result, err
		}
		<-time.After(pause/2 + rand.N(pause))
	}
	select {
	case <-r.all:
	case err := <-done:
		return result, fmt.Errorf("bench: the relay ended: %w", err)
	case <-ctx.Done():
		return result, fmt.Errorf("bench: %d of %d messages arrived: %w", len(r.arrived), n, context.Cause(ctx))
	}
	result = Result{Units: n - warm, Elapsed: time.Since(start)}
	for number := warm; number < n; number++ {
		result.Latencies = append(result.Latencies, r.arrived[number].Sub(r.committed[number]))
	}
	slices.Sort(result.Latencies)
	stop()
	return result, <-done
}
