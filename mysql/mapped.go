package mysql

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	sqldriver "database/sql/driver"

	"github.com/uow-go/uow/driver"
)

// canonical reports whether an id is an integer as its text is written.
func canonical(id string) bool {
	if n, err := strconv.ParseInt(id, 10, 64); err == nil {
		return strconv.FormatInt(n, 10) == id
	}
	n, err := strconv.ParseUint(id, 10, 64)
	return err == nil && strconv.FormatUint(n, 10) == id
}

// keyText returns the id as text that is ordered by bytes.
func (t *table) keyText() string {
	if t.desc.Table == nil {
		return t.key
	}
	return "CAST(" + t.key + " AS CHAR CHARACTER SET utf8mb4) COLLATE " + t.collation
}

// mapTable demands that a table of the user's has the columns of its collection, and
// finds out how they are to be read and written.
func (s *Store) mapTable(ctx context.Context, c *session, t *table) error {
	m := t.desc.Table
	database, name := s.database, m.Name
	if before, after, ok := strings.Cut(m.Name, "."); ok {
		database, name = before, after
	}
	existing, err := s.columnsOf(ctx, c, database, name)
	if err != nil {
		return err
	}
	if len(existing) == 0 {
		return fmt.Errorf("%w: there is no table %s", ErrMismatch, m.Name)
	}
	t.name, t.key, t.version, t.sequence = quote(database)+"."+quote(name), quote(m.Key), quote(m.Version), ""
	t.offset, t.collation = m.FirstVersion-1, s.collation
	wanted := []string{m.Key, m.Version}
	if m.Sequence != "" {
		t.sequence = quote(m.Sequence)
		wanted = append(wanted, m.Sequence)
	}
	for _, index := range t.desc.Indexes {
		wanted = append(wanted, index.Name)
	}
	for _, column := range wanted {
		if _, ok := existing[strings.ToLower(column)]; !ok {
			return fmt.Errorf("%w: the table %s has no column %s", ErrMismatch, m.Name, column)
		}
	}
	if err := t.mapKey(existing[strings.ToLower(m.Key)]); err != nil {
		return err
	}
	if err := s.mapIndexes(ctx, c, t, database, name); err != nil {
		return err
	}
	return s.mapColumns(ctx, c, t, existing)
}

// dataType returns the name of a column's type, without its width.
func (c column) dataType() string {
	name, _, _ := strings.Cut(c.kind, "(")
	name, _, _ = strings.Cut(name, " ")
	return name
}

// mapKey finds out what the ids are.
func (t *table) mapKey(key column) error {
	switch kind := key.dataType(); kind {
	case "tinyint", "smallint", "mediumint", "int", "bigint":
		t.numeric = true
	case "char", "varchar", "uuid", "enum":
	default:
		return fmt.Errorf("%w: the key %s is of the type %s, want an integer, a string or a uuid", ErrMismatch, t.key, kind)
	}
	return nil
}

// mapIndexes finds the index of the key, and those that may report a duplicate.
func (s *Store) mapIndexes(ctx context.Context, c *session, t *table, database, name string) error {
	members := map[string][]string{} // the columns of each unique index
	sc := newScript().add("SELECT index_name, column_name FROM information_schema.statistics WHERE non_unique = 0 AND table_schema = ").
		quoted(database).add(" AND table_name = ").quoted(name).
		query(func(row []sqldriver.Value) error {
			members[text(row[0])] = append(members[text(row[0])], strings.ToLower(text(row[1])))
			return nil
		})
	if err := s.run(ctx, c, sc); err != nil {
		return err
	}
	t.indexName, t.uniques = "", make([][]string, len(t.desc.Indexes))
	for index, columns := range members {
		if slices.Equal(columns, []string{strings.ToLower(t.desc.Table.Key)}) && (t.indexName == "" || index == "PRIMARY") {
			t.indexName = index
		}
		for i, wanted := range t.desc.Indexes {
			if slices.Contains(columns, strings.ToLower(wanted.Name)) {
				t.uniques[i] = append(t.uniques[i], index)
			}
		}
	}
	if t.indexName == "" {
		return fmt.Errorf("%w: the key %s of the table %s is neither its primary key nor unique", ErrMismatch, t.key, t.desc.Table.Name)
	}
	return nil
}

