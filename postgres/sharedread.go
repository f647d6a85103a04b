package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/uow-go/uow/driver"
	"github.com/uow-go/uow/internal/sharedread"
)

// snapshot is shared by the units whose first reads it has made. A unit that reads on
// gets a transaction of its own with the same snapshot.
type snapshot = sharedread.Snapshot[*table, *pgxpool.Conn]

// minForReads is how many connections there must be for some to be shared.
const minForReads = 4

func (s *Store) newReads() *sharedread.Queue[*table, *pgxpool.Conn] {
	limit := 0
	if n := int(s.pool.Config().MaxConns); n >= minForReads {
		limit = n / 2
	}
	return sharedread.New(readSource{s}, limit)
}

// readSource is the store, for those who read together.
type readSource struct{ *Store }

// Acquire implements sharedread.Source.
func (s readSource) Acquire(ctx context.Context) (*pgxpool.Conn, error) { return s.acquire(ctx) }

// Start implements sharedread.Source.
func (s readSource) Start(fn func()) bool {
	s.work.Go(fn)
	return true
}

// Limited implements sharedread.Source.
func (s readSource) Limited() (context.Context, context.CancelFunc) {
	return context.WithTimeout(s.wakes.ctx, s.options.CommitTimeout)
}

// Read implements sharedread.Source.
func (s readSource) Read(ctx context.Context, c *pgxpool.Conn, in sharedread.Snap, group []*sharedread.Reading[*table, *pgxpool.Conn]) error {
	steps := make([]step, 0, 4)
	if in == sharedread.Next {
		steps = append(steps, plain(s.sql.commit))
	}
	if in != sharedread.Same {
		steps = append(steps, plain(s.sql.beginReading))
	}
	for _, t := range s.listed {
		wants := sharedread.Of(t, group)
		if len(wants.IDs) == 0 {
			continue
		}
		read := t.get(nil, wants.IDs, nil)
		read.row = func(row [][]byte) error {
			return wants.Give(string(row[0]), func(rows *[]driver.Row) error {
				*rows = append(*rows, rowOf(row))
				return nil
			})
		}
		steps = append(steps, read)
	}
	_, err := s.run(ctx, c.Conn(), steps)
	return err
}

// End implements sharedread.Source.
func (s readSource) End(c *pgxpool.Conn) {
	if !c.Conn().IsClosed() {
		if _, err := s.runFor(cleanupTime, c.Conn(), []step{plain(s.sql.rollback)}); err != nil {
			destroy(c.Conn())
		}
	}
	c.Release()
}

// getTogether makes the unit's first read together with those of others. ok is false
// when the unit must make it by itself.
func (t *tx) getTogether(ctx context.Context, table *table, ids []string) (rows []driver.Row, ok bool, err error) {
	rows, t.snapshot, err = t.store.reads.Get(ctx, table, ids)
	return rows, t.snapshot != nil, err
}

// getOn makes another read of the unit in the snapshot that it shares.
func (t *tx) getOn(ctx context.Context, table *table, ids []string) ([]driver.Row, error) {
	rows, err := t.snapshot.Get(ctx, table, ids)
	switch {
	case errors.Is(err, sharedread.ErrEnded):
		return nil, ErrClosed
	case err != nil && ctx.Err() == nil:
		return nil, t.store.wrap(ctx, "read", fmt.Errorf("%w: %w", errLost, err))
	}
	return rows, err
}

// refusesIDs reports whether the server would take an id for an error.
func refusesIDs(ids []string) bool {
	for _, id := range ids {
		if (&args{}).refuses(id) {
			return true
		}
	}
	return false
}

// leaveSnapshot ends the unit's part in a shared snapshot.
func (t *tx) leaveSnapshot() {
	if t.snapshot != nil {
		t.store.reads.Leave(t.snapshot)
		t.snapshot = nil
	}
}

// export returns the statement by which another transaction gets a snapshot.
func (s *Store) export(ctx context.Context, from *snapshot) (set *statement, err error) {
	err = from.Use(func(c *pgxpool.Conn) error {
		if from.Name == "" {
			query := plain(s.sql.export)
			query.row = func(row [][]byte) error { from.Name = string(row[0]); return nil }
			if _, err := s.runFor(cleanupTime, c.Conn(), []step{query}); err != nil {
				return s.wrap(ctx, "read", fmt.Errorf("%w: %w", errLost, err))
			}
		}
		set = &statement{sql: `SET TRANSACTION SNAPSHOT ` + literal(from.Name)}
		return nil
	})
	if errors.Is(err, sharedread.ErrEnded) {
		return nil, ErrClosed
	}
	return set, err
}
