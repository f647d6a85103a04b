package mysql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	sqldriver "database/sql/driver"
)

// rawConn is what the driver's connections can do. They are asked directly, since
// database/sql would prepare, and hide where results begin.
type rawConn interface {
	sqldriver.Conn
	sqldriver.QueryerContext
	sqldriver.ExecerContext
	sqldriver.ConnPrepareContext
	sqldriver.NamedValueChecker
	sqldriver.Validator
}

// session is a connection of the pool, for one user at a time.
type session struct {
	conn *sql.Conn
	raw  rawConn
	dead bool // it is of no use any more
	// hasty says that it waits for locks for a second only: see hurry.
	hasty bool
}

// acquire takes a connection from the pool.
func (s *Store) acquire(ctx context.Context) (*session, error) {
	if s.closed.Load() {
		return nil, ErrClosed
	}
	conn, err := s.db.Conn(ctx)
	if err != nil {
		return nil, s.wrap(ctx, "connect", err)
	}
	c := &session{conn: conn}
	err = conn.Raw(func(raw any) error {
		var ok bool
		// The connection is ours until it is given back, also after this call.
		if c.raw, ok = raw.(rawConn); !ok {
			return fmt.Errorf("%w: the pool's driver gives a %T, which is not one of github.com/go-sql-driver/mysql", ErrServer, raw)
		}
		return nil
	})
	if err != nil {
		_ = conn.Close() // the first error tells more
		return nil, err
	}
	return c, nil
}

// release gives the connection back, or closes it when it is dead.
func (c *session) release() {
	if c.hasty && !c.dead {
		ctx, cancel := cleanup()
		defer cancel()
		if _, err := c.run(ctx, newScript().do(patient), smallestPacket); err != nil {
			c.dead = true
		}
	}
	if c.dead {
		_ = c.conn.Raw(func(any) error { return sqldriver.ErrBadConn })
	}
	_ = c.conn.Close() // it was closed by Raw, or is idle
}

// alive reports whether the connection is open, as far as the driver knows.
func (c *session) alive() bool {
	c.dead = c.dead || !c.raw.IsValid()
	return !c.dead
}

// run sends a script and reads the answers: in one round trip, unless it is larger
// than what the server takes at once. all says that everything was handed over, so
// that nobody knows what became of it when the error is not the server's.
func (c *session) run(ctx context.Context, s *script, limit int) (all bool, err error) {
	if s.err != nil {
		return false, s.err
	}
	if err := s.check(limit); err != nil {
		return false, err
	}
	start := 0
	for steps := s.steps; len(steps) > 0; {
		n := 1
		for n < len(steps) && steps[n].end-start <= limit {
			n++
		}
		all = n == len(steps)
		if err := c.send(ctx, string(s.b[start:steps[n-1].end]), steps[:n]); err != nil {
			if code(err) == 0 || !usableAfter(err) {
				c.dead = c.dead || !errors.As(err, new(rowError))
			}
			return all, err
		}
		start, steps = steps[n-1].end+1, steps[n:]
	}
	return true, nil
}

// check refuses scripts that have a statement which is too large.
func (s *script) check(limit int) error {
	start := 0
	for _, st := range s.steps {
		if st.end-start > limit {
			return fmt.Errorf("%w: a statement has %d bytes, the server takes %d", ErrTooLarge, st.end-start, limit)
		}
		start = st.end
	}
	return nil
}

// rowError marks an error of a step's row function: the server knows nothing of it.
type rowError struct{ error }

func (e rowError) Unwrap() error { return e.error }

// caught makes an error of a panic of the driver's: it trusts that what it gets is the
// protocol. The connection is of no use then.
func caught(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("mysql: the driver has panicked: %v", p)
	}
}

// send sends statements and reads their answers to the end.
func (c *session) send(ctx context.Context, query string, steps []step) (err error) {
	defer caught(&err)
	rows, err := c.raw.QueryContext(ctx, query, nil)
	if err != nil {
		return err
	}
	var mine error
	for {
		if n := len(rows.Columns()); n > 0 {
			for len(steps) > 0 && !steps[0].returns {
				steps = steps[1:]
			}
			if len(steps) == 0 {
				_ = rows.Close()
				return errors.New("mysql: the server returned more results than were asked for")
			}
			err := readAll(rows, n, steps[0].row)
			if e := (rowError{}); errors.As(err, &e) {
				mine = errors.Join(mine, e.error)
			} else if err != nil {
				_ = rows.Close()
				return err
			}
			steps = steps[1:]
		}
		next, ok := rows.(sqldriver.RowsNextResultSet)
		if !ok {
			_ = rows.Close()
			return fmt.Errorf("%w: the driver's rows have no next result", ErrServer)
		}
		err := next.NextResultSet()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			_ = rows.Close() // the first error tells more
			return err
		}
	}
	if err := rows.Close(); err != nil {
		return err
	}
	if mine != nil {
		return rowError{mine}
	}
	return nil
}

func readAll(rows sqldriver.Rows, n int, fn func(row []sqldriver.Value) error) error {
	row := make([]sqldriver.Value, n)
	var mine error
	for {
		err := rows.Next(row)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if fn != nil && mine == nil {
			mine = fn(row)
		}
	}
	if mine != nil {
		return rowError{mine}
	}
	return nil
}

// do runs a script on a connection of the pool.
func (s *Store) do(ctx context.Context, what string, sc *script) error {
	c, err := s.acquire(ctx)
	if err != nil {
		return err
	}
	defer c.release()
	if _, err := c.run(ctx, sc, s.maxPacket); err != nil {
		// What the script began must not stay open.
		if !c.dead {
			c.rollback(s.maxPacket)
		}
		return s.wrap(ctx, what, err)
	}
	return nil
}

// rollback ends whatever is open, or the connection.
func (c *session) rollback(limit int) {
	ctx, cancel := cleanup()
	defer cancel()
	if _, err := c.run(ctx, newScript().do("ROLLBACK"), limit); err != nil {
		c.dead = true
	}
}

// cleanup is the context of what must happen whatever became of the caller's.
func cleanup() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), 5*time.Second)
}

// The values of text rows: numbers as numbers or text, the rest as bytes.

func number(v sqldriver.Value) int64 {
	switch x := v.(type) {
	case int64:
		return x
	case uint64:
		return int64(x)
	case []byte:
		n, _ := strconv.ParseInt(string(x), 10, 64)
		return n
	case string:
		n, _ := strconv.ParseInt(x, 10, 64)
		return n
	}
	return 0
}

func text(v sqldriver.Value) string {
	switch x := v.(type) {
	case []byte:
		return string(x)
	case string:
		return x
	}
	return ""
}

// blob returns a copy; nil for NULL.
func blob(v sqldriver.Value) []byte {
	switch x := v.(type) {
	case []byte:
		if x != nil {
			return append(make([]byte, 0, len(x)), x...)
		}
	case string:
		return []byte(x)
	}
	return nil
}

// timeOf reads a DATETIME(6) that was cast to CHAR; NULL is the zero time.
func timeOf(v sqldriver.Value) time.Time {
	t, err := time.Parse(timeFormat, text(v))
	if err != nil {
		return time.Time{}
	}
	return t
}
