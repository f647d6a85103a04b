package postgres

import (
	"context"
	"errors"
	"testing"

	"github.com/uow-go/uow"
)

// An index of a table that has rows is made by hand as docs/existing-schema.md says,
// and keeps versions and events.
func TestIndexMadeByHand(t *testing.T) {
	o := Options{Schema: newSchema(t)}
	before := uow.NewCollection[parcel]("parcels")
	db, err := o.Open(t.Context(), needServer(t), uow.Config{Collections: []uow.AnyCollection{before}})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Do(t.Context(), func(_ context.Context, u *uow.Unit) error {
		return errors.Join(before.In(u).Add(&parcel{ID: "a", Owner: "alice"}), before.In(u).Add(&parcel{ID: "b", Owner: "bob"}))
	}); err != nil {
		t.Fatal(err)
	}
	after := parcels()
	cfg := uow.Config{Collections: []uow.AnyCollection{after}}
	if _, err := o.Open(t.Context(), needServer(t), cfg); !errors.Is(err, ErrMismatch) {
		t.Fatalf("before: got %v, want ErrMismatch", err)
	}
	script(t, db.Store().(*Store), `SET search_path = `+db.Store().(*Store).schema+`;
		ALTER TABLE parcels ADD COLUMN owner text COLLATE "C";
		UPDATE parcels SET owner = body->>'Owner';
		CREATE UNIQUE INDEX "parcels.owner" ON parcels (owner)`)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if db, err = o.Open(t.Context(), needServer(t), cfg); err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.View(t.Context(), func(ctx context.Context, v *uow.View) error {
		found, err := after.From(v).Find(ctx, uow.Query{Where: []uow.Condition{uow.Equal("owner", "bob")}})
		if err == nil && (len(found) != 1 || found[0].ID != "b") {
			t.Errorf("found %v", found)
		}
		return err
	}); err != nil {
		t.Error(err)
	}
}
