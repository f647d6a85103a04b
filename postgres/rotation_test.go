package postgres

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/uow-go/uow/driver"
	"github.com/uow-go/uow/internal/storetest"
	"github.com/uow-go/uow/outbox"
)

// later is after all messages of appending.
func later() time.Time { return time.Unix(1000, 0) }

// current is the bucket that is written to.
func (f *fixture) current() (n int) {
	f.Helper()
	f.Must(f.store.pool.QueryRow(f.Context(), `SELECT last_value FROM `+f.store.schema+`.uow_outbox_bucket`).Scan(&n))
	return n
}

// counts is how many messages the buckets have.
func (f *fixture) counts() string {
	f.Helper()
	all := make([]int, buckets)
	for i, name := range bucketNames() {
		f.Must(f.store.pool.QueryRow(f.Context(), `SELECT count(*) FROM `+f.store.schema+`.`+name).Scan(&all[i]))
	}
	return fmt.Sprint(all)
}

// wantTrim demands that a trim of all that is old has deleted so many messages, and left
// these in the buckets.
func (f *fixture) wantTrim(what string, want int, left string) {
	f.Helper()
	n, err := f.store.Trim(f.Context(), later(), 1000)
	if counts := f.counts(); n != want || err != nil || counts != left {
		f.Fatalf("%s: trimmed %d, %v, left %s, want %d and %s", what, n, err, counts, want, left)
	}
}

// rotating is a log whose buckets are large with five positions, and a lease on it.
func rotating(t *testing.T) (*fixture, outbox.Lease) {
	t.Helper()
	f := open(t, needServer(t), Options{})
	f.store.enough = 5
	lease, err := f.store.Acquire(t.Context(), outbox.Claim{Cursor: "relay", Owner: "me", TTL: time.Hour})
	f.Must(err)
	return f, lease
}

// deliver appends messages, and moves the cursor behind them.
func (f *fixture) deliver(lease outbox.Lease, ids ...string) (end int64) {
	f.Helper()
	f.Must(f.Tx().Commit(f.Context(), appending(ids[0], ids...)))
	_, end = f.Drain(0)
	f.Must(f.store.Settle(f.Context(), lease, outbox.Settlement{Position: end}))
	return end
}

// session is a connection of its own, in a transaction.
func (f *fixture) session(statements ...string) *pgx.Conn {
	f.Helper()
	c, err := f.store.dial(f.Context())
	f.Must(err)
	f.Cleanup(func() { c.Close(context.Background()) })
	for _, statement := range append([]string{`SET search_path = ` + f.store.schema, `BEGIN`}, statements...) {
		_, err := c.Exec(f.Context(), statement)
		f.Must(err)
	}
	return c
}

// untilWaiting returns when somebody waits for a lock on the first bucket.
func (f *fixture) untilWaiting() {
	f.Helper()
	f.Until("somebody waits for the bucket", func() (waits bool) {
		f.Must(f.store.pool.QueryRow(f.Context(), `SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND relation = $1::text::regclass)`,
			f.store.schema+".uow_outbox_0").Scan(&waits))
		return waits
	})
}

