package postgres

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
	return storetest.Crowd{Fixture: f.Fixture, InUse: func() int { return int(f.store.pool.Stat().AcquiredConns()) }}
}

func TestSharedSnapshots(t *testing.T) {
	f := open(t, needServer(t), Options{})
	f.crowd().SharedSnapshots(0, func(u *uow.Unit, id string) (count int64) {
		f.Must(Tx(u).QueryRow(t.Context(), `SELECT (body->>'Count')::int FROM `+f.store.schema+`.documents WHERE id = $1`, id).Scan(&count))
		return count
	})
}

func TestAbandonedReads(t *testing.T) { open(t, needServer(t), Options{}).crowd().AbandonedReads() }

func TestCloseInACrowd(t *testing.T) {
	open(t, needServer(t), Options{MaxConns: 4}).crowd().Close(ErrClosed)
}

func TestCrowd(t *testing.T) {
	t.Run("always", func(t *testing.T) { open(t, needServer(t), Options{MaxConns: 6}).crowd().Move() })
	t.Run("mixed", func(t *testing.T) {
		f := open(t, needServer(t), Options{MaxConns: 6})
		f.store.crowd.Limit = 4
		f.mixed().Move()
	})
}
