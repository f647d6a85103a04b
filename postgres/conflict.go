package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/uow-go/uow/driver"
)

// explain turns the error of a change set into what the driver's rules ask for. The
// transaction of c has failed, or c is idle or closed.
func (p *plan) explain(ctx context.Context, c *pgx.Conn, steps []step, failed int, err error) error {
	return p.meaning(ctx, steps, failed, err, func(t *table, ids []string) (map[string]int64, error) {
		return p.store.versions(c, t, ids)
	})
}

// explainApart is explain for a transaction that goes on: the versions of other
// units are looked up on a connection of its own, since this one can't see them,
// and waiting for one of the pool could be for ever.
func (p *plan) explainApart(ctx context.Context, steps []step, failed int, err error) error {
	return p.meaning(ctx, steps, failed, err, func(t *table, ids []string) (map[string]int64, error) {
		ctx, cancel := cleanup()
		defer cancel()
		c, err := p.store.dial(ctx)
		if err != nil {
			return nil, err
		}
		defer destroy(c)
		return p.store.versions(c, t, ids)
	})
}

// versions returns the versions of the rows that exist. A transaction that is open
// ends: it has failed, and would not see them.
func (s *Store) versions(c *pgx.Conn, t *table, ids []string) (map[string]int64, error) {
	found, steps := map[string]int64{}, make([]step, 0, 2)
	if !c.IsClosed() && c.PgConn().TxStatus() != 'I' {
		steps = append(steps, plain(s.sql.rollback))
	}
	_, err := s.runFor(cleanupTime, c, append(steps, step{
		statement: t.selectVersions,
		args:      newArgs(len(ids)).texts(len(ids), func(i int) string { return ids[i] }),
		row: func(row [][]byte) error {
			found[string(row[0])] = number(row[1])
			return nil
		},
	}))
	return found, err
}

type lookup func(t *table, ids []string) (map[string]int64, error)

func (p *plan) meaning(ctx context.Context, steps []step, failed int, err error, look lookup) error {
	var e *pgconn.PgError
	if !errors.As(err, &e) {
		return p.store.wrap(ctx, "write", err)
	}
	if e.Code == codeUnique && e.TableName == "uow_units" {
		return fmt.Errorf("%w: %w", ErrFenced, err)
	}
	if e.Code == codeSerialization {
		return p.serialization(ctx, err, look)
	}
	if failed >= len(steps) || steps[failed].about.table == nil {
		return p.store.wrap(ctx, "write", err)
	}
	a := &steps[failed].about
	what := fmt.Sprintf("write %s", a.table.desc.Name)
	if len(a.rows) == 1 {
		what += "/" + a.rows[0].ID
	}
	switch e.Code {
	case codeConflict:
		return p.conflict(ctx, a, e, look)
	case codeUnique:
		column, key, ok := a.table.uniqueColumn(e.ConstraintName)
		switch {
		case ok && key:
			return p.exists(a, err, look)
		case ok && len(a.rows) == 1:
			return &driver.DuplicateError{Collection: a.table.desc.Name, ID: a.rows[0].ID, Index: column}
		}
	case codeInvalidText:
		what += " (a body that is no JSON needs Options.Bodies = Bytes)"
	}
	return p.store.wrap(ctx, what, err)
}

// conflict names the first row that does not have its version.
func (p *plan) conflict(ctx context.Context, a *about, e *pgconn.PgError, look lookup) error {
	var ids []string
	if err := json.Unmarshal([]byte(e.Detail), &ids); err != nil || len(ids) == 0 {
		return p.store.wrap(ctx, "write "+a.table.desc.Name, fmt.Errorf("%w: %w", driver.ErrConflict, e))
	}
	found, err := look(a.table, ids[:1])
	if err != nil {
		return unknownVersion(e, err)
	}
	for _, w := range a.rows {
		if w.ID == ids[0] {
			return conflictOf(w, found)
		}
	}
	return p.store.wrap(ctx, "write "+a.table.desc.Name, fmt.Errorf("%w: %w", driver.ErrConflict, e))
}

func conflictOf(w *driver.Write, found map[string]int64) error {
	return &driver.ConflictError{Collection: w.Collection, ID: w.ID, Expected: w.Expected, Found: found[w.ID]}
}

func unknownVersion(refused, err error) error {
	return fmt.Errorf("postgres: %w: %w; the version in the database could not be looked up: %w", driver.ErrConflict, refused, err)
}

// exists explains an insert of rows one of which is there already.
func (p *plan) exists(a *about, refused error, look lookup) error {
	found, err := look(a.table, idsOf(a.rows))
	if err != nil {
		return unknownVersion(refused, err)
	}
	for _, w := range a.rows {
		if found[w.ID] != 0 {
			return conflictOf(w, found)
		}
	}
	// It is gone again.
	return fmt.Errorf("postgres: insert into %s: %w: %w", a.table.desc.Name, driver.ErrRetryable, refused)
}

func idsOf(rows []*driver.Write) []string {
	list := make([]string, len(rows))
	for i, w := range rows {
		list[i] = w.ID
	}
	return list
}

// serialization finds the row because of which a transaction with a snapshot was
// refused. The server does not name it.
func (p *plan) serialization(ctx context.Context, refused error, look lookup) error {
	expected := make([]*driver.Write, 0, len(p.cs.Writes)+len(p.cs.Checks))
	for i := range p.cs.Writes {
		expected = append(expected, &p.cs.Writes[i])
	}
	for _, c := range p.cs.Checks {
		expected = append(expected, &driver.Write{Collection: c.Collection, ID: c.ID, Expected: c.Version})
	}
	for len(expected) > 0 {
		name := expected[0].Collection
		n := slices.IndexFunc(expected, func(w *driver.Write) bool { return w.Collection != name })
		if n < 0 {
			n = len(expected)
		}
		t, err := p.store.table(name)
		if err != nil {
			return err
		}
		found, err := look(t, idsOf(expected[:n]))
		if err != nil {
			break // the server's own answer is as true
		}
		for _, w := range expected[:n] {
			if found[w.ID] != w.Expected {
				return conflictOf(w, found)
			}
		}
		expected = expected[n:]
	}
	return p.store.wrap(ctx, "write", refused)
}
