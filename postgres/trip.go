package postgres

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/uow-go/uow/internal/unitcontext"
)

// statement is a statement with the types of its parameters, which the server need
// not be asked for, and the name under which connections keep it; without one they do
// not.
type statement struct {
	sql  string
	name string
	oids []uint32
	// tells is the same one, which also returns what messages were given; nil of those that
	// append none.
	tells *statement
}

func newStatement(sql string, oids ...uint32) *statement {
	sum := sha256.Sum256(fmt.Append(nil, oids, sql))
	return &statement{sql: sql, name: "uow_" + hex.EncodeToString(sum[:12]), oids: oids}
}

// telling adds the statement that returns what messages were given.
func (s *statement) telling(returning string) *statement {
	s.tells = newStatement(s.sql+returning, s.oids...)
	return s
}

// step is one statement of a trip.
type step struct {
	statement *statement
	args      *args
	// row gets each row; its slices are valid during the call.
	row func(row [][]byte) error
	// into gets the rows where it is not nil, and else given.
	into  *rows
	given *given
	// about tells the errors of a change set apart; its table is nil elsewhere.
	about about
	// tag is what the server answered, of those that end or divide transactions.
	tag string
}

// take hands a row on.
func (s *step) take(row [][]byte) error {
	switch {
	case s.into != nil:
		return s.into.read(row)
	case s.given != nil:
		s.given.take(row)
	case s.row != nil:
		return s.row(row)
	}
	return nil
}

func plain(s *statement) step { return step{statement: s} }

// errRow marks an error of a step's row function: the server knows nothing of it.
type errRow struct{ error }

func (e errRow) Unwrap() error { return e.error }

// maxPrepared is the greatest number of statements that a connection keeps. Those
// beyond are parsed each time.
const maxPrepared = 1000

// run sends the steps at once, with one Sync, and reads the answers: one round
// trip, also where statements are new to the connection. The server skips what
// follows an error. Outside of an explicit transaction the steps are one
// transaction, which Sync commits.
//
// failed is the step that failed, or len(steps) when it was the Sync. After an
// error the connection is closed, or has been answered to the end.
func (s *Store) run(ctx context.Context, c *pgx.Conn, steps []step) (failed int, err error) {
	if ctx.Err() != nil {
		return 0, context.Cause(ctx)
	}
	ctx = unitcontext.Waiting(ctx)
	if ctx.Done() == nil {
		return s.trip(c, steps)
	}
	w := wireOf(c)
	stop := context.AfterFunc(ctx, w.expire)
	failed, err = s.trip(c, steps)
	if !stop() {
		<-w.expired
		forever(c)
	}
	return failed, err
}

// runFor is run with a limit instead of a context.
func (s *Store) runFor(limit time.Duration, c *pgx.Conn, steps []step) (failed int, err error) {
	conn := c.PgConn().Conn()
	_ = conn.SetDeadline(time.Now().Add(limit)) // where it fails, so will what follows
	failed, err = s.trip(c, steps)
	forever(c)
	return failed, err
}

// forever takes a connection's deadline away. One that is being closed has its own.
func forever(c *pgx.Conn) {
	if !c.IsClosed() {
		_ = c.PgConn().Conn().SetDeadline(time.Time{})
	}
}

func (s *Store) trip(c *pgx.Conn, steps []step) (failed int, err error) {
	for i := range steps {
		if a := steps[i].args; a != nil && a.err != nil {
			return i, a.err
		}
	}
	if c.IsClosed() {
		return 0, errLost
	}
	if c.PgConn().IsBusy() {
		return 0, errBusy
	}
	w := wireOf(c)
	wait, err := w.send(steps, s.options.Statements == Unprepared)
	if err == nil {
		failed, err = w.receive(steps)
	}
	if wait != nil {
		<-wait
	}
	if err == nil {
		return failed, nil
	}
	if own := (errRow{}); errors.As(err, &own) {
		return failed, own.error
	}
	switch code(err) {
	case "":
		w.abandon()
	case codeNoStatement, codeStatementExists, codePlanChanged:
		destroy(c) // it has other statements than those that it is known to have
	}
	return failed, err
}

// do runs steps as one transaction on a connection of the pool.
func (s *Store) do(ctx context.Context, what string, steps ...step) error {
	c, err := s.acquire(ctx)
	if err != nil {
		return err
	}
	defer c.Release()
	if _, err := s.run(ctx, c.Conn(), steps); err != nil {
		return s.wrap(ctx, what, err)
	}
	return nil
}
