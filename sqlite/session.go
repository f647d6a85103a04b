package sqlite

import (
	"context"
	"database/sql"
	sqldriver "database/sql/driver"
	"errors"
	"fmt"

	"github.com/uow-go/uow/driver"
)

// sessionTx is the transaction of a unit that has the writer for itself: one that
// flushed, or runs its own SQL. The connection is shared with database/sql, so
// that every use of it goes through database/sql's lock.
type sessionTx struct {
	w  *writer
	c  *conn
	tx *sql.Tx
	// appended is true when messages were flushed.
	appended bool
	r        request             // the latest change set
	own      map[string][]string // ids that were flushed, by collection
}

// openSession waits for the writer and begins a transaction on it.
func (w *writer) openSession(ctx context.Context) (*sessionTx, error) {
	r := &request{exclusive: true}
	got, err := w.enter(ctx, r)
	if err != nil {
		return nil, err
	}
	if got == settled {
		return nil, r.err
	}
	s, err := w.beginSession(ctx)
	if err != nil {
		w.rollback()
		w.leave()
		return nil, err
	}
	return s, nil
}

func (w *writer) beginSession(ctx context.Context) (*sessionTx, error) {
	if err := w.begin(); err != nil {
		return nil, wrap("begin", err)
	}
	conn, err := w.conn.shared()
	if err != nil {
		return nil, err
	}
	// The transaction must outlive ctx: the rollback is ours.
	tx, err := conn.BeginTx(context.WithoutCancel(ctx), nil)
	if err != nil {
		return nil, wrap("begin", err)
	}
	return &sessionTx{w: w, c: w.conn, tx: tx}, nil
}

// use runs fn with the connection, unless the transaction is gone.
func (s *sessionTx) use(fn func(c *conn) error) error {
	if err := s.alive(); err != nil {
		return err
	}
	return s.c.bridgeConn.Raw(func(any) error { return fn(s.c) })
}

func (s *sessionTx) alive() error {
	s.w.mu.Lock()
	closed := s.w.closed
	s.w.mu.Unlock()
	if closed {
		return ErrClosed
	}
	if !s.c.inTx {
		return ErrLost
	}
	return nil
}

// flush writes a change set and keeps the transaction open.
func (s *sessionTx) flush(cs *driver.ChangeSet) error {
	s.r = request{cs: cs, own: s.own}
	err := s.use(func(*conn) error {
		s.w.batch = s.w.batch[:0]
		if err := s.w.apply(&s.r); err != nil {
			return err
		}
		defer clear(s.w.batch)
		return s.w.insertBatch()
	})
	if err == nil {
		s.r.adjust()
		s.appended = s.appended || len(cs.Messages) > 0
		for i := range cs.Writes {
			if s.own == nil {
				s.own = map[string][]string{}
			}
			s.own[cs.Writes[i].Collection] = append(s.own[cs.Writes[i].Collection], cs.Writes[i].ID)
		}
	}
	return err
}

// nest begins the nth nested part.
func (s *sessionTx) nest(n int) error {
	return s.run(fmt.Sprintf("SAVEPOINT nested_%d", n))
}

// unnest ends it.
func (s *sessionTx) unnest(n int, keep bool) error {
	if !keep {
		s.w.appended = 0 // others may give those positions again
		if err := s.run(fmt.Sprintf("ROLLBACK TO nested_%d", n)); err != nil {
			return err
		}
	}
	return s.run(fmt.Sprintf("RELEASE nested_%d", n))
}

func (s *sessionTx) run(statement string) error {
	return s.use(func(c *conn) error {
		if _, err := c.exec(statement); err != nil {
			return wrap("nested unit", err)
		}
		return nil
	})
}

// commit writes the rest and ends the session.
func (s *sessionTx) commit(cs *driver.ChangeSet) error {
	if err := s.flush(cs); err != nil {
		s.rollback()
		return err
	}
	err := s.tx.Commit()
	if err == nil {
		s.w.ended()
	}
	s.end()
	if err != nil {
		return wrap("commit", err)
	}
	if s.appended {
		s.w.store.subscribers.Wake(false)
	}
	return nil
}

func (s *sessionTx) rollback() {
	_ = s.tx.Rollback() // end makes sure of it
	s.end()
}

// end gives the writer back.
func (s *sessionTx) end() {
	s.w.rollback()
	s.w.mu.Lock()
	if s.w.closed {
		_ = s.w.closeConn() // Close has returned; nobody is left to be told
	}
	s.w.mu.Unlock()
	s.w.leave()
}

// shared returns the connection as database/sql sees it.
func (c *conn) shared() (*sql.Conn, error) {
	if c.bridgeConn != nil {
		return c.bridgeConn, nil
	}
	db := sql.OpenDB(bridge{c})
	conn, err := db.Conn(context.Background())
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	c.bridge, c.bridgeConn = db, conn
	return conn, nil
}

// bridge shows a connection to database/sql: it is the connector, and the one
// connection that the connector gives. The transaction is begun by us and only
// ended by database/sql, which then closes the rows and statements that the user
// left open.
type bridge struct{ c *conn }

var (
	_ sqldriver.Connector          = bridge{}
	_ sqldriver.ConnBeginTx        = bridge{}
	_ sqldriver.ConnPrepareContext = bridge{}
	_ sqldriver.ExecerContext      = bridge{}
	_ sqldriver.QueryerContext     = bridge{}
	_ sqldriver.Tx                 = bridge{}
)

func (b bridge) Connect(context.Context) (sqldriver.Conn, error) { return b, nil }
func (b bridge) Driver() sqldriver.Driver                        { return b }

// Open makes a bridge its own driver, which nobody opens by name.
func (b bridge) Open(string) (sqldriver.Conn, error) { return b, nil }

// Close does nothing: the connection is the writer's.
func (b bridge) Close() error { return nil }

func (b bridge) Prepare(query string) (sqldriver.Stmt, error) {
	return b.PrepareContext(context.Background(), query)
}

func (b bridge) PrepareContext(ctx context.Context, query string) (sqldriver.Stmt, error) {
	if !b.c.inTx {
		return nil, ErrLost
	}
	return b.c.raw.PrepareContext(ctx, query)
}

func (b bridge) ExecContext(ctx context.Context, query string, args []sqldriver.NamedValue) (sqldriver.Result, error) {
	if !b.c.inTx {
		return nil, ErrLost
	}
	return b.c.raw.ExecContext(ctx, query, args)
}

func (b bridge) QueryContext(ctx context.Context, query string, args []sqldriver.NamedValue) (sqldriver.Rows, error) {
	if !b.c.inTx {
		return nil, ErrLost
	}
	return b.c.raw.QueryContext(ctx, query, args)
}

func (b bridge) Begin() (sqldriver.Tx, error) {
	return b.BeginTx(context.Background(), sqldriver.TxOptions{})
}

func (b bridge) BeginTx(context.Context, sqldriver.TxOptions) (sqldriver.Tx, error) {
	if !b.c.inTx {
		return nil, fmt.Errorf("sqlite: begin: %w", ErrLost)
	}
	return b, nil
}

func (b bridge) Commit() error   { return b.c.commit() }
func (b bridge) Rollback() error { return b.c.rollback() }
