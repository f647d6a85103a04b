package sqlite

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	sqldriver "database/sql/driver"

	"github.com/uow-go/uow/driver"
)

func literal(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

// quoteQualified quotes a name that may have a schema.
func quoteQualified(name string) string {
	schema, rest, ok := strings.Cut(name, ".")
	if !ok {
		return quote(name)
	}
	return quote(schema) + "." + quote(rest)
}

// checkMapped demands that a table of the user's has the columns of its collection,
// and finds out how it keeps times.
func (t *table) checkMapped(c *conn) error {
	m := t.desc.Table
	_, plain, ok := strings.Cut(m.Name, ".")
	if !ok {
		plain = m.Name
	}
	existing, err := columns(c, plain)
	if err != nil {
		return err
	}
	if len(existing) == 0 {
		return fmt.Errorf("%w: there is no table %s", ErrMismatch, m.Name)
	}
	types := map[string]string{} // case does not count
	for name, kind := range existing {
		types[strings.ToLower(name)] = strings.ToUpper(kind)
	}
	wanted := []string{m.Key, m.Version}
	if m.Sequence != "" {
		wanted = append(wanted, m.Sequence)
	}
	for _, index := range t.desc.Indexes {
		wanted = append(wanted, index.Name)
	}
	t.textTimes = map[int]bool{}
	for i, name := range wanted {
		kind, ok := types[strings.ToLower(name)]
		if !ok {
			return fmt.Errorf("%w: the table %s has no column %s", ErrMismatch, m.Name, name)
		}
		if place := i - len(wanted) + len(t.desc.Indexes); place >= 0 && t.desc.Indexes[place].Kind == driver.Time {
			t.textTimes[place] = !strings.Contains(kind, "INT")
		}
	}
	return nil
}

// timeLayout is how times are written to columns of the user's that are no integers:
// their order as texts is that in time.
const timeLayout = "2006-01-02 15:04:05.000000-07:00"

// encode turns a value into what its column holds.
func (t *table) encode(place int, v driver.Value) sqldriver.Value {
	at, isTime := v.(time.Time)
	if isTime && t.textTimes[place] {
		return at.UTC().Format(timeLayout)
	}
	if b, ok := v.([]byte); ok && place >= 0 && t.desc.Indexes[place].Kind == driver.JSON {
		return string(b)
	}
	return encode(v)
}

// decode turns what a column of the user's holds into a value.
func (t *table) decode(place int, v sqldriver.Value) (driver.Value, error) {
	if v == nil {
		return nil, nil
	}
	index := t.desc.Indexes[place]
	switch index.Kind {
	case driver.String, driver.Decimal:
		return textOf(v), nil
	case driver.Bytes:
		if s, ok := v.(string); ok {
			return []byte(s), nil
		}
		return notNil(blob(v)), nil
	case driver.JSON:
		return []byte(textOf(v)), nil
	case driver.Bool:
		return number(v) != 0, nil
	case driver.Time:
		at, err := parseTime(v)
		if err != nil {
			return nil, fmt.Errorf("sqlite: column %s: %w", index.Name, err)
		}
		return at, nil
	case driver.Float:
		if n, ok := v.(int64); ok {
			return float64(n), nil
		}
	}
	return v, nil
}

func textOf(v sqldriver.Value) string {
	switch x := v.(type) {
	case string:
		return x
	case []byte:
		return string(x)
	case int64:
		return strconv.FormatInt(x, 10)
	case float64:
		return strconv.FormatFloat(x, 'f', -1, 64)
	}
	return fmt.Sprint(v)
}

// parseTime reads the ways in which SQLite's own functions, and the drivers for Go,
// write times; integers are microseconds.
func parseTime(v sqldriver.Value) (time.Time, error) {
	switch x := v.(type) {
	case int64:
		return fromMicros(x), nil
	case time.Time:
		return x.UTC().Truncate(time.Microsecond), nil
	}
	s := textOf(v)
	for _, layout := range []string{
		"2006-01-02 15:04:05.999999999-07:00", time.RFC3339Nano, "2006-01-02 15:04:05.999999999",
		"2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05.999999999 -0700 MST", "2006-01-02 15:04", "2006-01-02",
	} {
		if at, err := time.Parse(layout, s); err == nil {
			return at.UTC().Truncate(time.Microsecond), nil
		}
	}
	return time.Time{}, fmt.Errorf("%.40q is no time that is known", s)
}

// row makes a row of what selectRows returned, but for the id.
func (t *table) row(id string, found []sqldriver.Value) (driver.Row, error) {
	row := driver.Row{ID: id, Version: number(found[0]), Sequence: number(found[1])}
	if t.desc.Table == nil {
		row.Body = blob(found[2])
		return row, nil
	}
	row.Indexes = make([]driver.Value, len(t.desc.Indexes))
	for i := range row.Indexes {
		v, err := t.decode(i, found[2+i])
		if err != nil {
			return row, err
		}
		row.Indexes[i] = v
	}
	return row, nil
}

// width is how many columns selectOne has.
func (t *table) width() int {
	if t.desc.Table == nil {
		return 3
	}
	return 2 + len(t.desc.Indexes)
}

// countEvents keeps the sequence of a row whose table has no column for it.
func (w *writer) countEvents(r *request, t *table, i int) error {
	if t.sequenced {
		return nil
	}
	row := &r.cs.Writes[i]
	for j := range r.cs.Messages {
		m := &r.cs.Messages[j]
		if m.Write != i+1 {
			continue
		}
		_, err := w.conn.exec(`INSERT INTO uow_tombstones VALUES (?, ?, 0, ?)
			ON CONFLICT (collection, id) DO UPDATE SET sequence = excluded.sequence`,
			row.Collection, row.ID, row.Sequence+r.shift(m))
		return err
	}
	return nil
}

// checkRange asks again what a serializable unit has asked before.
func (w *writer) checkRange(r *request, found *driver.Range) error {
	t, err := w.store.table(found.Collection)
	if err != nil {
		return &ownError{err}
	}
	q, want := found.Again(r.own[found.Collection])
	query, args, err := t.find(q)
	if err != nil {
		return &ownError{err}
	}
	rows, err := readRows(context.Background(), w.conn, t, query, args)
	if err != nil {
		return wrap("check "+found.Collection, err)
	}
	got := make([]driver.RowVersion, len(rows))
	for i, row := range rows {
		got[i] = driver.RowVersion{ID: row.ID, Version: row.Version}
	}
	return found.Differs(want, got)
}

// letGo sets a unique value that another row takes to NULL.
func (w *writer) letGo(release *driver.Release) error {
	t, err := w.store.table(release.Collection)
	if err != nil || release.Index < 0 || release.Index >= len(t.release) {
		return &ownError{fmt.Errorf("sqlite: %s/%s has no index %d to release", release.Collection, release.ID, release.Index)}
	}
	if _, err := w.conn.exec(t.release[release.Index], release.ID); err != nil {
		return wrap("write "+release.Collection+"/"+release.ID, err)
	}
	return nil
}

// GetForUpdate implements driver.Locker. SQLite locks the whole database: the unit
// has the writer for itself from here on.
func (t *tx) GetForUpdate(ctx context.Context, collection string, ids []string) ([]driver.Row, error) {
	if err := t.usable(ctx); err != nil {
		return nil, err
	}
	if _, err := t.upgrade(ctx); err != nil {
		return nil, err
	}
	return t.Get(ctx, collection, ids)
}
