package memory_test

import (
	"testing"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/memory"
	"github.com/uow-go/uow/uowtest"
)

func TestStore(t *testing.T) {
	var db *uow.DB
	uowtest.TestStore(t, uowtest.Harness{
		Open: func(t testing.TB, cfg uow.Config) *uow.DB {
			var err error
			db, err = memory.Open(t.Context(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = db.Close() })
			return db
		},
		InUse: func() int { return memory.InUse(db) },
	})
}
