package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/uow-go/uow"
	"github.com/uow-go/uow/outbox"
)

// Backlog is what a relay of the default configuration does with very many messages.
type Backlog struct {
	Messages int
	// Rate is messages published a second while units enqueue besides.
	Rate float64
	// Alone and Beside are units with one message a second, before and during the drain.
	Alone, Beside float64
	// Heap and Sys are the greatest sizes of the process, in bytes, of which HeapBefore was
	// used before the relay began.
	HeapBefore, Heap, Sys uint64
	// LogScans are sequential scans of the log during the drain.
	LogScans int64
	// DeadLog and DeadCursor are dead rows of the log, and of the cursors, after a snapshot
	// was held for Spell, and Settled how often the cursor had moved by then.
	DeadLog, DeadCursor, Settled int64
	Spell                        time.Duration
}

// RunBacklog lets so many messages wait on PostgreSQL, and drains them to NATS.
func RunBacklog(ctx context.Context, dsn string, messages int) (Backlog, error) {
	return runBacklog(ctx, dsn, messages, 5*time.Second)
}

func runBacklog(ctx context.Context, dsn string, messages int, spell time.Duration) (b Backlog, err error) {
	b.Messages, b.Spell = messages, spell
	s, err := settings{make: makeSchema(dsn)}.open(ctx)
	if err != nil {
		return b, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	c, err := pgx.Connect(ctx, s.where)
	if err != nil {
		return b, err
	}
	defer c.Close(ctx)
	err = inOutbox(ctx, s.where, c, func(db *uow.DB, _ outbox.Log) error { return enqueueBy(ctx, db, s.stream, 0, messages, 1000) })
	if err != nil {
		return b, err
	}
	if _, err := c.Exec(ctx, "ANALYZE uow_outbox"); err != nil {
		return b, err
	}
	before, err := logScans(ctx, c)
	if err != nil {
		return b, err
	}
	err = inOutbox(ctx, s.where, c, func(db *uow.DB, _ outbox.Log) error {
		more, err := enqueueFor(ctx, db, s.stream, spell)
		if err != nil {
			return err
		}
		b.Alone = float64(more) / spell.Seconds()
		return b.drain(ctx, s, db, messages+more)
	})
	if err != nil {
		return b, err
	}
	after, err := logScans(ctx, c)
	b.LogScans = after - before
	return b, err
}

// drain drains all of it; enqueueing goes on for a spell, and a snapshot is held as long.
func (b *Backlog) drain(ctx context.Context, s *site, db *uow.DB, waiting int) error {
	r, end, err := s.relay(ctx, db, nil)
	if err != nil {
		return err
	}
	defer end()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	b.HeapBefore = m.HeapInuse
	running, stop := context.WithCancel(ctx)
	defer stop()
	var wg sync.WaitGroup
	wg.Go(func() { b.watch(running) })
	done := make(chan error, 1)
	start := time.Now()
	go func() { done <- r.Run(running) }()
	more, err := b.hold(ctx, s, db)
	if err == nil {
		_, err = s.awaitLong(ctx, waiting+more)
	}
	b.Rate = float64(waiting+more) / time.Since(start).Seconds()
	stop()
	wg.Wait()
	return errors.Join(err, <-done)
}

// watch notes the greatest sizes until ctx ends.
func (b *Backlog) watch(ctx context.Context) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	var m runtime.MemStats
	for {
		runtime.ReadMemStats(&m)
		b.Heap, b.Sys = max(b.Heap, m.HeapInuse), max(b.Sys, m.Sys)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// hold measures enqueueing while a snapshot is held, and counts dead rows at its end, as
// soon as the statistics know of a settlement.
func (b *Backlog) hold(ctx context.Context, s *site, db *uow.DB) (more int, err error) {
	c, err := pgx.Connect(ctx, s.where)
	if err != nil {
		return 0, err
	}
	defer c.Close(ctx)
	tx, err := c.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead})
	if err != nil {
		return 0, err
	}
	defer tx.Rollback(ctx)
	if _, err := tx.Exec(ctx, "SELECT 1"); err != nil {
		return 0, err
	}
	if more, err = enqueueFor(ctx, db, s.stream, b.Spell); err != nil {
		return more, err
	}
	b.Beside = float64(more) / b.Spell.Seconds()
	other, err := pgx.Connect(ctx, s.where)
	if err != nil {
		return more, err
	}
	defer other.Close(ctx)
	if err := until(ctx, other, `SELECT sum(n_tup_upd) > 0 FROM pg_stat_user_tables
		WHERE schemaname = current_schema() AND relname = 'uow_outbox_cursor'`); err != nil {
		return more, err
	}
	err = other.QueryRow(ctx, `SELECT sum(n_dead_tup) FILTER (WHERE `+ofTheLog+`), sum(n_dead_tup) FILTER (WHERE relname = 'uow_outbox_cursor'),
		sum(n_tup_upd) FILTER (WHERE relname = 'uow_outbox_cursor')
		FROM pg_stat_user_tables WHERE schemaname = current_schema()`).Scan(&b.DeadLog, &b.DeadCursor, &b.Settled)
	return more, err
}

