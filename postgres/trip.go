package postgres

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// statement is a statement with the types of its parameters, which the server need
// not be asked for, and the name under which connections keep it; without one they do
// not.
type statement struct {
	sql  string
	name string
	oids []uint32
}

func newStatement(sql string, oids ...uint32) *statement {
	sum := sha256.Sum256(fmt.Append(nil, oids, sql))
	return &statement{sql: sql, name: "uow_" + hex.EncodeToString(sum[:12]), oids: oids}
}

// step is one statement of a trip.
type step struct {
	statement *statement
	args      *args
	// row gets each row; its slices are valid during the call.
	row func(row [][]byte) error
	// about tells the errors of a change set apart; nil elsewhere.
	about *about
	// tag is what the server answered.
	tag string
}

func plain(s *statement) step { return step{statement: s} }

// errRow marks an error of a step's row function: the server knows nothing of it.
type errRow struct{ error }

func (e errRow) Unwrap() error { return e.error }

// maxPrepared is the greatest number of statements that a connection keeps. Those
// beyond are parsed each time.
const maxPrepared = 1000

const preparedKey = "uow/postgres"

// prepared returns the names that a connection has.
func prepared(c *pgconn.PgConn) map[string]bool {
	names, ok := c.CustomData()[preparedKey].(map[string]bool)
	if !ok {
		names = map[string]bool{}
		c.CustomData()[preparedKey] = names
	}
	return names
}

// used reports whether a connection was used before, so that it may have died since.
func used(c *pgx.Conn) bool {
	_, ok := c.PgConn().CustomData()[preparedKey]
	return ok
}

// run sends the steps at once, with one Sync, and reads the answers: one round
// trip, also where statements are new to the connection. The server skips what
// follows an error. Outside of an explicit transaction the steps are one
// transaction, which Sync commits.
//
// failed is the step that failed, or len(steps) when it was the Sync. After an
// error the connection is closed, or has been answered to the end.
func (s *Store) run(ctx context.Context, c *pgx.Conn, steps []step) (failed int, err error) {
	for i := range steps {
		if a := steps[i].args; a != nil && a.err != nil {
			return i, a.err
		}
	}
	p := c.PgConn().StartPipeline(ctx)
	names := prepared(c.PgConn())
	defer func() {
		switch code(err) {
		case codeNoStatement, codeStatementExists, codePlanChanged:
			destroy(c) // it has other statements than those that it is known to have
		}
	}()
	cold := s.send(p, steps, names)
	if err := p.Sync(); err != nil {
		_ = p.Close() // the first error tells more
		return 0, err
	}
	var mine error
	for i := range steps {
		if cold[i] {
			if _, err := p.GetResults(); err != nil {
				return i, end(p, err)
			}
			names[steps[i].statement.name] = true
		}
		err := steps[i].read(p)
		if e := (errRow{}); errors.As(err, &e) {
			mine = errors.Join(mine, e.error)
		} else if err != nil {
			return i, end(p, err)
		}
	}
	results, err := p.GetResults()
	if _, ok := results.(*pgconn.PipelineSync); err == nil && !ok {
		err = fmt.Errorf("postgres: the protocol is out of step: %T", results)
	}
	if err != nil {
		return len(steps), end(p, err)
	}
	if err := p.Close(); err != nil {
		return len(steps), err
	}
	return len(steps), mine
}

// send queues the steps. It reports which of them are preceded by a Parse whose
// answer must be read.
func (s *Store) send(p *pgconn.Pipeline, steps []step, names map[string]bool) []bool {
	cold := make([]bool, len(steps))
	formats := []int16{1} // all parameters and results are binary
	sent := map[string]bool{}
	for i := range steps {
		st := steps[i].statement
		var values [][]byte
		if steps[i].args != nil {
			values = steps[i].args.values
		}
		known := names[st.name] || sent[st.name]
		if st.name == "" || s.options.Statements == Unprepared || !known && len(names)+len(sent) >= maxPrepared {
			p.SendQueryParams(st.sql, values, st.oids, formats, formats)
			continue
		}
		if !known {
			p.SendPrepare(st.name, st.sql, st.oids)
			cold[i], sent[st.name] = true, true
		}
		p.SendQueryPrepared(st.name, values, formats, formats)
	}
	return cold
}

// end reads what else the server has to say, up to its ReadyForQuery.
func end(p *pgconn.Pipeline, err error) error {
	_ = p.Close() // err came first
	return err
}

func (s *step) read(p *pgconn.Pipeline) error {
	results, err := p.GetResults()
	if err != nil {
		return err
	}
	rows, ok := results.(*pgconn.ResultReader)
	if !ok {
		return fmt.Errorf("postgres: the protocol is out of step: %T", results)
	}
	var mine error
	for rows.NextRow() {
		if s.row != nil && mine == nil {
			mine = s.row(rows.Values())
		}
	}
	tag, err := rows.Close()
	if err != nil {
		return err
	}
	s.tag = tag.String()
	if mine != nil {
		return errRow{mine}
	}
	return nil
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
