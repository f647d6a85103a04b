package postgres

import (
	"context"
	"testing"

	"github.com/uow-go/uow"
)

// TestForeignWriteIsNoConflict has somebody write to a unit's row without raising its
// version, after the unit has read it.
func TestForeignWriteIsNoConflict(t *testing.T) {
	f := open(t, needServer(t), Options{})
	f.Insert("a")
	foreign := func(ctx context.Context) {
		_, err := f.store.pool.Exec(ctx, `UPDATE `+f.store.schema+`."documents" SET body = body`)
		f.Must(err)
	}
	err := f.DB.Do(t.Context(), func(ctx context.Context, u *uow.Unit) error {
		d, err := f.Documents.In(u).Get(ctx, "a")
		if err != nil {
			return err
		}
		foreign(ctx)
		d.Add(1)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	f.Must(f.DB.View(t.Context(), func(ctx context.Context, v *uow.View) error {
		d, err := f.Documents.From(v).Get(ctx, "a")
		if err == nil && d.Count != 1 {
			t.Errorf("it has counted to %d, want 1", d.Count)
		}
		return err
	}))
}
