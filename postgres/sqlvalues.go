package postgres

import (
	sqldriver "database/sql/driver"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/uow-go/uow/internal/sqlunit"
)

// converter makes one of database/sql's values of a column's.
func converter(f pgconn.FieldDescription, types *pgtype.Map) func(src []byte) (sqldriver.Value, error) {
	switch f.DataTypeOID {
	case pgtype.BoolOID:
		return scan(f, types, same[bool])
	case pgtype.Int2OID, pgtype.Int4OID, pgtype.Int8OID:
		return scan(f, types, same[int64])
	case pgtype.Float4OID:
		return scan(f, types, func(v float32) (sqldriver.Value, error) { return float64(v), nil })
	case pgtype.Float8OID:
		return scan(f, types, same[float64])
	case pgtype.ByteaOID, pgtype.JSONOID, pgtype.JSONBOID, pgtype.XMLOID:
		return scan(f, types, same[[]byte])
	case pgtype.CIDOID, pgtype.OIDOID, pgtype.XIDOID:
		return scan(f, types, pgtype.Uint32.Value)
	case pgtype.DateOID:
		return scan(f, types, pgtype.Date.Value)
	case pgtype.TimestampOID:
		return scan(f, types, pgtype.Timestamp.Value)
	case pgtype.TimestamptzOID:
		return scan(f, types, pgtype.Timestamptz.Value)
	}
	return scan(f, types, same[string])
}

func same[T any](v T) (sqldriver.Value, error) { return v, nil }

func scan[T any](f pgconn.FieldDescription, types *pgtype.Map, value func(T) (sqldriver.Value, error)) func(src []byte) (sqldriver.Value, error) {
	plan := types.PlanScan(f.DataTypeOID, f.Format, new(T))
	return func(src []byte) (sqldriver.Value, error) {
		v := new(T)
		if err := plan.Scan(src, v); err != nil {
			return nil, fmt.Errorf("postgres: column %s: %w", f.Name, err)
		}
		return value(*v)
	}
}

// modifierHeader is what PostgreSQL adds to the length in a type's modifier.
const modifierHeader = 4

// column says of a column what database/sql can ask.
func column(f pgconn.FieldDescription, types *pgtype.Map) sqlunit.Column {
	c := sqlunit.Column{Name: f.Name, DatabaseType: strconv.FormatUint(uint64(f.DataTypeOID), 10), ScanType: reflect.TypeFor[string]()}
	if t, ok := types.TypeForOID(f.DataTypeOID); ok {
		c.DatabaseType = strings.ToUpper(t.Name)
	}
	modifier := int64(f.TypeModifier)
	switch f.DataTypeOID {
	case pgtype.TextOID:
		c.Length, c.HasLength = math.MaxInt64, true
	case pgtype.ByteaOID:
		c.Length, c.HasLength, c.ScanType = math.MaxInt64, true, reflect.TypeFor[[]byte]()
	case pgtype.VarcharOID, pgtype.BPCharOID:
		c.Length, c.HasLength = modifier-modifierHeader, true
	case pgtype.VarbitOID:
		c.Length, c.HasLength = modifier, true
	case pgtype.NumericOID:
		modifier -= modifierHeader
		c.Precision, c.Scale, c.HasDecimal = modifier>>16&0xffff, modifier&0xffff, true
		c.ScanType = reflect.TypeFor[float64]()
	case pgtype.Float8OID:
		c.ScanType = reflect.TypeFor[float64]()
	case pgtype.Float4OID:
		c.ScanType = reflect.TypeFor[float32]()
	case pgtype.Int8OID:
		c.ScanType = reflect.TypeFor[int64]()
	case pgtype.Int4OID:
		c.ScanType = reflect.TypeFor[int32]()
	case pgtype.Int2OID:
		c.ScanType = reflect.TypeFor[int16]()
	case pgtype.BoolOID:
		c.ScanType = reflect.TypeFor[bool]()
	case pgtype.DateOID, pgtype.TimestampOID, pgtype.TimestamptzOID:
		c.ScanType = reflect.TypeFor[time.Time]()
	}
	return c
}
