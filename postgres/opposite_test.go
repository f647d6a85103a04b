package postgres

import (
	"context"
	"strings"
	"sync"
	"testing"

	"github.com/uow-go/uow"
)

// TestInsertMeetsARemoval holds an insert back on its way, while the row that it can't
// see yet is removed: both must take the row before what is remembered of it, or each
// waits for the other.
func TestInsertMeetsARemoval(t *testing.T) {
	p := newProxy(t)
	f := open(t, through(t, p.Address()), Options{Isolation: RepeatableRead})
	direct := open(t, needServer(t), Options{Schema: unquote(f.store.schema)})
	f.quiet()
	f.Insert("warm")
	held, arrived := make(chan struct{}), make(chan struct{})
	release, arrive := sync.OnceFunc(func() { close(held) }), sync.OnceFunc(func() { close(arrived) })
	defer release()
	removed := make(chan error, 1)
	err := f.DB.Do(t.Context(), func(ctx context.Context, u *uow.Unit) error {
		if got, err := f.Documents.In(u).GetMany(ctx, "x"); err != nil || len(got) > 0 {
			t.Fatalf("got %v, %v, want no document", got, err)
		}
		direct.Insert("x")
		executes := 0
		p.Watch(func(m message) verdict {
			if !m.client || m.kind != 'E' {
				return forward
			}
			if executes++; executes == 2 { // what is first has been done
				arrive()
				<-held
			}
			return forward
		})
		go func() {
			<-arrived
			removed <- direct.DB.Do(context.Background(), func(ctx context.Context, u *uow.Unit) error {
				d, err := direct.Documents.In(u).Get(ctx, "x")
				if err != nil {
					return err
				}
				return direct.Documents.In(u).Remove(d)
			})
		}()
		go func() {
			<-arrived
			direct.Until("the removal waits, or is done", func() bool {
				return len(removed) > 0 || direct.waitingFor("uow_tombstones") > 0 || direct.waitingFor("documents") > 0
			})
			release()
		}()
		return f.Documents.In(u).Add(&document{ID: "x"})
	})
	p.Watch(nil)
	if other := <-removed; isDeadlock(err) || isDeadlock(other) {
		t.Errorf("a deadlock: the insert got %v, the removal %v", err, other)
	}
}

func isDeadlock(err error) bool {
	return err != nil && (code(err) == codeDeadlock || strings.Contains(err.Error(), codeDeadlock))
}

// waitingFor counts sessions that wait for a lock in a statement about a table.
func (f *fixture) waitingFor(table string) (n int) {
	f.Helper()
	f.Must(f.store.pool.QueryRow(f.Context(), `SELECT count(*) FROM pg_stat_activity
		WHERE wait_event_type = 'Lock' AND query LIKE '%' || $1 || '.%' || $2 || '%'`, f.store.schema, table).Scan(&n))
	return n
}
