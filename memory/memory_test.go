package memory_test

import (
	"testing"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/internal/mvcc"
	"github.com/uow-go/uow/memory"
	"github.com/uow-go/uow/uowtest"
)

func TestStore(t *testing.T) {
	var s *mvcc.Store
	uowtest.TestStore(t, uowtest.Harness{
		Open: func(t testing.TB, cfg uow.Config) *uow.DB {
			db, err := memory.Open(t.Context(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = db.Close() })
			s = db.Store().(*mvcc.Store)
			return db
		},
		InUse: func() int { return s.InUse() },
	})
}
