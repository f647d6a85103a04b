package postgres

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/uow-go/uow/driver"
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

// TestCutCommits cuts the connection at each message of a commit, before and after
// it was forwarded, and demands that what the commit says, or Resolve where the
// commit can't say, is what is in the database.
func TestCutCommits(t *testing.T) {
	cuts, doubts, committed := 0, 0, 0
	for level, options := range map[string]Options{"ReadCommitted": {}, "RepeatableRead": {Isolation: RepeatableRead}} {
		for shape, begin := range shapes() {
			t.Run(level+"/"+shape, func(t *testing.T) {
				p := newProxy(t)
				f := open(t, through(t, p.Address()), options)
				direct := open(t, needServer(t), Options{Schema: unquote(f.store.schema)})
				f.quiet()
				f.Insert("there")
				for at := 0; ; at++ {
					reached := false
					for _, v := range []verdict{cutBefore, cutAfter} {
						unit := fmt.Sprintf("%s %s %d %d", level, shape, at, v)
						f.store.pool.Reset() // connections that were cut after their last answer
						tx := f.Tx()
						f.Must(begin(f, tx))
						here := p.At(at, v)
						err := tx.Commit(t.Context(), insert(unit, unit))
						p.Watch(nil)
						reached = reached || here.Load()
						if !reached {
							f.Must(err)
							return
						}
						cuts++
						if errors.Is(err, driver.ErrInDoubt) {
							doubts++
						}
						if direct.truth(unit, err) {
							committed++
						}
					}
				}
			})
		}
	}
	t.Logf("%d cuts: %d in doubt, %d committed", cuts, doubts, committed)
	if cuts < 100 || doubts == 0 || committed == 0 || committed == cuts {
		t.Errorf("%d cuts, %d in doubt, %d committed: the proxy does not do its work", cuts, doubts, committed)
	}
}

// truth demands that what a commit said is so, now and later.
func (f *fixture) truth(unit string, err error) (committed bool) {
	f.Helper()
	said := err == nil
	if errors.Is(err, driver.ErrInDoubt) {
		if said, err = f.store.Resolve(f.Context(), unit); err != nil {
			f.Fatalf("%s: resolve: %v", unit, err)
		}
	}
	if got := f.Has(unit); got != said {
		f.Errorf("%s: the answer was %v (%v), the truth is %v", unit, said, err, got)
	}
	if again, err := f.store.Resolve(f.Context(), unit); err != nil || again != said {
		f.Errorf("%s: asked again, the answer is %v, %v, and was %v", unit, again, err, said)
	}
	return said
}

// TestResolveFencesALateCommit holds a commit back on its way to the server.
func TestResolveFencesALateCommit(t *testing.T) {
	for _, at := range []struct {
		name string
		hold byte // the message that is held, with all after it
		skip int  // how many of its kind pass before
		want bool
	}{
		{"before anything arrived", 'P', 0, false},
		{"before anything arrived, prepared", 'B', 0, false},
		{"before the marker", 'E', 5, false}, // after BEGIN, and four statements for the row
		{"before COMMIT", 'E', 6, true},
	} {
		t.Run(at.name, func(t *testing.T) {
			p := newProxy(t)
			f := open(t, through(t, p.Address()), Options{Isolation: RepeatableRead, CommitTimeout: 200 * time.Millisecond})
			direct := open(t, needServer(t), Options{Schema: unquote(f.store.schema)})
			if at.hold != 'P' {
				f.Insert("warm")
			}
			held, skip := make(chan struct{}), at.skip
			release := sync.OnceFunc(func() { close(held) })
			defer release()
			arrived := make(chan struct{})
			p.Watch(func(m message) verdict {
				if !m.client || m.kind != at.hold {
					return forward
				}
				if skip--; skip < 0 {
					if skip == -1 {
						close(arrived)
					}
					<-held
				}
				return forward
			})
			err := f.Tx().Commit(t.Context(), insert("late", "late"))
			if !errors.Is(err, driver.ErrInDoubt) {
				t.Fatalf("got %v, want ErrInDoubt", err)
			}
			<-arrived
			type answer struct {
				committed bool
				err       error
			}
			answers := make(chan answer, 1)
			go func() {
				committed, err := direct.store.Resolve(t.Context(), "late")
				answers <- answer{committed, err}
			}()
			if at.want { // it must wait for the transaction that has the key
				direct.Until("Resolve waits", func() bool { return direct.waiting() > 0 })
				release()
			}
			if got := <-answers; got.err != nil || got.committed != at.want {
				t.Errorf("got %v, %v, want %v", got.committed, got.err, at.want)
			}
			if !at.want {
				release()
			}
			p.Watch(nil)
			direct.Until("the server is done with it", func() bool { return direct.backends() == 0 })
			if direct.Has("late") != at.want {
				t.Errorf("the row is there: %v, want %v", !at.want, at.want)
			}
		})
	}
}

// waiting counts transactions that wait for the marker of another.
func (f *fixture) waiting() (n int) {
	f.Helper()
	f.Must(f.store.pool.QueryRow(f.Context(), `SELECT count(*) FROM pg_stat_activity
		WHERE wait_event_type = 'Lock' AND query LIKE '%' || $1 || '.uow_units%'`, f.store.schema).Scan(&n))
	return n
}

// backends counts sessions that are in a transaction which touches the table.
func (f *fixture) backends() (n int) {
	f.Helper()
	f.Must(f.store.pool.QueryRow(f.Context(), `SELECT count(*) FROM pg_locks
		WHERE relation = $1::text::regclass AND mode = 'RowExclusiveLock'`, f.store.schema+".documents").Scan(&n))
	return n
}

func TestResolveOfAnUnknownUnit(t *testing.T) {
	f := open(t, needServer(t), Options{})
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
	f := open(t, needServer(t), Options{})
	units := make([]string, 10)
	for i := range units {
		units[i] = fmt.Sprintf("019a0000-0000-7000-8000-%012d", i)
		f.Must(f.Tx().Commit(t.Context(), insert(units[i], units[i])))
	}
	script(t, f.store, `UPDATE `+f.store.schema+`.uow_units SET at = at - interval '2 hours' WHERE unit < '`+units[5]+`'`)
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