// mapColumns makes the list of columns that are read.
func (s *Store) mapColumns(ctx context.Context, c *session, t *table, existing map[string]column) error {
	list := []string{t.keyText(), t.version, t.sequence}
	if t.sequence == "" {
		list[2] = "COALESCE((SELECT g.sequence FROM " + s.schema + "uow_tombstones g WHERE g.collection = " +
			string((&script{}).quoted(t.desc.Name).b) + " AND g.id = " + t.keyText() + "), 0)"
	}
	zoned := false
	for i, index := range t.desc.Indexes {
		kind := existing[strings.ToLower(index.Name)].dataType()
		switch {
		case index.Kind == driver.Time && !slices.Contains([]string{"datetime", "timestamp", "date"}, kind):
			return fmt.Errorf("%w: column %s is of the type %s, want a DATETIME, TIMESTAMP or DATE", ErrMismatch, index.Name, kind)
		case index.Kind == driver.Time:
			list = append(list, "CAST("+t.columns[i]+" AS CHAR)")
			zoned = zoned || kind == "timestamp"
		case kind == "bit":
			list = append(list, t.columns[i]+" + 0")
		default:
			list = append(list, t.columns[i])
		}
	}
	t.selected = strings.Join(list, ", ")
	if zoned {
		return s.checkZone(ctx, c)
	}
	return nil
}

// checkZone makes sure that a TIMESTAMP is read and written in UTC.
func (s *Store) checkZone(ctx context.Context, c *session) error {
	utc := false
	sc := newScript().add("SELECT TIMESTAMPDIFF(MINUTE, UTC_TIMESTAMP(), NOW()) = 0").query(func(row []sqldriver.Value) error {
		utc = number(row[0]) == 1
		return nil
	})
	if err := s.run(ctx, c, sc); err != nil {
		return err
	}
	if !utc {
		return fmt.Errorf("%w: the connection's time_zone is not UTC, and a column is a TIMESTAMP", ErrServer)
	}
	return nil
}

// decode reads the values of a row of a table of the user's.
func (t *table) decode(r *driver.Row, found []sqldriver.Value) error {
	r.Indexes = make([]driver.Value, len(found))
	for i, v := range found {
		if v == nil {
			continue
		}
		index := t.desc.Indexes[i]
		switch index.Kind {
		case driver.Int:
			r.Indexes[i] = number(v)
		case driver.Bool:
			r.Indexes[i] = number(v) != 0
		case driver.Float:
			x, err := strconv.ParseFloat(textOf(v), 64)
			if err != nil {
				return fmt.Errorf("mysql: column %s: %w", index.Name, err)
			}
			r.Indexes[i] = x
		case driver.Time:
			at, err := parseTime(textOf(v))
			if err != nil {
				return fmt.Errorf("mysql: column %s: %w", index.Name, err)
			}
			r.Indexes[i] = at
		case driver.Bytes, driver.JSON:
			r.Indexes[i] = blob(v)
		default:
			r.Indexes[i] = textOf(v)
		}
	}
	return nil
}

// parseTime reads a DATETIME, TIMESTAMP or DATE that was cast to CHAR.
func parseTime(text string) (time.Time, error) {
	if at, err := time.Parse("2006-01-02", text); err == nil {
		return at, nil
	}
	return time.Parse("2006-01-02 15:04:05.999999", text)
}

// textOf returns the text of a value of any type.
func textOf(v sqldriver.Value) string {
	switch x := v.(type) {
	case []byte:
		return string(x)
	case string:
		return x
	case int64:
		return strconv.FormatInt(x, 10)
	case uint64:
		return strconv.FormatUint(x, 10)
	case float64:
		return strconv.FormatFloat(x, 'g', -1, 64)
	case float32:
		return strconv.FormatFloat(float64(x), 'g', -1, 32)
	case time.Time:
		return x.Format(timeFormat)
	}
	return ""
}

// goOnMapped lets inserted rows of a table of the user's go on from what is
// remembered. It looks for each row, since its key may not be compared with ours by
// an index.
func (t *table) goOnMapped(s *script, graves string, rows []*driver.Write) {
	remembered := func(what string) {
		s.add(" + COALESCE((SELECT g.", what, " FROM ", graves, " WHERE g.collection = ").quoted(t.desc.Name).
			add(" AND g.id = CAST(t.", t.key, " AS CHAR CHARACTER SET utf8mb4) COLLATE ", t.collation, "), 0)")
	}
	s.add("UPDATE ", t.name, " AS t", t.keyed(), " SET ", t.version, " = ", t.version)
	remembered("version")
	if t.sequence != "" {
		s.add(", ", t.sequence, " = ", t.sequence)
		remembered("sequence")
	}
	s.add(" WHERE t.", t.key, " IN (").list(len(rows), func(i int) { t.id(s, rows[i].ID) }).add(")").end()
}
