package mysql

import (
	"context"
	"errors"

	sqldriver "database/sql/driver"

	"github.com/uow-go/uow/driver"
	"github.com/uow-go/uow/internal/sharedread"
)

// snapshot is shared by the units whose first reads it has made. It is not for writing:
// see sharedRead.
type snapshot = sharedread.Snapshot[*table, *session]

// maxSnapshots is how many there are at most.
const maxSnapshots = 8

// readSource is the store, for those who read together.
type readSource struct{ *Store }

// Acquire implements sharedread.Source.
func (s readSource) Acquire(ctx context.Context) (*session, error) { return s.acquire(ctx) }

// Start implements sharedread.Source.
func (s readSource) Start(fn func()) bool { return s.start(fn) }

// Limited implements sharedread.Source.
func (s readSource) Limited() (context.Context, context.CancelFunc) {
	return context.WithTimeout(s.background, s.options.CommitTimeout)
}

// Read implements sharedread.Source.
func (s readSource) Read(ctx context.Context, c *session, in sharedread.Snap, group []*sharedread.Reading[*table, *session]) error {
	sc := newScript()
	if in == sharedread.Next && s.ownLevel != RepeatableRead {
		sc.do("COMMIT") // START TRANSACTION does, but the level is set before
	}
	if in != sharedread.Same {
		s.begin(sc, RepeatableRead, true)
	}
	for _, t := range s.listed {
		wants := sharedread.Of(t, group)
		t.get(sc, wants.IDs, "", func(row []sqldriver.Value) error {
			return wants.Give(text(row[0]), func(rows *[]driver.Row) error { return t.collect(rows)(row) })
		})
	}
	_, err := c.run(ctx, sc, s.maxPacket)
	return err
}

// End implements sharedread.Source.
func (s readSource) End(c *session) {
	if c.alive() {
		c.rollback(s.maxPacket)
	}
	c.release()
}

// getTogether makes the unit's first read together with those of others. ok is false
// when the unit must make it by itself.
func (t *tx) getTogether(ctx context.Context, table *table, ids []string) (rows []driver.Row, ok bool, err error) {
	if s := newScript(); s.ids(len(ids), func(i int) string { return ids[i] }).err != nil {
		return nil, false, nil //nolint:nilerr // alone it gets its error
	}
	rows, shared, err := t.store.reads.Get(ctx, table, ids)
	if shared == nil || err != nil {
		return nil, false, err
	}
	t.shared = &sharedRead{snapshot: shared}
	t.shared.got(table, ids, rows)
	return rows, true, nil
}

// runIn reads in a snapshot that is shared.
func (s *Store) runIn(ctx context.Context, shared *snapshot, sc *script) error {
	err := shared.Use(func(c *session) error {
		if !c.alive() {
			return errLost
		}
		_, err := c.run(ctx, sc, s.maxPacket)
		return err
	})
	if errors.Is(err, sharedread.ErrEnded) {
		return ErrClosed
	}
	return err
}
