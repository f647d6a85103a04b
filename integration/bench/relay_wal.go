package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/uow-go/uow"
	"github.com/uow-go/uow/outbox"
	"github.com/uow-go/uow/relay"
)

// Written is what a phase of a message's life makes PostgreSQL write, for each message.
type Written struct {
	Phase string
	// WAL is in bytes, and Dead are row versions of the package's tables that die.
	WAL, Dead float64
}

// CountWritten counts what messages cost that are enqueued one a unit, and a hundred a
// unit, relayed, and trimmed. The write-ahead log is the server's: who else writes is
// counted too.
func CountWritten(ctx context.Context, dsn string, n int) (all []Written, err error) {
	where, remove, err := makeSchema(dsn)(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, remove()) }()
	c, err := pgx.Connect(ctx, where)
	if err != nil {
		return nil, err
	}
	defer c.Close(ctx)
	none := func(*uow.DB, outbox.Log) error { return nil }
	if err := inOutbox(ctx, where, c, none); err != nil { // makes the tables
		return nil, err
	}
	if _, err := c.Exec(ctx, "CHECKPOINT"); err != nil { // else pages are logged in full
		return nil, err
	}
	for _, phase := range []struct {
		name string
		n    int
		do   func(db *uow.DB, log outbox.Log) error
	}{
		{"enqueue, one in a unit", n, func(db *uow.DB, _ outbox.Log) error { return enqueueBy(ctx, db, "t", 0, n, 1) }},
		{"enqueue, a hundred in a unit", n, func(db *uow.DB, _ outbox.Log) error { return enqueueBy(ctx, db, "t", n, 2*n, 100) }},
		{"relay, default batches", 2 * n, func(_ *uow.DB, log outbox.Log) error { return relayAway(ctx, log) }},
		{"trim", 2 * n, func(_ *uow.DB, log outbox.Log) error { return trimAll(ctx, log, 2*n) }},
	} {
		before, err := countWritten(ctx, c)
		if err != nil {
			return nil, err
		}
		if err := inOutbox(ctx, where, c, phase.do); err != nil {
			return nil, fmt.Errorf("bench: %s: %w", phase.name, err)
		}
		after, err := countWritten(ctx, c)
		if err != nil {
			return nil, err
		}
		all = append(all, Written{phase.name, (after.WAL - before.WAL) / float64(phase.n), (after.Dead - before.Dead) / float64(phase.n)})
	}
	return all, nil
}

// countWritten asks the server.
func countWritten(ctx context.Context, c *pgx.Conn) (w Written, err error) {
	err = c.QueryRow(ctx, `SELECT (pg_current_wal_insert_lsn() - '0/0')::float8,
		(SELECT sum(n_tup_upd + n_tup_del)::float8 FROM pg_stat_user_tables WHERE schemaname = current_schema() AND relname LIKE 'uow%')`).Scan(&w.WAL, &w.Dead)
	return w, err
}

// relayAway relays all that waits to a publisher that does nothing.
func relayAway(ctx context.Context, log outbox.Log) error {
	r, err := relay.New(relay.Config{Log: log, Logger: slog.New(slog.DiscardHandler), Publisher: relay.PublisherFunc(
		func(_ context.Context, batch []outbox.Message) []relay.Result {
			results := make([]relay.Result, len(batch))
			for i := range results {
				results[i].Outcome = relay.Stored
			}
			return results
		})})
	if err != nil {
		return err
	}
	running, stop := context.WithCancel(ctx)
	defer stop()
	done := make(chan error, 1)
	go func() { done <- r.Run(running) }()
	for {
		select {
		case err := <-done:
			return errors.Join(errors.New("the relay ended"), err)
		case <-time.After(50 * time.Millisecond):
		}
		stats, err := log.Stats(ctx)
		if err != nil {
			return err
		}
		if len(stats.Cursors) == 1 && stats.Cursors[0].Position == stats.End {
			stop()
			return <-done
		}
	}
}

// trimAll trims as relays do, again and again: one time may do no more than to have
// another bucket written to, so that the next one can empty the one before.
func trimAll(ctx context.Context, log outbox.Log, want int) error {
	total := 0
	for nothing := 0; nothing < 2; {
		n, err := log.Trim(ctx, time.Now().Add(time.Hour), 1000)
		if err != nil {
			return err
		}
		nothing++
		if n > 0 {
			nothing = 0
		}
		total += n
	}
	if total != want {
		return fmt.Errorf("%d messages were trimmed, want %d", total, want)
	}
	return nil
}

// enqueueBy appends the messages of numbers from first to end, so many in each unit.
func enqueueBy(ctx context.Context, db *uow.DB, topic string, first, end, chunk int) error {
	for from := first; from < end; from += chunk {
		err := db.Do(ctx, func(_ context.Context, u *uow.Unit) error {
			messages := make([]outbox.Message, 0, chunk)
			for number := from; number < min(from+chunk, end); number++ {
				messages = append(messages, newMessageOf(topic, number))
			}
			return outbox.Append(u, messages...)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// ReportWritten writes a table of it.
func ReportWritten(w io.Writer, all []Written) {
	fmt.Fprint(w, "\n### What a message of 300 B has PostgreSQL write\n\n| | bytes of WAL | row versions that die |\n|---|---|---|\n")
	for _, p := range all {
		fmt.Fprintf(w, "| %s | %.0f | %.4f |\n", p.Phase, p.WAL, p.Dead)
	}
}