func TestBucketsAreTruncated(t *testing.T) {
	f, lease := rotating(t)
	f.deliver(lease, "a", "b", "c", "d")
	f.wantTrim("four messages, one by one", 4, "[0 0 0 0]")
	if f.current() != 0 {
		t.Error("a small bucket was left")
	}
	end := f.deliver(lease, storetest.Names("a", 6)...)
	n, err := f.store.Trim(t.Context(), time.Unix(0, 0), 1000)
	if n != 0 || err != nil || f.current() != 0 {
		t.Errorf("of young messages %d were trimmed, %v; bucket %d is written to", n, err, f.current())
	}
	f.wantTrim("a large bucket is left", 0, "[6 0 0 0]")
	f.Must(f.Tx().Commit(t.Context(), appending("b", storetest.Names("b", 6)...)))
	f.wantTrim("the bucket that was left is emptied, the next is left", 6, "[0 6 0 0]")
	f.wantTrim("what no cursor has passed stays", 0, "[0 6 0 0]")
	stats, err := f.store.Stats(t.Context())
	if stats.End != end+6 || stats.Messages != 6 || err != nil {
		t.Errorf("got %+v, %v, want 6 messages up to %d", stats, err, end+6)
	}
	next := f.deliver(lease, storetest.Names("c", 3)...)
	f.wantTrim("with a small one behind", 9, "[0 0 0 0]")
	stats, err = f.store.Stats(t.Context())
	if stats.End != next || stats.Messages != 0 || err != nil {
		t.Errorf("got %+v, %v, want an empty log up to %d", stats, err, next)
	}
	if again := f.deliver(lease, "d"); again != next+1 {
		t.Errorf("the next message is at %d, want %d", again, next+1)
	}
}

// Nothing is deleted that a cursor has not passed, also when all buckets are full of it.
func TestBucketsWaitForCursors(t *testing.T) {
	f, lease := rotating(t)
	for i, left := range []string{"[6 0 0 0]", "[6 6 0 0]", "[6 6 6 0]", "[6 6 6 6]", "[6 6 6 12]"} {
		f.Must(f.Tx().Commit(t.Context(), appending(fmt.Sprint(i), storetest.Names(fmt.Sprint(i), 6)...)))
		f.wantTrim("with a cursor that stands still", 0, left)
	}
	f.Must(f.store.Settle(t.Context(), lease, outbox.Settlement{Position: 30}))
	f.wantTrim("after it has moved", 18, "[0 0 0 12]")
	if f.current() != 0 {
		t.Errorf("bucket %d is written to, want the next", f.current())
	}
}

// A bucket is looked at when its lock is held: what was committed while a trim has waited
// for that is seen, whatever the server's isolation is by default.
func TestCommitsThatATrimHasWaitedFor(t *testing.T) {
	for _, level := range []string{"read committed", "serializable"} {
		f := open(t, needServer(t)+"&default_transaction_isolation="+url.PathEscape(level), Options{Isolation: Serializable})
		f.store.enough, f.store.patience = 5, "1min"
		lease, err := f.store.Acquire(t.Context(), outbox.Claim{Cursor: "relay", Owner: "me", TTL: time.Hour})
		f.Must(err)
		f.deliver(lease, storetest.Names("a", 6)...)
		unit := f.Tx()
		f.Must(unit.Flush(t.Context(), appending("late", "late")))
		done, emptied := make(chan error, 1), false
		go func() {
			var err error
			emptied, err = f.store.empty(t.Context(), 0, later())
			done <- err
		}()
		f.untilWaiting()
		f.Must(unit.Commit(t.Context(), appending("late")))
		if err := <-done; emptied || err != nil || f.counts() != "[7 0 0 0]" {
			t.Errorf("%s: emptied: %v, %v; left are %s", level, emptied, err, f.counts())
		}
	}
}

