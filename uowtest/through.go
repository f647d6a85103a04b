package uowtest

import (
	"context"

	"github.com/uow-go/uow"
)

// through opens the check's database once more, with faults in between. Its
// commits can be in doubt, whatever the store. It is not to be closed.
func (k *kit) through(around Around, change func(cfg *uow.Config)) *uow.DB {
	k.Helper()
	cfg := k.config()
	if change != nil {
		change(&cfg)
	}
	db, err := FaultyDB(k.Context(), k.db, cfg, Faults{Around: around, Doubt: true})
	k.must("opening the database once more", err)
	return db
}

// doWith runs the unit that a check is about, in a database of its own.
func (k *kit) doWith(ctx context.Context, db *uow.DB, fn func(ctx context.Context, u *uow.Unit) error) error {
	if k.h.do != nil {
		return k.h.do(ctx, db, fn)
	}
	return db.Do(ctx, fn)
}
