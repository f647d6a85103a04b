package sqlite

import (
	"context"
	sqldriver "database/sql/driver"
	"fmt"
	"strings"

	"github.com/uow-go/uow/driver"
	sqlite3 "modernc.org/sqlite/lib"
)

// Register implements driver.Store. It creates missing tables and indexes. An
// index is added to a table only while the table is empty, since the store can't
// read values out of bodies; the same is true of a change of an index' kind. An
// index that is no longer declared is dropped, its column stays. With
// Options.FixedSchema it only compares.
func (s *Store) Register(ctx context.Context, collections []driver.Collection) error {
	tables := make(map[string]*table, len(collections))
	taken := map[string]string{}
	for _, desc := range collections {
		if err := checkNames(desc, taken); err != nil {
			return err
		}
		t := newTable(desc)
		tables[desc.Name] = t
		err := s.writer.do(ctx, func(c *conn) error {
			if desc.Table != nil {
				return t.checkMapped(c)
			}
			if s.options.FixedSchema {
				return checkFixed(c, desc)
			}
			return registerTable(c, desc)
		})
		if err != nil {
			return fmt.Errorf("sqlite: collection %s: %w", desc.Name, err)
		}
	}
	s.tables = tables
	return nil
}

// checkNames refuses names that differ in case only, which SQLite takes for the
// same. taken has the collections so far.
func checkNames(desc driver.Collection, taken map[string]string) error {
	if other, ok := taken[strings.ToLower(desc.Name)]; ok {
		return fmt.Errorf("sqlite: collections %s and %s: the names differ in case only", other, desc.Name)
	}
	taken[strings.ToLower(desc.Name)] = desc.Name
	if desc.Table != nil {
		return nil
	}
	columns := map[string]string{"id": "id", "version": "version", "sequence": "sequence", "body": "body"}
	for _, index := range desc.Indexes {
		if other, ok := columns[strings.ToLower(index.Name)]; ok {
			return fmt.Errorf("sqlite: collection %s: the columns %s and %s differ in case only", desc.Name, other, index.Name)
		}
		columns[strings.ToLower(index.Name)] = index.Name
	}
	return nil
}

// declared is an index as uow_indexes remembers it.
type declared struct {
	kind   string
	unique bool
}

func registerTable(c *conn, desc driver.Collection) error {
	existing, err := columns(c, desc.Name)
	if err != nil {
		return err
	}
	if len(existing) == 0 {
		return createTable(c, desc)
	}
	if err := checkOwnColumns(existing); err != nil {
		return err
	}
	known, err := declaredIndexes(c, desc.Name)
	if err != nil {
		return err
	}
	for _, index := range desc.Indexes {
		old, ok := known[index.Name]
		delete(known, index.Name)
		if ok && old.kind == kindName(index.Kind) && old.unique == index.Unique {
			continue
		}
		if err := changeIndex(c, desc.Name, index, old, existing); err != nil {
			return err
		}
	}
	for name := range known {
		if err := forgetIndex(c, desc.Name, name); err != nil {
			return err
		}
	}
	return nil
}

func checkOwnColumns(existing map[string]string) error {
	for name, kind := range map[string]string{"id": "TEXT", "version": "INTEGER", "sequence": "INTEGER", "body": "ANY"} {
		if existing[name] != kind {
			return fmt.Errorf("%w: column %s is %q, want %s: the table was not made by this package", ErrMismatch, name, existing[name], kind)
		}
	}
	return nil
}

func createTable(c *conn, desc driver.Collection) error {
	if err := c.script(createTableSQL(desc)); err != nil {
		return err
	}
	for _, index := range desc.Indexes {
		if err := createIndex(c, desc.Name, index); err != nil {
			return err
		}
	}
	return nil
}

