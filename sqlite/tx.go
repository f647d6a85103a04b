package sqlite

import (
	"context"
	"errors"
	"io"

	sqldriver "database/sql/driver"

	"github.com/uow-go/uow/driver"
)

var (
	errEnded     = errors.New("sqlite: the transaction has ended")
	errNotNested = errors.New("sqlite: no nested part is open")
)

// tx is one unit's transaction. It reads on a connection of its own, and has the
// writer only at its end, unless the unit flushes or runs its own SQL: then it has
// a session.
type tx struct {
	store *Store
	ended bool

	read *conn // nil until the first read
	// held is the first read, left open: as long as it is, SQLite keeps its
	// snapshot, which spares BEGIN and COMMIT to the many units that read once.
	held  sqldriver.Rows
	begun bool

	session *sessionTx
	nested  int // how many nested parts are open
}

// Begin implements driver.Store. It costs nothing: the snapshot is taken by the
// first read.
func (s *Store) Begin(ctx context.Context, options driver.TxOptions) (driver.Tx, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return &tx{store: s}, nil
}

// usable reports why nothing can be done.
func (t *tx) usable(ctx context.Context) error {
	if t.ended {
		return errEnded
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

// Get implements driver.Tx.
func (t *tx) Get(ctx context.Context, collection string, ids []string) ([]driver.Row, error) {
	if err := t.usable(ctx); err != nil {
		return nil, err
	}
	table, err := t.store.table(collection)
	if err != nil {
		return nil, err
	}
	if len(ids) == 1 && t.read == nil && t.session == nil {
		return t.getFirst(ctx, table, ids[0])
	}
	var rows []driver.Row
	err = t.reading(ctx, func(c *conn) error {
		rows, err = getRows(ctx, c, table, ids)
		return err
	})
	return rows, err
}

// getFirst reads one row on a new connection, and keeps the snapshot by leaving
// the read open. Where there is no row there is no open read, and it is done
// again in a transaction that can be kept.
func (t *tx) getFirst(ctx context.Context, table *table, id string) ([]driver.Row, error) {
	c, err := t.store.readers.get(ctx)
	if err != nil {
		return nil, err
	}
	t.read = c
	rows, err := c.start(context.Background(), table.selectOne, id)
	if err != nil {
		return nil, wrap("read", err)
	}
	row := c.buffer(table.width())
	switch err := rows.Next(row); {
	case err == nil:
		t.held, c.open = rows, true
		found, err := table.row(id, row)
		return []driver.Row{found}, err
	case errors.Is(err, io.EOF):
		if err := rows.Close(); err != nil {
			return nil, wrap("read", err)
		}
	default:
		return nil, wrap("read", errors.Join(err, rows.Close()))
	}
	var found []driver.Row
	err = t.reading(ctx, func(c *conn) error {
		found, err = getRows(ctx, c, table, []string{id})
		return err
	})
	return found, err
}

// Find implements driver.Tx.
func (t *tx) Find(ctx context.Context, collection string, q driver.Query) ([]driver.Row, error) {
	if err := t.usable(ctx); err != nil {
		return nil, err
	}
	table, err := t.store.table(collection)
	if err != nil {
		return nil, err
	}
	query, args, err := table.find(q)
	if err != nil {
		return nil, err
	}
	var rows []driver.Row
	err = t.reading(ctx, func(c *conn) error {
		rows, err = readRows(ctx, c, table, query, args)
		return err
	})
	return rows, err
}

// Count implements driver.Tx.
func (t *tx) Count(ctx context.Context, collection string, q driver.Query) (n int64, err error) {
	if err := t.usable(ctx); err != nil {
		return 0, err
	}
	table, err := t.store.table(collection)
	if err != nil {
		return 0, err
	}
	query, args, err := table.count(q)
	if err != nil {
		return 0, err
	}
	err = t.reading(ctx, func(c *conn) error {
		return c.query(ctx, func(row []sqldriver.Value) error {
			n = number(row[0])
			return nil
		}, query, args...)
	})
	return n, err
}

// reading runs fn with the connection that has the unit's snapshot.
func (t *tx) reading(ctx context.Context, fn func(c *conn) error) error {
	if t.session != nil {
		return t.session.use(fn)
	}
	if t.read == nil {
		c, err := t.store.readers.get(ctx)
		if err != nil {
			return err
		}
		t.read = c
	}
	if !t.begun {
		// With a read open, BEGIN takes over its snapshot.
		if _, err := t.read.exec("BEGIN"); err != nil {
			return wrap("begin", err)
		}
		t.begun = true
		if err := t.letGo(); err != nil {
			return wrap("read", err)
		}
	}
	if err := fn(t.read); err != nil {
		return wrap("read", err)
	}
	return nil
}

// letGo closes the first read.
func (t *tx) letGo() error {
	if t.held == nil {
		return nil
	}
	err := t.held.Close()
	t.held, t.read.open = nil, false
	return err
}

// release ends the snapshot and gives the connection back.
func (t *tx) release() {
	if t.read == nil {
		return
	}
	err := t.letGo()
	if t.begun {
		_, end := t.read.exec("ROLLBACK")
		err = errors.Join(err, end)
	}
	c := t.read
	t.read, t.begun = nil, false
	if err != nil {
		t.store.readers.drop(c)
		return
	}
	t.store.readers.put(c)
}

// Flush implements driver.Tx.
func (t *tx) Flush(ctx context.Context, cs *driver.ChangeSet) error {
	if err := t.usable(ctx); err != nil {
		return err
	}
	session, err := t.upgrade(ctx)
	if err != nil {
		return err
	}
	return session.flush(cs)
}

// Commit implements driver.Tx.
func (t *tx) Commit(ctx context.Context, cs *driver.ChangeSet) error {
	if err := t.usable(ctx); err != nil {
		return errors.Join(err, t.Rollback())
	}
	t.ended = true
	if t.session != nil {
		return t.session.commit(cs)
	}
	t.release()
	if cs.Empty() {
		return nil
	}
	return t.store.writer.commit(ctx, &request{cs: cs})
}

// Rollback implements driver.Tx.
func (t *tx) Rollback() error {
	if t.ended {
		return nil
	}
	t.ended = true
	if t.session != nil {
		t.session.rollback()
		return nil
	}
	t.release()
	return nil
}

// upgrade gives the transaction the writer. What it read before is read anew from
// then on: its snapshot was of the past, and can't be written to.
func (t *tx) upgrade(ctx context.Context) (*sessionTx, error) {
	if t.session != nil {
		return t.session, nil
	}
	t.release()
	session, err := t.store.writer.openSession(ctx)
	if err != nil {
		return nil, err
	}
	t.session = session
	for n := 1; n <= t.nested; n++ {
		if err := session.nest(n); err != nil {
			return nil, err
		}
	}
	return session, nil
}

// Nest implements driver.Nester. Only a session can leave traces.
func (t *tx) Nest(ctx context.Context) error {
	if err := t.usable(ctx); err != nil {
		return err
	}
	if t.session != nil {
		if err := t.session.nest(t.nested + 1); err != nil {
			return err
		}
	}
	t.nested++
	return nil
}

// Unnest implements driver.Nester.
func (t *tx) Unnest(keep bool) error {
	if t.ended {
		return errEnded
	}
	if t.nested == 0 {
		return errNotNested
	}
	n := t.nested
	t.nested--
	if t.session == nil {
		return nil
	}
	return t.session.unnest(n, keep)
}
