package bench

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// drain is a way to publish messages that wait.
type drain struct {
	name string
	// share is how many of the messages that wait are published: of slow variants that
	// is the beginning, and their rate is what counts.
	share float64
	// ordered promises that the messages of a key come in order.
	ordered bool
	// open lets n messages wait. publish begins to publish them, and returns when ctx
	// ends, or earlier.
	open func(ctx context.Context, s *site, n int) (publish func(ctx context.Context) error, end func() error, err error)
}

// inFlight is how many messages may be under way at once where publishing is
// asynchronous.
const inFlight = 4096

// patience bounds one drain.
const patience = 2 * time.Minute

// once lets messages wait, and measures how long it takes until the stream has them.
func (d drain) once(ctx context.Context, settings settings, messages int) (result Result, err error) {
	s, err := settings.open(ctx)
	if err != nil {
		return result, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	publish, end, err := d.open(ctx, s, messages)
	if err != nil {
		return result, err
	}
	defer func() { err = errors.Join(err, end()) }()
	least := max(int(float64(messages)*d.share), 1)
	result, err = s.measure(ctx, least, publish)
	if err != nil {
		return result, err
	}
	return result, s.verify(ctx, messages, least, d.ordered)
}

// measure publishes until the stream has so many messages.
func (s *site) measure(ctx context.Context, least int, publish func(ctx context.Context) error) (result Result, err error) {
	publishing, cancel := context.WithCancel(ctx)
	defer cancel()
	waiting, stop := context.WithTimeoutCause(ctx, patience, fmt.Errorf("not published within %v", patience))
	defer stop()
	done := make(chan error, 1)
	start := time.Now()
	go func() {
		err := publish(publishing)
		if err != nil && publishing.Err() == nil {
			stop()
		}
		done <- err
	}()
	result.Units, err = s.await(waiting, least)
	result.Elapsed = time.Since(start)
	cancel()
	if failed := <-done; failed != nil && !errors.Is(failed, context.Canceled) {
		err = errors.Join(err, failed)
	}
	return result, err
}

// drains is the comparison of them.
func drains(title, key string, settings settings, messages int, all []drain) *Comparison {
	c := &Comparison{Title: title, Key: key, Columns: []Column{
		{"published of them", func(c *Comparison, i int) string {
			return number(median(c.Of(i, func(r Result) float64 { return float64(r.Units) })))
		}},
		rates("messages/s"), ratios(),
	}}
	for _, d := range all {
		c.Runners = append(c.Runners, Runner{Name: d.name, Once: func(ctx context.Context) (Result, error) {
			return d.once(ctx, settings, messages)
		}})
	}
	return c
}

// DrainPostgres compares ways from PostgreSQL to the NATS server that is there.
func DrainPostgres(dsn string, messages int) *Comparison {
	return drains(fmt.Sprintf("PostgreSQL to NATS JetStream, %d messages that wait", messages), "drain postgres",
		settings{make: makeSchema(dsn)}, messages, []drain{
			uowDrain("uow", openPostgresOutbox, tuned),
			uowDrain("uow, defaults", openPostgresOutbox, nil),
			rawAsync("raw, asynchronous", false),
			rawAsync("raw, asynchronous, uow's headers", true),
			rawSync(0.05),
			handDrain(),
			watermillDrain("Watermill, defaults", 0.01, false),
			watermillDrain("Watermill, tuned", 0.04, true),
			riverDrain("River, defaults", 0.02, false),
			riverDrain("River, tuned", 0.2, true),
		})
}

// DrainSQLite compares ways from SQLite to a NATS server in the process: one with
// NATS' default of syncing, and one that syncs before it acknowledges.
func DrainSQLite(dir string, messages int) []*Comparison {
	return []*Comparison{
		drains(fmt.Sprintf("SQLite to NATS in the process, %d messages that wait", messages), "drain sqlite",
			settings{make: makeFolder(dir), serve: relaxed}, messages, []drain{
				uowDrain("uow", openSQLiteOutbox, tuned),
				uowDrain("uow, defaults", openSQLiteOutbox, nil),
				rawAsync("raw, asynchronous", false),
				rawAsync("raw, asynchronous, uow's headers", true),
			}),
		drains(fmt.Sprintf("SQLite to NATS in the process, synced before each answer, %d messages that wait", messages/2), "drain sqlite durable",
			settings{make: makeFolder(dir), serve: durable, atomic: true}, messages/2, []drain{
				uowDrain("uow", openSQLiteOutbox, tuned),
				uowDrain("uow, defaults", openSQLiteOutbox, nil),
				rawBatches(),
			}),
	}
}
