package bench

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// consumption is a way to handle the messages of a stream, each once: its id is remembered
// in the transaction that changes an account, and it is acknowledged after the commit.
type consumption struct {
	name string
	// share is how many of the messages are there and handled; fewer for slow variants,
	// whose rate is what counts.
	share float64
	// ordered promises that the messages of a key are handled in order.
	ordered bool
	// open makes what handles them, with accounts.
	open func(ctx context.Context, s *site, handled *countdown) (*handling, error)
}

// handling handles what is in a site's stream.
type handling struct {
	// run handles messages until ctx ends, or earlier; each is counted when it was
	// acknowledged.
	run func(ctx context.Context) error
	// accounts and ids are what the database has: all accounts, and the ids of all
	// messages that were handled.
	accounts func(ctx context.Context) ([]Account, error)
	ids      func(ctx context.Context) ([]string, error)
	end      func() error
}

// ceID is the header with the id that a message is remembered by.
const ceID = "ce-id"

// durableName is the JetStream consumer of all variants.
const durableName = "bench"

// countdown says when so many messages were handled.
type countdown struct {
	left atomic.Int64
	zero chan struct{}
}

func newCountdown(n int) *countdown {
	c := &countdown{zero: make(chan struct{})}
	c.left.Store(int64(n))
	return c
}

func (c *countdown) done(n int) {
	if left := c.left.Add(-int64(n)); left <= 0 && left+int64(n) > 0 {
		close(c.zero)
	}
}

// once fills a stream, has all of it handled, and checks the database and the stream. There
// may be several copies of each message, as when a relay publishes it again.
func (v consumption) once(ctx context.Context, settings settings, messages, copies int) (result Result, err error) {
	s, err := settings.open(ctx)
	if err != nil {
		return result, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	n := max(int(float64(messages)*v.share), 1)
	for i := range copies {
		all := s.rawMessagesOf(n, Rows, true)
		for _, m := range all {
			m.Header.Set(jetstream.MsgIDHeader, fmt.Sprint(m.Header.Get(ceID), "/", i)) // by which the stream knows duplicates
		}
		if err := publishAll(ctx, s.js, all); err != nil {
			return result, err
		}
	}
	handled := newCountdown(n * copies)
	h, err := v.open(ctx, s, handled)
	if err != nil {
		return result, err
	}
	defer func() { err = errors.Join(err, h.end()) }()
	if result, err = h.measure(ctx, n*copies, handled); err != nil {
		return result, err
	}
	return result, errors.Join(s.acknowledged(ctx), h.verify(ctx, n, v.ordered))
}

// measure handles messages until all n are.
func (h *handling) measure(ctx context.Context, n int, handled *countdown) (Result, error) {
	running, stop := context.WithCancel(ctx)
	defer stop()
	late := time.NewTimer(patience)
	defer late.Stop()
	done := make(chan error, 1)
	start := time.Now()
	go func() { done <- h.run(running) }()
	var err error
	select {
	case <-handled.zero:
	case err = <-done:
		done <- err
		if handled.left.Load() > 0 {
			err = errors.Join(err, fmt.Errorf("bench: it ended before %d messages were handled", handled.left.Load()))
		}
	case <-late.C:
		err = fmt.Errorf("bench: %d messages were not handled within %v", handled.left.Load(), patience)
	}
	result := Result{Units: n, Elapsed: time.Since(start)}
	stop()
	if failed := <-done; failed != nil && !errors.Is(failed, context.Canceled) {
		err = errors.Join(err, failed)
	}
	return result, err
}

// acknowledged waits until the server knows of all acknowledgements, which are not answered.
func (s *site) acknowledged(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second) // less than AckWait, after which it would deliver again
	defer cancel()
	if err := s.conn.FlushWithContext(ctx); err != nil {
		return err
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		n, err := s.unacknowledged(ctx)
		if n == 0 || err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("bench: %d messages were not acknowledged: %w", n, context.Cause(ctx))
		}
	}
}

// unacknowledged is how many messages the server still has to deliver, or to hear of.
func (s *site) unacknowledged(ctx context.Context) (int, error) {
	c, err := s.js.Consumer(ctx, s.stream, durableName)
	if err != nil {
		return 0, err
	}
	info := c.CachedInfo()
	return info.NumAckPending + int(info.NumPending), nil
}

// consumptions is the comparison of them.
func consumptions(title, key string, settings settings, messages int, all []consumption) *Comparison {
	c := &Comparison{Title: title, Key: key, Columns: []Column{
		{"messages", func(c *Comparison, i int) string { return fmt.Sprint(c.Results[i][0].Units) }},
		rates("messages/s"), ratios(),
	}}
	for _, v := range all {
		c.Runners = append(c.Runners, Runner{Name: v.name, Once: func(ctx context.Context) (Result, error) {
			return v.once(ctx, settings, messages, 1)
		}})
	}
	return c
}

// ConsumePostgres compares ways to handle messages of the NATS server that is there with
// PostgreSQL.
func ConsumePostgres(dsn string, messages int) *Comparison {
	return consumptions("NATS JetStream to PostgreSQL, each message once", "consume postgres", settings{make: makeSchema(dsn)}, messages, toPostgres())
}

func toPostgres() []consumption {
	return []consumption{
		uowConsumption("uow", 1, openPostgresWith, nil),
		uowConsumption("uow, AtCommit", 1, openPostgresWith, atCommit),
		uowConsumption("uow, AtCommit, 64 at once", 1, openPostgresWith, atCommitMany),
		uowConsumption("uow, one at a time", 0.5, openPostgresWith, oneAtATime),
		postgresByHand("by hand, one at a time", 0.5, 1, fiveTripsOnce),
		postgresByHand("by hand, one at a time, two trips", 0.5, 1, twoTripsOnce),
		postgresByHand("by hand, 16 at once, no order", 1, 16, fiveTripsOnce),
		postgresBatches("by hand, batches of 100", 1),
	}
}

// ConsumeSQLite compares ways to handle messages of the NATS server that is there with
// SQLite.
func ConsumeSQLite(dir string, messages int) *Comparison {
	return consumptions("NATS JetStream to SQLite, each message once", "consume sqlite", settings{make: makeFolder(dir)}, messages, toSQLite())
}

func toSQLite() []consumption {
	return []consumption{
		uowConsumption("uow", 0.5, openSQLiteWith, nil),
		uowConsumption("uow, AtCommit", 1, openSQLiteWith, atCommit),
		uowConsumption("uow, AtCommit, 64 at once", 1, openSQLiteWith, atCommitMany),
		uowConsumption("uow, one at a time", 0.5, openSQLiteWith, oneAtATime),
		sqliteByHand("by hand, one at a time", 0.5, 1),
		sqliteByHand("by hand, batches of 100", 1, 100),
	}
}

// ConsumeMarks lists what consumers are to reach.
func ConsumeMarks() []Mark {
	const one, some, atCommit = "by hand, one at a time", "by hand, 16 at once, no order", "uow, AtCommit"
	atLeast := func(key, peer string, least float64) Mark {
		return Mark{Key: key, Peer: peer, Text: "rate against " + peer, Least: least, Value: rate}
	}
	return []Mark{
		atLeast("consume postgres", one, 2), atLeast("consume postgres", some, 0.9), atLeast("consume sqlite", one, 0.9),
		{Key: "consume sqlite", Peer: atCommit, Text: "rate with AtCommit against " + one, Least: 3, Value: func(c *Comparison, at int) float64 {
			return median(c.Of(at, Result.Rate)) / median(c.Of(c.variant(one), Result.Rate))
		}},
	}
}
