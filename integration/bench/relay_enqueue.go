package bench

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/uow-go/uow/outbox"
)

// Sustained compares units that commit while their events are published with units
// alone: SQLite, 32 callers, a NATS server in the process.
func Sustained(dir string, load Load) *Comparison {
	load.Callers = 32
	c := &Comparison{
		Title: fmt.Sprintf("SQLite, %d callers, events published meanwhile", load.Callers), Key: "sustained",
		Columns: []Column{rates("units/s"), percentile("p50", 0.5), percentile("p99", 0.99), worst(), ratios()},
	}
	c.Runners = []Runner{
		{Name: "uow", Once: func(ctx context.Context) (Result, error) {
			return sustained(ctx, settings{make: makeFolder(dir), serve: relaxed}, load, 0)
		}},
		{Name: "uow, a batch every 10 ms", Once: func(ctx context.Context) (Result, error) {
			return sustained(ctx, settings{make: makeFolder(dir), serve: relaxed}, load, 10*time.Millisecond)
		}},
		{Name: "uow, the server syncs before it answers", Once: func(ctx context.Context) (Result, error) {
			return sustained(ctx, settings{make: makeFolder(dir), serve: durable, atomic: true}, load, 0)
		}},
		{Name: "units, and raw publishing of as many messages", Once: func(ctx context.Context) (Result, error) {
			return besideRaw(ctx, settings{make: makeFolder(dir), serve: relaxed}, load)
		}},
		{Name: "units alone", Once: func(ctx context.Context) (Result, error) {
			store := SQLite(dir)
			return store.Once(ctx, store.Variants[0], load)
		}},
	}
	return c
}

// sustained does units while a relay publishes, and waits for what is left.
func sustained(ctx context.Context, settings settings, load Load, pace time.Duration) (Result, error) {
	return beside(ctx, settings, load, func(ctx context.Context, site *site, subject *sqliteUnits) (Subject, func() error, error) {
		r, end, err := site.relay(ctx, subject.db, func(c *relayConfig, p *publisherConfig) {
			c.Pace = pace
			p.Subject = func(outbox.Message) string { return site.stream }
		})
		if err != nil {
			return nil, nil, err
		}
		running, stop := context.WithCancel(ctx)
		done := make(chan error, 1)
		go func() { done <- r.Run(running) }()
		return subject, func() error { stop(); return errors.Join(<-done, end()) }, nil
	})
}

// besideRaw does units while as many messages are published raw.
func besideRaw(ctx context.Context, settings settings, load Load) (Result, error) {
	return beside(ctx, settings, load, func(ctx context.Context, site *site, subject *sqliteUnits) (Subject, func() error, error) {
		r, done := &rawBeside{Subject: subject, done: make(chan struct{}, 1<<16)}, make(chan error, 1)
		go func() { done <- r.publish(ctx, site) }()
		return r, func() error { close(r.done); return <-done }, nil
	})
}

// beside does units on SQLite while publishing goes on, and waits until the stream has a
// message of each. publish begins that, and returns the units, and what ends it.
func beside(ctx context.Context, settings settings, load Load,
	publish func(ctx context.Context, site *site, subject *sqliteUnits) (Subject, func() error, error),
) (result Result, err error) {
	site, err := settings.open(ctx)
	if err != nil {
		return result, err
	}
	defer func() { err = errors.Join(err, site.close()) }()
	all, err := newSQLiteUnits(ctx, site.where, Rows)
	if err != nil {
		return result, err
	}
	defer func() { err = errors.Join(err, all.Close()) }()
	subject, end, err := publish(ctx, site, all)
	if err != nil {
		return result, err
	}
	defer func() { err = errors.Join(err, end()) }()
	warm := load
	warm.Time /= 10
	before, err := Run(ctx, subject, warm)
	if err != nil {
		return result, err
	}
	if result, err = Run(ctx, subject, load); err != nil {
		return result, err
	}
	waiting, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	units := before.Units + result.Units
	n, err := site.await(waiting, units)
	if err == nil && n != units {
		err = fmt.Errorf("bench: the stream has %d messages of %d units", n, units)
	}
	return result, errors.Join(err, SQLite("").verify(ctx, all, units))
}

