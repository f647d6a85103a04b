package files

import (
	"path/filepath"
	"testing"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/uowtest"
)

func TestStore(t *testing.T) {
	var dir string
	var store *Store
	open := func(t testing.TB, cfg uow.Config) *uow.DB {
		db, err := Open(t.Context(), dir, cfg)
		if err != nil {
			t.Fatal(err)
		}
		store = db.Store().(*Store)
		t.Cleanup(func() {
			if err := db.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
		})
		return db
	}
	uowtest.TestStore(t, uowtest.Harness{
		Open: func(t testing.TB, cfg uow.Config) *uow.DB {
			dir = filepath.Join(t.TempDir(), "kit")
			return open(t, cfg)
		},
		Reopen: open,
		InUse:  func() int { return store.InUse() },
	})
}
