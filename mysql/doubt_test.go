package mysql

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/uow-go/uow/driver"
	"github.com/uow-go/uow/internal/pause"
)

// shapes are the ways in which a unit can have come to its commit.
func shapes() map[string]func(f *fixture, tx driver.Tx) error {
	return map[string]func(f *fixture, tx driver.Tx) error{
		"only writes": func(*fixture, driver.Tx) error { return nil },
		"has read": func(f *fixture, tx driver.Tx) error {
			_, err := tx.Get(f.Context(), "documents", []string{"there"})
			return err
		},
		"has flushed": func(f *fixture, tx driver.Tx) error {
			return tx.Flush(f.Context(), appending("flushed", "m"))
		},
	}
}

// TestCutCommits cuts the connection at each packet of a commit, before and after it
// was forwarded, and demands that what the commit says, or Resolve where the commit
// can't say, is what is in the database.
func TestCutCommits(t *testing.T) {
	cuts, doubts, committed := 0, 0, 0
	for level, options := range map[string]Options{"ReadCommitted": {}, "RepeatableRead": {Isolation: RepeatableRead}} {
		for shape, begin := range shapes() {
			t.Run(level+"/"+shape, func(t *testing.T) {
				p := newProxy(t)
				dsn := newDatabase(t)
				f := open(t, through(t, dsn, p.Address()), options)
				direct := open(t, dsn, Options{})
				f.quiet()
				f.Insert("there")
				for at := 0; ; at++ {
					reached := false
					for _, v := range []verdict{cutBefore, cutAfter} {
						unit := fmt.Sprintf("%s %s %d %d", level, shape, at, v)
						tx := f.Tx()
						f.Must(begin(f, tx))
						here := p.At(at, v)
						cs := insert(unit, unit)
						if shape == "has flushed" { // one unit has one marker
							cs.Unit = "flushed"
						}
						err := tx.Commit(t.Context(), cs)
						p.Watch(nil)
						reached = reached || here.Load()
						f.store.db.SetMaxIdleConns(0) // connections that were cut after their last answer
						f.store.db.SetMaxIdleConns(16)
						if !reached {
							f.Must(err)
							return
						}
						cuts++
						if errors.Is(err, driver.ErrInDoubt) {
							doubts++
						}
						if direct.truth(cs.Unit, unit, err) {
							committed++
						}
						if shape == "has flushed" {
							execute(t, direct.store, "DELETE FROM uow_units")
						}
					}
				}
			})
		}
	}
	t.Logf("%d cuts: %d in doubt, %d committed", cuts, doubts, committed)
	if cuts < 60 || doubts == 0 || committed == 0 || committed == cuts {
		t.Errorf("%d cuts, %d in doubt, %d committed: the proxy does not do its work", cuts, doubts, committed)
	}
}

// truth demands that what a commit of a row said is so, now and later.
func (f *fixture) truth(unit, id string, err error) (committed bool) {
	f.Helper()
	said := err == nil
	if errors.Is(err, driver.ErrInDoubt) {
		if said, err = f.store.Resolve(f.Context(), unit); err != nil {
			f.Fatalf("%s: resolve: %v", id, err)
		}
	}
	if got := f.Has(id); got != said {
		f.Errorf("%s: the answer was %v (%v), the truth is %v", id, said, err, got)
	}
	if again, err := f.store.Resolve(f.Context(), unit); err != nil || again != said {
		f.Errorf("%s: asked again, the answer is %v, %v, and was %v", id, again, err, said)
	}
	return said
}

// TestResolveFencesALateCommit holds a commit back on its way to the server, or on
// the server, and resolves it meanwhile.
func TestResolveFencesALateCommit(t *testing.T) {
	p := newProxy(t)
	dsn := newDatabase(t)
	f := open(t, through(t, dsn, p.Address()), Options{CommitTimeout: 200 * time.Millisecond})
	direct := open(t, dsn, Options{})
	f.quiet()
	f.Insert("warm")
	held, arrived := make(chan struct{}), make(chan struct{})
	release := sync.OnceFunc(func() { close(held) })
	defer release()
	p.Watch(func(m packet) verdict {
		if m.client && bytes.Contains(m.body, []byte("uow_units")) {
			close(arrived)
			<-held
		}
		return forward
	})
	if err := f.Tx().Commit(t.Context(), insert("late", "late")); !errors.Is(err, driver.ErrInDoubt) {
		t.Fatalf("got %v, want ErrInDoubt", err)
	}
	<-arrived
	if committed, err := direct.store.Resolve(t.Context(), "late"); committed || err != nil {
		t.Fatalf("got %v, %v, want not committed", committed, err)
	}
	release()
	p.Watch(nil)
	direct.Until("the server is done with it", func() bool { return direct.connections() == 0 })
	if direct.Has("late") {
		t.Error("a unit that was resolved as not committed was committed")
	}
}

