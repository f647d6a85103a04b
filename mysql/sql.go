package mysql

import (
	"context"
	"database/sql"
	sqldriver "database/sql/driver"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/driver"
	"github.com/uow-go/uow/internal/sqlunit"
)

// SQL returns the unit as a *sql.DB, for libraries that ask for one (GORM, bun, ent):
// what they change is committed and rolled back together with everything else in the
// unit. What Tx says of SQL holds here too. Each call returns another one, of this
// unit and of no other.
//
// Transactions begun on it are nested units (uow.Unit.Nested): a Commit keeps what
// was done as a part of the unit, which alone commits, and a Rollback undoes it, with
// changes of aggregates, events and messages made meanwhile. So do savepoints that
// libraries set in such transactions. They take no sql.TxOptions, and must end before
// what is around them, else it fails with uow.ErrNestedOpen. When the context of such
// a transaction ends before it does, the unit around it can only be rolled back.
//
// A query reads its rows to their end, into memory: use Tx to stream. Values come and
// go as with the driver's prepared statements.
//
// From two goroutines at once its methods return uow.ErrConcurrentUse. After the
// unit's end what was had from it (*sql.Tx, *sql.Conn) returns uow.ErrUnitClosed; the
// *sql.DB itself is closed then, and has only database/sql's own error for that. It
// need not be closed by the user, and closing it does nothing to the unit.
func SQL(u *uow.Unit) *sql.DB { return sqlunit.Open(u, ownSQL{}) }

// ownSQL runs the statements of SQL.
type ownSQL struct{}

// Exec implements sqlunit.Native.
func (ownSQL) Exec(ctx context.Context, dtx driver.Tx, query string, args []sqldriver.NamedValue) (result sqldriver.Result, err error) {
	err = inside(ctx, dtx, func(tx *sql.Tx) error {
		result, err = sqlunit.Exec(ctx, tx, query, args)
		return err
	})
	return result, err
}

// Query implements sqlunit.Native.
func (ownSQL) Query(ctx context.Context, dtx driver.Tx, query string, args []sqldriver.NamedValue) (results []sqlunit.Result, err error) {
	err = inside(ctx, dtx, func(tx *sql.Tx) error {
		results, err = sqlunit.Query(ctx, tx, query, args)
		return err
	})
	return results, err
}