// enqueueFor does units with one message by eight callers, and returns how many.
func enqueueFor(ctx context.Context, db *uow.DB, topic string, d time.Duration) (n int, err error) {
	const callers = 8
	counts, errs := make([]int, callers), make([]error, callers)
	var wg sync.WaitGroup
	for i, until := 0, time.Now().Add(d); i < callers; i++ {
		wg.Go(func() {
			for time.Now().Before(until) && errs[i] == nil {
				errs[i] = db.Do(ctx, func(_ context.Context, u *uow.Unit) error { return outbox.Append(u, newMessageOf(topic, i)) })
				counts[i]++
			}
		})
	}
	wg.Wait()
	for _, count := range counts {
		n += count
	}
	return n, errors.Join(errs...)
}

// awaitLong is await of very many.
func (s *site) awaitLong(ctx context.Context, n int) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Hour)
	defer cancel()
	return s.await(ctx, n)
}

// ofTheLog selects the statistics of the log's tables.
const ofTheLog = `schemaname = current_schema() AND relname ~ '^uow_outbox(_[0-9]+)?$'`

// logScans counts sequential scans of those that have rows: an empty one is read in no other way.
func logScans(ctx context.Context, c *pgx.Conn) (n int64, err error) {
	err = c.QueryRow(ctx, `SELECT coalesce(sum(seq_scan) FILTER (WHERE n_tup_ins > 0), 0) FROM pg_stat_user_tables WHERE `+ofTheLog).Scan(&n)
	return n, err
}

// Report writes a table of it.
func (b Backlog) Report(w io.Writer) {
	const mega = 1 << 20
	fmt.Fprintf(w, "\n### %d messages that wait on PostgreSQL, defaults\n\n| | |\n|---|---|\n", b.Messages)
	fmt.Fprintf(w, "| published, messages/s, units enqueueing for %v of it | %s |\n", b.Spell, number(b.Rate))
	fmt.Fprintf(w, "| units/s with one message, 8 callers, before and during | %s, %s (**%.2f**) |\n", number(b.Alone), number(b.Beside), b.Beside/b.Alone)
	fmt.Fprintf(w, "| the process's heap before, and at most; all of its memory, MB | %d, %d; %d |\n", b.HeapBefore/mega, b.Heap/mega, b.Sys/mega)
	fmt.Fprintf(w, "| sequential scans of the log | %d |\n", b.LogScans)
	fmt.Fprintf(w, "| dead rows of the log, and of the cursor, while a snapshot was held for %v; settlements until then | %d, %d; %d |\n", b.Spell, b.DeadLog, b.DeadCursor, b.Settled)
}
