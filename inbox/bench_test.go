package inbox_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/uow-go/uow"
	"github.com/uow-go/uow/inbox"
	"github.com/uow-go/uow/postgres"
	"github.com/uow-go/uow/sqlite"
)

// BenchmarkHandle handles messages that each change a document of their own. What a
// Claim costs is the difference to a unit without an inbox. PostgreSQL is that of
// UOW_POSTGRES, or of 127.0.0.1:5432.
func BenchmarkHandle(b *testing.B) {
	for _, store := range []struct {
		name string
		open func(b *testing.B, cfg uow.Config) *uow.DB
	}{{"sqlite", benchSQLite}, {"postgres", benchPostgres}} {
		for _, workers := range []int{1, 16} {
			for _, way := range []string{"no inbox", "BeforeHandling", "AtCommit", "BeforeHandling in order", "duplicates"} {
				b.Run(fmt.Sprintf("%s/%d at once/%s", store.name, workers, way), func(b *testing.B) {
					records, counters := inbox.NewRecords(), uow.NewCollection[counter]("counters")
					db := store.open(b, uow.Config{Collections: append(records.Collections(), counters)})
					benchHandle(b, db, records, counters, workers, way)
				})
			}
		}
	}
}

func benchHandle(b *testing.B, db *uow.DB, records *inbox.Records, counters *uow.Collection[counter], workers int, way string) {
	cfg := inbox.Config{Consumer: "bench"}
	switch way {
	case "AtCommit":
		cfg.Claim = inbox.AtCommit
	case "BeforeHandling in order":
		cfg.Order = inbox.ReportDisorder
	}
	in, err := inbox.New(db, records, cfg)
	if err != nil {
		b.Fatal(err)
	}
	var next atomic.Int64
	b.SetParallelism(workers / 2)
	if workers == 1 {
		b.SetParallelism(0)
	}
	handle := func(n int64) error {
		id := fmt.Sprint("message ", n)
		if way == "duplicates" {
			id = "message"
		}
		fn := func(ctx context.Context, u *uow.Unit) error {
			known, err := counters.In(u).GetMany(ctx, fmt.Sprint("c", n%1000))
			if err != nil || len(known) == 1 {
				if err == nil {
					known[0].N++
				}
				return err
			}
			return counters.In(u).Add(&counter{ID: fmt.Sprint("c", n%1000), N: 1})
		}
		if way == "no inbox" {
			return db.Do(b.Context(), fn)
		}
		_, err := in.Handle(b.Context(), inbox.Message{ID: id, Stream: fmt.Sprint("s", n), Sequence: 1}, fn)
		return err
	}
	if workers == 1 {
		for b.Loop() {
			if err := handle(next.Add(1)); err != nil {
				b.Fatal(err)
			}
		}
		return
	}
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := handle(next.Add(1)); err != nil {
				b.Error(err)
			}
		}
	})
}

func benchSQLite(b *testing.B, cfg uow.Config) *uow.DB {
	db, err := sqlite.Open(b.Context(), filepath.Join(b.TempDir(), "bench.db"), cfg)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { db.Close() })
	return db
}

var schemas atomic.Int64

func benchPostgres(b *testing.B, cfg uow.Config) *uow.DB {
	dsn := os.Getenv("UOW_POSTGRES")
	if dsn == "" {
		dsn = "postgres://postgres@127.0.0.1:5432/test?sslmode=disable"
	}
	c, err := pgx.Connect(b.Context(), dsn)
	if err != nil {
		b.Skipf("there is no PostgreSQL: set UOW_POSTGRES, or start one at 127.0.0.1:5432 (%v)", err)
	}
	schema := fmt.Sprintf("uow_inbox_bench_%d_%d", os.Getpid(), schemas.Add(1))
	b.Cleanup(func() {
		_, _ = c.Exec(context.Background(), "DROP SCHEMA IF EXISTS "+schema+" CASCADE")
		c.Close(context.Background())
	})
	db, err := postgres.Options{Schema: schema}.Open(b.Context(), dsn, cfg)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { db.Close() })
	return db
}

type counter struct {
	ID string
	N  int
}