// What is held keeps its bucket. When there is one in each, messages are deleted one by
// one, and what is held survives that too.
func TestParkedMessagesKeepTheirBuckets(t *testing.T) {
	f, lease := rotating(t)
	var parked []int64
	for i, left := range []string{"[6 0 0 0]", "[6 6 0 0]", "[6 6 6 0]"} {
		end := f.deliver(lease, storetest.Names(fmt.Sprint(i), 6)...)
		parked = append(parked, end-3)
		f.Must(f.store.Settle(t.Context(), lease, outbox.Settlement{}))
		if n, err := f.store.Replay(t.Context(), "relay", []int64{end - 3}); n != 1 || err != nil {
			t.Fatalf("replayed %d, %v, want what the log still has", n, err)
		}
		if n, err := f.store.Park(t.Context(), "relay", []int64{end - 3}, "no"); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		f.wantTrim("with a parked message", 0, left)
	}
	f.deliver(lease, storetest.Names("last", 6)...)
	f.wantTrim("with a parked message in each other bucket", 21, "[1 1 1 0]")
	held, err := f.store.Held(t.Context(), "relay", outbox.HeldFilter{})
	f.Must(err)
	var kept []int64
	for _, h := range held {
		kept = append(kept, h.Position)
	}
	if !slices.Equal(kept, parked) {
		t.Errorf("held are %v, want %v", kept, parked)
	}
	_, err = f.store.Discard(t.Context(), "relay", parked[1:2])
	f.Must(err)
	f.wantTrim("after one was discarded", 1, "[1 0 1 0]")
	if n, err := f.store.Replay(t.Context(), "relay", parked[1:2]); n != 0 || err != nil {
		t.Errorf("replayed %d, %v of a bucket that was emptied", n, err)
	}
}

// Who holds a message of a bucket, and has not committed yet, keeps it, and so does who
// has since the trim has looked.
func TestHoldsThatATrimCannotSee(t *testing.T) {
	f, lease := rotating(t)
	end := f.deliver(lease, storetest.Names("a", 6)...)
	f.wantTrim("a large bucket is left", 0, "[6 0 0 0]")
	holder := f.session(fmt.Sprintf(`INSERT INTO uow_outbox_held (cursor, position, key, state, attempts, reason)
		SELECT 'relay', position, '', 'parked', 0, '' FROM uow_outbox WHERE position = %d`, end))
	f.wantTrim("while it is held, unseen", 0, "[6 0 0 0]")
	_, err := holder.Exec(t.Context(), `COMMIT`)
	f.Must(err)
	emptied, err := f.store.empty(t.Context(), 0, later())
	if emptied || err != nil || f.counts() != "[6 0 0 0]" {
		t.Errorf("emptied a bucket that somebody needs: %v, %v", emptied, err)
	}
	if n := f.store.pool.Stat().NewConnsCount(); n > 2 {
		t.Errorf("%d connections were made: a refused trim has cost one", n)
	}
}

// A unit that is open, and has appended to a bucket that is to be emptied, keeps it; no
// other unit waits for anything meanwhile, though somebody waits for the bucket's lock.
func TestOpenUnitsHoldNobodyUp(t *testing.T) {
	f, lease := rotating(t)
	f.deliver(lease, storetest.Names("a", 6)...)
	unit := f.Tx()
	f.Must(unit.Flush(t.Context(), appending("open", "open")))
	f.wantTrim("beside an open unit its bucket is left", 0, "[6 0 0 0]")
	f.wantTrim("and its lock is given up", 0, "[6 0 0 0]")
	trimmed := make(chan error, 1)
	waiting, stop := context.WithCancel(t.Context())
	defer stop()
	other := f.session()
	go func() {
		_, err := other.Exec(waiting, `LOCK TABLE uow_outbox_0 IN ACCESS EXCLUSIVE MODE`)
		trimmed <- err
	}()
	f.untilWaiting()
	for i := range 3 {
		f.Must(f.Tx().Commit(t.Context(), appending(fmt.Sprint(i), fmt.Sprint(i))))
	}
	f.Must(unit.Rollback())
	f.Must(<-trimmed)
	other.Close(t.Context())
	unit = f.Tx()
	f.Must(unit.Flush(t.Context(), appending("open", "more")))
	f.wantTrim("and is emptied when it has ended, beside an open one", 6, "[0 3 0 0]")
	f.Must(unit.Commit(t.Context(), appending("open")))
	if got, _ := f.Drain(0); !slices.Equal(got, []string{"0", "1", "2", "more"}) {
		t.Errorf("got %v", got)
	}
}

