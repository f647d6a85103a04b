package postgres

import (
	"context"
	"database/sql"
	sqldriver "database/sql/driver"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"

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
// A statement that fails outside of such a transaction leaves a unit that can only be
// rolled back, as PostgreSQL wants it: begin one around what may fail.
//
// A query reads its rows to their end, into memory: use Tx to stream. Values come and
// go as with pgx's own stdlib, so arrays, numerics and UUIDs as text.
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
	err = inside(ctx, dtx, func(_ *tx, c *pgx.Conn) error {
		tag, err := c.Exec(ctx, query, positional(args)...)
		result = sqldriver.RowsAffected(tag.RowsAffected())
		return native(err)
	})
	return result, err
}

// Query implements sqlunit.Native.
func (ownSQL) Query(ctx context.Context, dtx driver.Tx, query string, args []sqldriver.NamedValue) (results []sqlunit.Result, err error) {
	err = inside(ctx, dtx, func(_ *tx, c *pgx.Conn) error {
		rows, err := c.Query(ctx, query, append([]any{binaryResults()}, positional(args)...)...)
		if err != nil {
			return native(err)
		}
		defer rows.Close()
		r, err := readAll(rows, c.TypeMap())
		results = []sqlunit.Result{r}
		return native(err)
	})
	return results, err
}

// positional returns the values alone: PostgreSQL has no named parameters.
func positional(args []sqldriver.NamedValue) []any {
	values := make([]any, len(args))
	for i, a := range args {
		values[i] = a.Value
	}
	return values
}

// binaryResults asks for binary values of the types that database/sql has, and for
// text of all others.
func binaryResults() pgx.QueryResultFormatsByOID {
	return pgx.QueryResultFormatsByOID{
		pgtype.BoolOID: 1, pgtype.ByteaOID: 1, pgtype.CIDOID: 1, pgtype.DateOID: 1,
		pgtype.Float4OID: 1, pgtype.Float8OID: 1, pgtype.Int2OID: 1, pgtype.Int4OID: 1, pgtype.Int8OID: 1,
		pgtype.OIDOID: 1, pgtype.TimestampOID: 1, pgtype.TimestamptzOID: 1, pgtype.XIDOID: 1,
	}
}

// readAll reads rows to their end.
func readAll(rows pgx.Rows, types *pgtype.Map) (r sqlunit.Result, err error) {
	var convert []func(src []byte) (sqldriver.Value, error)
	describe := func(fields []pgconn.FieldDescription) {
		for _, f := range fields {
			r.Columns = append(r.Columns, column(f, types))
			convert = append(convert, converter(f, types))
		}
	}
	for rows.Next() {
		if r.Columns == nil {
			describe(rows.FieldDescriptions())
		}
		row := make([]sqldriver.Value, len(convert))
		for i, src := range rows.RawValues() {
			if src == nil {
				continue
			}
			if row[i], err = convert[i](src); err != nil {
				return r, err
			}
		}
		r.Rows = append(r.Rows, row)
	}
	if r.Columns == nil {
		describe(rows.FieldDescriptions())
	}
	return r, rows.Err()
}
