package mysql

import (
	"testing"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/internal/storetest"
)

// crowd makes every operation one of a crowd.
func (f *fixture) crowd() storetest.Crowd {
	f.store.crowd.Limit = 0
	return f.mixed()
}

// mixed leaves it to the store which are.
func (f *fixture) mixed() storetest.Crowd {
	return storetest.Crowd{Fixture: f.Fixture, InUse: func() int { return f.store.db.Stats().InUse }}
}

// One that flushes gets a newer snapshot, in which what it has read is the same.
func TestSharedSnapshots(t *testing.T) {
	f := open(t, "", Options{})
	f.crowd().SharedSnapshots(1, func(u *uow.Unit, id string) (count int64) {
		f.Must(Tx(u).QueryRowContext(t.Context(), `SELECT JSON_VALUE(body, '$.Count') FROM documents WHERE id = ?`, id).Scan(&count))
		return count
	})
}

func TestAbandonedReads(t *testing.T) { open(t, "", Options{}).crowd().AbandonedReads() }

func TestCloseInACrowd(t *testing.T) {
	open(t, "", Options{MaxConns: 4}).crowd().Close(ErrClosed)
}

func TestCrowd(t *testing.T) {
	t.Run("always", func(t *testing.T) { open(t, "", Options{MaxConns: 6}).crowd().Move() })
	t.Run("mixed", func(t *testing.T) {
		f := open(t, "", Options{MaxConns: 6})
		f.store.crowd.Limit = 4
		f.mixed().Move()
	})
}