// A position is given when the log's lock is held, and before the bucket's: an insert
// that has its position and waits for its bucket is waited for by who reads the log. When
// the bucket was truncated meanwhile its message is in it all the same.
func TestInsertThatWaitsForItsBucket(t *testing.T) {
	f := open(t, needServer(t), Options{})
	trimmer := f.session(`LOCK TABLE uow_outbox_0 IN ACCESS EXCLUSIVE MODE`)
	done := make(chan error, 1)
	first := f.Tx()
	go func() { done <- first.Commit(context.Background(), appending("1", "first")) }()
	f.untilWaiting()
	var given bool
	f.Must(f.store.pool.QueryRow(t.Context(), `SELECT is_called FROM `+f.store.schema+`.uow_outbox_position`).Scan(&given))
	if !given {
		t.Fatal("the insert has no position yet: the server takes the bucket's lock before")
	}
	if claims, err := f.store.holders(t.Context(), nil); len(claims) != 1 || err != nil {
		t.Errorf("there are %d claims, %v, want that of the insert", len(claims), err)
	}
	script(t, f.store, `SELECT setval('`+f.store.schema+`.uow_outbox_bucket', 1)`)
	f.Must(f.Tx().Commit(t.Context(), appending("2", "second")))
	for name, query := range map[string]string{
		"second": `SELECT id FROM uow_outbox_1`, "": `SELECT coalesce(max(id), '') FROM uow_outbox_0`,
	} {
		var id string
		f.Must(trimmer.QueryRow(t.Context(), query).Scan(&id))
		if id != name {
			t.Errorf("got %q, want %q", id, name)
		}
	}
	for _, statement := range []string{`TRUNCATE uow_outbox_0`, `COMMIT`} {
		_, err := trimmer.Exec(t.Context(), statement)
		f.Must(err)
	}
	f.Must(<-done)
	f.Until("both are there", func() bool { got, _ := f.Drain(0); return slices.Equal(got, []string{"first", "second"}) })
}

// The same insert, and a scan of what came after it.
func TestScanWaitsForWhoWaitsForItsBucket(t *testing.T) {
	f := open(t, needServer(t), Options{})
	f.Must(f.Tx().Commit(t.Context(), appending("0", "zeroth")))
	script(t, f.store, `ALTER TABLE `+f.store.schema+`.uow_outbox_0 ALTER COLUMN id SET NOT NULL,
		ADD CONSTRAINT stops CHECK (id <> 'first' OR pg_advisory_xact_lock(77, 1) IS NOT NULL)`)
	stopper := f.session(`SELECT pg_advisory_xact_lock(77, 1)`)
	done := make(chan error, 1)
	first := f.Tx()
	go func() { done <- first.Commit(context.Background(), appending("1", "first")) }()
	f.Until("the insert is stopped between its position and its row", func() bool {
		var waits bool
		f.Must(f.store.pool.QueryRow(t.Context(), `SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND locktype = 'advisory' AND classid = 77)`).Scan(&waits))
		return waits
	})
	f.Must(f.Tx().Commit(t.Context(), appending("2", "second")))
	if got, _ := f.Drain(0); !slices.Equal(got, []string{"zeroth"}) {
		t.Errorf("got %v, want what comes before the insert alone", got)
	}
	_, err := stopper.Exec(t.Context(), `COMMIT`)
	f.Must(err)
	f.Must(<-done)
	f.Until("the gap closes", func() bool {
		got, _ := f.Drain(0)
		return slices.Equal(got, []string{"zeroth", "first", "second"})
	})
}

