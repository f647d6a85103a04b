package files

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/outbox"
)

// BenchmarkUnits measures units that load, change and save a row and append a
// message, each goroutine on a row of its own.
func BenchmarkUnits(b *testing.B) {
	for _, callers := range []int{1, 8, 32} {
		b.Run(fmt.Sprint("callers=", callers), func(b *testing.B) {
			docs := newDocuments()
			db, err := Open(b.Context(), b.TempDir(), uow.Config{Collections: []uow.AnyCollection{docs}})
			if err != nil {
				b.Fatal(err)
			}
			defer db.Close()
			unit := func(id string) error {
				return db.Do(context.Background(), func(ctx context.Context, u *uow.Unit) error {
					d, err := docs.In(u).Get(ctx, id)
					if err != nil {
						return err
					}
					d.Count++
					return outbox.Append(u, outbox.Message{Type: "Counted", Key: id, Payload: []byte(`{"by":1}`)})
				})
			}
			for c := range callers {
				err := db.Do(b.Context(), func(_ context.Context, u *uow.Unit) error {
					return docs.In(u).Add(&document{ID: fmt.Sprint(c), Note: "a note of some length, as they have"})
				})
				if err != nil {
					b.Fatal(err)
				}
			}
			b.ResetTimer()
			var wg sync.WaitGroup
			var left atomic.Int64
			left.Store(int64(b.N))
			for c := range callers {
				wg.Go(func() {
					for left.Add(-1) >= 0 {
						if err := unit(fmt.Sprint(c)); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "units/s")
		})
	}
}
