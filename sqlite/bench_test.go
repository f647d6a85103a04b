package sqlite

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/outbox"
)

type document struct {
	ID    string
	Count int
	Note  string
}

// BenchmarkCommit reports how many units share a transaction.
func BenchmarkCommit(b *testing.B) {
	for _, goroutines := range []int{1, 8, 32, 256} {
		b.Run(fmt.Sprintf("goroutines=%d", goroutines), func(b *testing.B) {
			documents := uow.NewCollection[document]("documents")
			db, err := Open(b.Context(), filepath.Join(b.TempDir(), "bench.db"), uow.Config{Collections: []uow.AnyCollection{documents}})
			if err != nil {
				b.Fatal(err)
			}
			defer db.Close()
			err = db.Do(b.Context(), func(_ context.Context, u *uow.Unit) error {
				for g := range goroutines {
					if err := documents.In(u).Add(&document{ID: fmt.Sprint("d", g), Note: strings.Repeat("n", 250)}); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				b.Fatal(err)
			}
			store := db.Store().(*Store)
			before := store.writer.committed.Load()
			payload := []byte(strings.Repeat("p", 300))
			b.ReportAllocs()
			b.ResetTimer()
			var wg sync.WaitGroup
			for g := range goroutines {
				wg.Go(func() {
					for range b.N / goroutines {
						err := db.Do(b.Context(), func(ctx context.Context, u *uow.Unit) error {
							d, err := documents.In(u).Get(ctx, fmt.Sprint("d", g))
							if err != nil {
								return err
							}
							d.Count++
							return outbox.Append(u, outbox.Message{Type: "Counted", Key: d.ID, Payload: payload})
						})
						if err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "units/s")
			b.ReportMetric(float64(b.N)/float64(store.writer.committed.Load()-before), "units/commit")
		})
	}
}
