package mysql

import (
	"testing"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/driver"
	"github.com/uow-go/uow/internal/groupcommit/grouptest"
	"github.com/uow-go/uow/internal/storetest"
)

type document = storetest.Document

// fixture is a database with one collection.
type fixture struct {
	*storetest.Fixture
	dsn   string
	store *Store
}

// open opens a database of its own, or the one that the dsn names.
func open(t *testing.T, dsn string, options Options) *fixture {
	t.Helper()
	if dsn == "" && options.DB == nil {
		dsn = newDatabase(t)
	}
	f := storetest.New(t, func(cfg uow.Config) (*uow.DB, error) { return options.Open(t.Context(), dsn, cfg) })
	return &fixture{f, dsn, f.Store.(*Store)}
}

func insert(unit, id string, messages ...string) *driver.ChangeSet {
	return grouptest.Insert(unit, id, messages...)
}

func appending(unit string, messages ...string) *driver.ChangeSet {
	return grouptest.Appending(unit, messages...)
}

// quiet ends what the store does in the background, which would talk in between.
func (f *fixture) quiet() {
	f.store.stop()
	f.store.work.Wait()
}
