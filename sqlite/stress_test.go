package sqlite

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/outbox"
)

// TestStress has units of all kinds at once change one counter each, and compares
// what was acknowledged with what is there.
func TestStress(t *testing.T) {
	db, s, documents := openDocuments(t, temporary(t), Options{Readers: 4})
	const goroutines, each = 16, 60
	if err := db.Do(t.Context(), func(_ context.Context, u *uow.Unit) error {
		for g := range goroutines {
			if err := documents.In(u).Add(&document{ID: fmt.Sprint("d", g)}); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	refused := errors.New("refused")
	var messages atomic.Int64
	var wg sync.WaitGroup
	for g := range goroutines {
		wg.Go(func() {
			acknowledged := 0
			for range each {
				kind := rand.IntN(6)
				ctx, cancel := context.WithCancel(t.Context())
				if kind == 0 {
					ctx, cancel = context.WithTimeout(t.Context(), time.Duration(rand.IntN(2000))*time.Microsecond)
				}
				err := db.Do(ctx, func(ctx context.Context, u *uow.Unit) error {
					d, err := documents.In(u).Get(ctx, fmt.Sprint("d", g))
					if err != nil {
						return err
					}
					d.Count++
					if err := outbox.Append(u, outbox.Message{Type: "Counted"}); err != nil {
						return err
					}
					switch kind {
					case 1:
						return refused
					case 2:
						return u.Flush(ctx)
					case 3:
						return Tx(u).QueryRowContext(ctx, `SELECT count(*) FROM documents`).Scan(new(int))
					case 4:
						return errors.Join(u.Flush(ctx), refused)
					}
					return nil
				})
				cancel()
				switch {
				case err == nil:
					acknowledged++
					messages.Add(1)
				case !errors.Is(err, refused) && !errors.Is(err, context.DeadlineExceeded):
					t.Errorf("kind %d: %v", kind, err)
				}
			}
			if err := db.Do(t.Context(), func(ctx context.Context, u *uow.Unit) error {
				d, err := documents.In(u).Get(ctx, fmt.Sprint("d", g))
				if err == nil && d.Count != acknowledged {
					err = fmt.Errorf("counted to %d, acknowledged %d", d.Count, acknowledged)
				}
				return err
			}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	stats, err := s.Stats(t.Context())
	if err != nil || stats.Messages != messages.Load() || stats.End != messages.Load() {
		t.Errorf("got %+v, %v, want %d messages", stats, err, messages.Load())
	}
	if n := inUse(s); n != 0 {
		t.Errorf("%d connections in use, want none", n)
	}
}
