package postgres

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
	store *Store
}

// open opens a database in a schema of its own, unless options name one.
func open(t *testing.T, dsn string, options Options) *fixture {
	t.Helper()
	if options.Schema == "" {
		options.Schema = newSchema(t)
	}
	f := storetest.New(t, func(cfg uow.Config) (*uow.DB, error) { return options.Open(t.Context(), dsn, cfg) })
	return &fixture{f, f.Store.(*Store)}
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