// connections counts the server's sessions that are in a transaction, apart from the
// one that asks.
func (f *fixture) connections() (n int) {
	f.Helper()
	f.Must(pause.For(f.Context(), 150*time.Millisecond)) // what the server shows is up to 100 ms old, and not made anew while it is read
	f.Must(f.store.db.QueryRow(`SELECT COUNT(*) FROM information_schema.innodb_trx t JOIN information_schema.processlist p
		ON p.id = t.trx_mysql_thread_id WHERE p.db = DATABASE() AND p.id <> CONNECTION_ID()`).Scan(&n))
	return n
}

// TestResolveWaitsForACommit has a commit that has written its marker and waits for
// another row.
func TestResolveWaitsForACommit(t *testing.T) {
	for _, commit := range []bool{true, false} {
		f := open(t, "", Options{})
		marked := f.Tx()
		f.Must(marked.Flush(t.Context(), appending("unit", "m")))
		type answer struct {
			committed bool
			err       error
		}
		answers := make(chan answer, 1)
		go func() {
			committed, err := f.store.Resolve(context.Background(), "unit")
			answers <- answer{committed, err}
		}()
		f.Until("Resolve waits", func() bool { return f.waiting() > 0 })
		if commit {
			f.Must(marked.Commit(t.Context(), &driver.ChangeSet{Unit: "unit"}))
		} else {
			f.Must(marked.Rollback())
		}
		if got := <-answers; got.err != nil || got.committed != commit {
			t.Errorf("got %v, %v, want %v", got.committed, got.err, commit)
		}
	}
}

// waiting counts transactions of the database that wait for a lock.
func (f *fixture) waiting() (n int) {
	f.Helper()
	f.Must(pause.For(f.Context(), 150*time.Millisecond)) // what the server shows is up to 100 ms old, and not made anew while it is read
	f.Must(f.store.db.QueryRow(`SELECT COUNT(*) FROM information_schema.innodb_trx t JOIN information_schema.processlist p
		ON p.id = t.trx_mysql_thread_id WHERE p.db = DATABASE() AND t.trx_state = 'LOCK WAIT'`).Scan(&n))
	return n
}

func TestResolveOfAnUnknownUnit(t *testing.T) {
	f := open(t, "", Options{})
	for range 2 {
		if committed, err := f.store.Resolve(t.Context(), "never"); committed || err != nil {
			t.Errorf("got %v, %v, want not committed", committed, err)
		}
	}
	if err := f.Tx().Commit(t.Context(), insert("never", "a")); !errors.Is(err, ErrFenced) {
		t.Errorf("the commit of a fenced unit: got %v, want ErrFenced", err)
	}
	if f.Has("a") {
		t.Error("a fenced unit was committed")
	}
}

func TestOldMarkersAreDeleted(t *testing.T) {
	f := open(t, "", Options{})
	units := make([]string, 10)
	for i := range units {
		units[i] = fmt.Sprintf("019a0000-0000-7000-8000-%012d", i)
		f.Must(f.Tx().Commit(t.Context(), insert(units[i], units[i])))
	}
	execute(t, f.store, `UPDATE uow_units SET at = at - INTERVAL 2 HOUR WHERE unit < ?`, key(units[5]))
	for _, want := range []int64{3, 2, 0} {
		if n, err := f.store.forgetMarkers(t.Context(), 3); n != want || err != nil {
			t.Errorf("deleted %d, %v, want %d", n, err, want)
		}
	}
	if _, err := f.store.Resolve(t.Context(), units[2]); !errors.Is(err, ErrForgotten) {
		t.Errorf("a unit whose marker was deleted: got %v, want ErrForgotten", err)
	}
	if committed, err := f.store.Resolve(t.Context(), units[7]); !committed || err != nil {
		t.Errorf("a young unit: got %v, %v, want committed", committed, err)
	}
}