// TestRotationUnderLoad has writers, a relay and a trim: each message is read once, in
// the order of positions, no row is deleted or dead, and the log stays short.
func TestRotationUnderLoad(t *testing.T) {
	const writers, most, kept, turns = 8, 5000, 200, 6
	schema := newSchema(t)
	f := open(t, needServer(t)+"&application_name="+schema, Options{MaxConns: 16, Schema: schema})
	f.store.enough = 50
	lease, err := f.store.Acquire(t.Context(), outbox.Claim{Cursor: "relay", Owner: "me", TTL: time.Hour})
	f.Must(err)
	var clock, emptied atomic.Int64 // a second for each message; trims that have emptied something
	var writing, rest sync.WaitGroup
	stop := make(chan struct{})
	for w := range writers {
		writing.Go(func() {
			for i := 0; i < most && emptied.Load() < turns; i++ {
				if err := f.append(fmt.Sprintf("%d-%d", w, i), clock.Add(1)); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	rest.Go(func() {
		for running := true; running; {
			select {
			case <-stop:
				running = false
			default:
			}
			n, err := f.store.Trim(context.Background(), time.Unix(clock.Load()-kept, 0), 10)
			if err != nil {
				t.Error(err)
				return
			}
			if n > 0 {
				emptied.Add(1)
			}
		}
	})
	var got []outbox.Message
	rest.Go(func() { got = f.relay(lease, stop) })
	writing.Wait()
	close(stop)
	rest.Wait()
	last, ids := int64(0), map[string]bool{}
	for _, m := range got {
		if m.Position <= last || ids[m.ID] {
			t.Fatalf("message %s at %d comes after %d", m.ID, m.Position, last)
		}
		last, ids[m.ID] = m.Position, true
	}
	n := int(clock.Load())
	if len(got) != n {
		t.Errorf("the relay got %d messages of %d", len(got), n)
	}
	t.Logf("left of %d messages are %s", n, f.counts())
	if emptied.Load() < turns {
		t.Errorf("%d trims of %d have emptied a bucket", emptied.Load(), turns)
	}
	f.wantNothingDead(n)
}

// append appends a message of a time.
func (f *fixture) append(id string, at int64) error {
	cs := appending(id, id)
	cs.Messages[0].CreatedAt = time.Unix(at, 0)
	tx, err := f.store.Begin(context.Background(), driver.TxOptions{})
	if err != nil {
		return err
	}
	return tx.Commit(context.Background(), cs)
}

// relay scans and settles until stop is closed and the end is reached.
func (f *fixture) relay(lease outbox.Lease, stop <-chan struct{}) (all []outbox.Message) {
	for after := int64(0); ; {
		stopping := false
		select {
		case <-stop:
			stopping = true
		default:
		}
		some, next, err := f.store.Scan(context.Background(), outbox.Query{After: after, Limit: 20})
		if err == nil && next > after {
			err = f.store.Settle(context.Background(), lease, outbox.Settlement{From: after, Position: next})
		}
		if err != nil {
			f.Error(err)
			return all
		}
		if stopping && next == after {
			return all
		}
		all, after = append(all, some...), next
	}
}

// wantNothingDead demands that the log's tables have never had an update or a delete. The
// sessions have the schema's name.
func (f *fixture) wantNothingDead(inserted int) {
	f.Helper()
	f.quiet()
	f.store.pool.Reset()
	f.Until("the sessions have ended, and said what they did", func() (ended bool) {
		f.Must(f.store.pool.QueryRow(f.Context(), `SELECT NOT EXISTS (SELECT FROM pg_stat_activity
			WHERE application_name = $1 AND pid <> pg_backend_pid())`, unquote(f.store.schema)).Scan(&ended))
		return ended
	})
	var n, changed, dead int
	f.Must(f.store.pool.QueryRow(f.Context(), `SELECT sum(n_tup_ins), sum(n_tup_del + n_tup_upd), sum(n_dead_tup)
		FROM pg_stat_all_tables WHERE schemaname = $1 AND relname = ANY($2)`, unquote(f.store.schema), bucketNames()).Scan(&n, &changed, &dead))
	if n < inserted {
		f.Errorf("the server knows of %d messages of %d", n, inserted)
	}
	if changed != 0 || dead != 0 {
		f.Errorf("%d rows were changed or deleted, and %d are dead", changed, dead)
	}
}