// createTableSQL makes a table with rowids: for bodies of 2 KB it takes half the time
// of one WITHOUT ROWID, whose upper pages would be full of bodies, and for small
// ones the same.
func createTableSQL(desc driver.Collection) string {
	var b strings.Builder
	fmt.Fprintf(&b, "CREATE TABLE %s (id TEXT PRIMARY KEY NOT NULL, version INTEGER NOT NULL, sequence INTEGER NOT NULL", quote(desc.Name))
	for _, index := range desc.Indexes {
		fmt.Fprintf(&b, ", %s %s", quote(index.Name), columnType(index.Kind))
	}
	b.WriteString(", body ANY NOT NULL) STRICT")
	return b.String()
}

// changeIndex makes an existing table have an index that is new, or that was
// declared otherwise before.
func changeIndex(c *conn, collection string, index driver.Index, old declared, existing map[string]string) error {
	if old.kind != kindName(index.Kind) {
		_, rows, err := c.integer(`SELECT 1 FROM ` + quote(collection) + ` LIMIT 1`)
		if err != nil {
			return err
		}
		if rows {
			return fmt.Errorf("%w: index %s is new, or of another kind than before, and the table has rows, whose values only the application knows: "+
				"make it by hand, while nobody writes: %s; UPDATE the column to the value of each row; %s", ErrMismatch, index.Name, addColumnSQL(collection, index), indexSQL(collection, index))
		}
		column, ok := existing[index.Name]
		if ok && column != columnType(index.Kind) {
			return fmt.Errorf("%w: column %s is %s, want %s: drop the empty table", ErrMismatch, index.Name, column, columnType(index.Kind))
		}
		if !ok {
			if err := c.script(addColumnSQL(collection, index)); err != nil {
				return err
			}
		}
	}
	if err := forgetIndex(c, collection, index.Name); err != nil {
		return err
	}
	return createIndex(c, collection, index)
}

func addColumnSQL(collection string, index driver.Index) string {
	return fmt.Sprintf("ALTER TABLE %s ADD COLUMN %s %s", quote(collection), quote(index.Name), columnType(index.Kind))
}

func indexName(collection, index string) string { return quote(collection + "." + index) }

func createIndexSQL(collection string, index driver.Index) string {
	format := "CREATE INDEX %s ON %s (%s, id)" // has the order of queries, which end with the id
	if index.Unique {
		format = "CREATE UNIQUE INDEX %s ON %s (%s)"
	}
	return fmt.Sprintf(format, indexName(collection, index.Name), quote(collection), quote(index.Name))
}

func createIndex(c *conn, collection string, index driver.Index) error {
	err := c.script(createIndexSQL(collection, index))
	if code(err) == sqlite3.SQLITE_CONSTRAINT_UNIQUE {
		return fmt.Errorf("%w: index %s is to be unique, and two rows have the same value: %w", ErrMismatch, index.Name, err)
	}
	if err != nil {
		return err
	}
	_, err = c.exec(`INSERT INTO uow_indexes VALUES (?, ?, ?, ?)`, collection, index.Name, kindName(index.Kind), encode(index.Unique))
	return err
}

// forgetIndex drops an index, not its column.
func forgetIndex(c *conn, collection, index string) error {
	if err := c.script("DROP INDEX IF EXISTS " + indexName(collection, index)); err != nil {
		return err
	}
	_, err := c.exec(`DELETE FROM uow_indexes WHERE collection = ? AND name = ?`, collection, index)
	return err
}

// columns returns the types of a table's columns; none when there is no table.
func columns(c *conn, name string) (map[string]string, error) {
	found := map[string]string{}
	err := c.query(context.Background(), func(row []sqldriver.Value) error {
		found[text(row[0])] = text(row[1])
		return nil
	}, `SELECT name, type FROM pragma_table_info(?)`, name)
	return found, err
}

func declaredIndexes(c *conn, collection string) (map[string]declared, error) {
	found := map[string]declared{}
	err := c.query(context.Background(), func(row []sqldriver.Value) error {
		found[text(row[0])] = declared{kind: text(row[1]), unique: number(row[2]) == 1}
		return nil
	}, `SELECT name, kind, is_unique FROM uow_indexes WHERE collection = ?`, collection)
	return found, err
}
