package sqlunit

import (
	"context"
	"database/sql"
	sqldriver "database/sql/driver"
	"errors"
	"fmt"
	"strings"

	"github.com/uow-go/uow"
)

// level is a transaction or a savepoint that is open on a connection.
type level struct {
	nested *uow.NestedUnit
	name   string // of the savepoint; empty for a transaction
}

// BeginTx implements database/sql/driver.ConnBeginTx: it begins a nested unit.
func (c *conn) BeginTx(ctx context.Context, o sqldriver.TxOptions) (sqldriver.Tx, error) {
	if sql.IsolationLevel(o.Isolation) != sql.LevelDefault || o.ReadOnly {
		return nil, errors.New("uow: a transaction inside a unit has the unit's isolation, and writes: want no TxOptions")
	}
	if err := c.push(ctx, ""); err != nil {
		return nil, err
	}
	return transaction{c, c.levels[len(c.levels)-1].nested}, nil
}

// Begin implements database/sql/driver.Conn.
func (c *conn) Begin() (sqldriver.Tx, error) {
	return c.BeginTx(context.Background(), sqldriver.TxOptions{})
}

func (c *conn) push(ctx context.Context, name string) error {
	nested, err := c.unit.BeginNested(ctx)
	if err != nil {
		return kept(err)
	}
	c.levels = append(c.levels, level{nested, name})
	return nil
}

// transaction is a nested unit, as database/sql sees it.
type transaction struct {
	conn   *conn
	nested *uow.NestedUnit
}

// Commit implements database/sql/driver.Tx.
func (t transaction) Commit() error { return t.conn.commit(t.conn.index(t.nested)) }

// Rollback implements database/sql/driver.Tx.
func (t transaction) Rollback() error { return t.conn.rollback(t.conn.index(t.nested)) }

// index returns the place of a transaction among the levels.
func (c *conn) index(nested *uow.NestedUnit) int {
	for i, l := range c.levels {
		if l.nested == nested {
			return i
		}
	}
	return len(c.levels) // it has been ended with one around it
}

// commit ends the levels from i on, from the inside. Savepoints are released with
// what is around them; one that can't be takes the rest along.
func (c *conn) commit(i int) error {
	if i == len(c.levels) {
		return fmt.Errorf("%w: the transaction", uow.ErrUnitClosed)
	}
	for n := len(c.levels) - 1; n >= i; n-- {
		if err := c.levels[n].nested.Commit(); err != nil {
			c.levels = c.levels[:n]
			if n > i {
				err = errors.Join(err, c.rollback(i))
			}
			return kept(err)
		}
		c.levels = c.levels[:n]
	}
	return nil
}

// rollback undoes the levels from i on, from the inside.
func (c *conn) rollback(i int) error {
	var errs []error
	for n := len(c.levels) - 1; n >= i; n-- {
		errs = append(errs, c.levels[n].nested.Rollback())
		c.levels = c.levels[:n]
	}
	return kept(errors.Join(errs...))
}

// command is SQL that controls transactions.
type command struct {
	verb string // SAVEPOINT, RELEASE, ROLLBACK TO; or what is refused
	name string
}

// parse recognizes commands by their first words. A store notices those that hide
// behind a comment when its transaction is gone.
func parse(query string) *command {
	const longest = 120 // no library makes longer ones
	query = strings.Trim(query, " \t\r\n;")
	if len(query) == 0 || len(query) > longest || !strings.ContainsRune("SsRrBbCcEeAa", rune(query[0])) {
		return nil
	}
	words := strings.Fields(query)
	verb := strings.ToUpper(words[0])
	words = words[1:]
	switch verb {
	case "SAVEPOINT":
		return named(verb, words)
	case "RELEASE":
		return named(verb, without(words, "SAVEPOINT"))
	case "ROLLBACK":
		words = without(without(words, "WORK"), "TRANSACTION")
		if len(words) > 0 && strings.EqualFold(words[0], "TO") {
			return named("ROLLBACK TO", without(words[1:], "SAVEPOINT"))
		}
		return &command{verb: verb}
	case "BEGIN", "COMMIT", "END", "ABORT":
		return &command{verb: verb}
	case "START":
		if len(words) > 0 && strings.EqualFold(words[0], "TRANSACTION") {
			return &command{verb: "START TRANSACTION"}
		}
	}
	return nil
}

// named is a command that has a name; nil where it is something else, which the
// database may judge.
func named(verb string, words []string) *command {
	if len(words) != 1 {
		return nil
	}
	return &command{verb, words[0]}
}

// without returns the words without the first where it is an optional one.
func without(words []string, optional string) []string {
	if len(words) > 1 && strings.EqualFold(words[0], optional) {
		return words[1:]
	}
	return words
}

// control carries a command out.
func (c *conn) control(ctx context.Context, cmd *command) error {
	if cmd.name == "" {
		return fmt.Errorf("uow: %s is not for a unit, which commits and rolls back by itself: use BeginTx for a part of it", cmd.verb)
	}
	if len(c.levels) == 0 {
		return fmt.Errorf("uow: %s outside of a transaction: use BeginTx", cmd.verb)
	}
	if cmd.verb == "SAVEPOINT" {
		return c.push(ctx, cmd.name)
	}
	i := c.savepoint(cmd.name)
	if i < 0 {
		return fmt.Errorf("uow: %s: there is no such savepoint in the transaction", cmd.verb)
	}
	if cmd.verb == "RELEASE" {
		return c.commit(i)
	}
	if err := c.rollback(i); err != nil {
		return err
	}
	return c.push(ctx, cmd.name) // it can be rolled back to again
}

// savepoint returns the place of the innermost savepoint of the name within the
// innermost transaction.
func (c *conn) savepoint(name string) int {
	for i := len(c.levels) - 1; i >= 0 && c.levels[i].name != ""; i-- {
		if c.levels[i].name == name {
			return i
		}
	}
	return -1
}