// rawBeside are units for each of which a message is published from memory, as fast as they
// come: what the server and its client take of the processors, without a relay.
type rawBeside struct {
	Subject
	done chan struct{} // for each unit
}

func (r *rawBeside) Unit(ctx context.Context, id string, change func(*Account)) error {
	err := r.Subject.Unit(ctx, id, change)
	if err != nil {
		return err
	}
	select {
	case r.done <- struct{}{}:
		return nil
	case <-ctx.Done(): // nobody publishes any more
		return ctx.Err()
	}
}

func (r *rawBeside) publish(ctx context.Context, s *site) (err error) {
	template := s.rawMessages(1, true)[0]
	for n := 0; ; n++ {
		select {
		case _, more := <-r.done:
			if !more {
				select {
				case <-s.js.PublishAsyncComplete():
				case <-ctx.Done():
				}
				return errors.Join(err, ctx.Err())
			}
		case <-ctx.Done():
			return ctx.Err()
		}
		m := &nats.Msg{Subject: template.Subject, Data: template.Data, Header: maps.Clone(template.Header)}
		m.Header[nats.MsgIdHdr] = []string{parcelID(n)}
		if _, failed := s.js.PublishMsgAsync(m, jetstream.WithStallWait(10*time.Second)); failed != nil && err == nil {
			err = failed
		}
	}
}

// Enqueueing compares units with one message with the same units without.
func Enqueueing(store *Store, callers int, load Load) *Comparison {
	load.Callers = callers
	c := &Comparison{
		Title: fmt.Sprintf("One message in a unit, %s, %d callers", store.Name, callers), Key: fmt.Sprintf("enqueue %s, %d", store.Name, callers),
		Columns: []Column{rates("units/s"), percentile("p50", 0.5), percentile("p99", 0.99), ratios()},
	}
	silent := *store
	silent.Messages = 0
	without := Variant{Name: "without a message", Open: func(ctx context.Context, where string) (Subject, error) {
		s, err := store.Variants[0].Open(ctx, where)
		if quiet, ok := s.(interface{ quiet() }); ok && err == nil {
			quiet.quiet()
		}
		return s, err
	}}
	c.Runners = []Runner{
		{Name: "uow", Once: func(ctx context.Context) (Result, error) { return store.Once(ctx, store.Variants[0], load) }},
		{Name: without.Name, Once: func(ctx context.Context) (Result, error) { return silent.Once(ctx, without, load) }},
	}
	return c
}

// Listening compares units on PostgreSQL with and without somebody in another process
// who is woken by them. Stores announce commits either way.
func Listening(dsn string, load Load) *Comparison {
	load.Callers = 8
	store := Postgres(dsn)
	listened := Variant{Name: "uow", Open: func(ctx context.Context, where string) (Subject, error) {
		s, err := newPostgresUnits(ctx, where, Rows)
		if err != nil {
			return nil, err
		}
		other, err := openPostgresOutbox(ctx, where)
		if err != nil {
			return nil, errors.Join(err, s.Close())
		}
		log, err := outbox.Of(other)
		if err != nil {
			return nil, errors.Join(err, s.Close(), other.Close())
		}
		cancel := log.Subscribe(func(bool) {})
		return &listenedTo{pgUnits: s, end: func() error { cancel(); return other.Close() }}, nil
	}}
	return &Comparison{
		Title: fmt.Sprintf("PostgreSQL, %d callers, another process is woken", load.Callers), Key: "listening",
		Columns: []Column{rates("units/s"), percentile("p50", 0.5), percentile("p99", 0.99), ratios()},
		Runners: []Runner{
			{Name: "uow", Once: func(ctx context.Context) (Result, error) { return store.Once(ctx, listened, load) }},
			{Name: "nobody listens", Once: func(ctx context.Context) (Result, error) { return store.Once(ctx, store.Variants[0], load) }},
		},
	}
}

// listenedTo are units beside which somebody listens.
type listenedTo struct {
	*pgUnits
	end func() error
}

// Close implements Subject.
func (l *listenedTo) Close() error { return errors.Join(l.end(), l.pgUnits.Close()) }
