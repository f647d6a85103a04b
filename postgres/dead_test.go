package postgres

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/uow-go/uow"
)

// TestDeadConnections ends the server's side of all pooled connections, as a restart
// does: no unit notices.
func TestDeadConnections(t *testing.T) {
	for name, crowd := range map[string]int32{"alone": crowdFrom, "crowd": 0} {
		t.Run(name, func(t *testing.T) {
			direct := open(t, needServer(t), Options{})
			f := open(t, needServer(t), Options{Schema: unquote(direct.store.schema), MaxConns: 5})
			f.store.crowd.Limit = crowd
			f.quiet()
			f.store.wakes.ctx = t.Context() // reads in a crowd go on
			f.Insert("a")
			n := 0
			for what, fn := range map[string]func() error{
				"load, change, save": func() error { return f.Change("a") },
				"only writes": func() error {
					n++
					return f.DB.Do(t.Context(), func(_ context.Context, u *uow.Unit) error {
						return f.Documents.In(u).Add(&document{ID: fmt.Sprint("new", n)})
					})
				},
				"a flush": func() error {
					n++
					return f.DB.Do(t.Context(), func(ctx context.Context, u *uow.Unit) error {
						f.Must(f.Documents.In(u).Add(&document{ID: fmt.Sprint("new", n)}))
						return u.Flush(ctx)
					})
				},
				"own SQL": func() error {
					return f.DB.Do(t.Context(), func(ctx context.Context, u *uow.Unit) error {
						_, err := Tx(u).Exec(ctx, `SELECT 1`)
						return err
					})
				},
			} {
				pids := f.fill()
				var left int
				f.Must(direct.store.pool.QueryRow(t.Context(), `SELECT count(pg_terminate_backend(pid)) FROM unnest($1::int[]) AS pid`, pids).Scan(&left))
				direct.Until("the backends are gone", func() bool {
					f.Must(direct.store.pool.QueryRow(t.Context(), `SELECT count(*) FROM pg_stat_activity WHERE pid = ANY($1)`, pids).Scan(&left))
					return left == 0
				})
				if err := fn(); err != nil {
					t.Errorf("%s: %v", what, err)
				}
			}
		})
	}
}

// fill makes the pool have all its connections, used ones, and returns the ids of
// their backends.
func (f *fixture) fill() (pids []int32) {
	f.Helper()
	var wg sync.WaitGroup
	var mu sync.Mutex
	all := make(chan struct{})
	for range f.store.pool.Config().MaxConns {
		wg.Go(func() {
			c, err := f.store.pool.Acquire(f.Context())
			if err != nil {
				f.Error(err)
				return
			}
			defer c.Release()
			if _, err := f.store.run(f.Context(), c.Conn(), []step{plain(newStatement(`SELECT 1`))}); err != nil {
				f.Error(err)
			}
			mu.Lock()
			if pids = append(pids, int32(c.Conn().PgConn().PID())); len(pids) == int(f.store.pool.Config().MaxConns) {
				close(all)
			}
			mu.Unlock()
			<-all
		})
	}
	wg.Wait()
	return pids
}
