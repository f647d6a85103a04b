package postgres

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/uow-go/uow/driver"
)

// Register implements driver.Store. It creates missing tables and indexes. An
// index is added to a table only while the table is empty, since the store can't
// read values out of bodies; the same is true of a change of an index' kind. An
// index that is no longer declared is dropped, its column stays.
func (s *Store) Register(ctx context.Context, collections []driver.Collection) error {
	tables := make(map[string]*table, len(collections))
	listed := make([]*table, 0, len(collections))
	for i, desc := range collections {
		if desc.Table != nil {
			listed = append(listed, nil) // until its columns are known
			continue
		}
		if err := checkColumns(desc); err != nil {
			return err
		}
		listed = append(listed, newTable(s.schema, s.options.Bodies, i, desc))
	}
	c, err := s.acquire(ctx)
	if err != nil {
		return err
	}
	defer c.Release()
	err = s.locked(ctx, c.Conn(), unquote(s.schema), func(tx pgx.Tx) error {
		for i, desc := range collections {
			var err error
			if desc.Table != nil {
				listed[i], err = s.registerMapped(ctx, tx, i, desc)
			} else {
				err = s.registerTable(ctx, tx, listed[i])
			}
			if err != nil {
				return fmt.Errorf("collection %s: %w", desc.Name, err)
			}
			tables[desc.Name] = listed[i]
		}
		return nil
	})
	if err != nil {
		return s.wrap(ctx, "register", err)
	}
	s.tables, s.listed = tables, listed
	return nil
}

func unquote(name string) string {
	return strings.ReplaceAll(name[1:len(name)-1], `""`, `"`)
}

func checkColumns(desc driver.Collection) error {
	columns := map[string]bool{"id": true, "version": true, "sequence": true, "body": true}
	for _, index := range desc.Indexes {
		if columns[index.Name] {
			return fmt.Errorf("postgres: collection %s: there are two columns %s", desc.Name, index.Name)
		}
		columns[index.Name] = true
	}
	return nil
}

func (s *Store) registerTable(ctx context.Context, tx pgx.Tx, t *table) error {
	existing, err := columns(ctx, tx, t.name)
	if err != nil {
		return err
	}
	if s.options.FixedSchema {
		return s.checkFixed(ctx, tx, t, existing)
	}
	if len(existing) == 0 {
		return s.createTable(ctx, tx, t)
	}
	if err := s.checkOwnColumns(existing); err != nil {
		return err
	}
	known, err := indexes(ctx, tx, t)
	if err != nil {
		return err
	}
	for _, index := range t.desc.Indexes {
		name := indexName(t.desc.Name, index.Name)
		unique, ok := known[name]
		delete(known, name)
		if err := ensureColumn(ctx, tx, t, index, existing, ok); err != nil {
			return err
		}
		if ok && unique == index.Unique {
			continue
		}
		if ok {
			if err := dropIndex(ctx, tx, s.schema, name); err != nil {
				return err
			}
		}
		if err := createIndex(ctx, tx, t, index); err != nil {
			return err
		}
	}
	for name := range known {
		if err := dropIndex(ctx, tx, s.schema, name); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) checkOwnColumns(existing map[string]string) error {
	for name, want := range map[string]string{
		"id": `text COLLATE "C"`, "version": "bigint", "sequence": "bigint", "body": s.options.Bodies.sqlType(),
	} {
		if existing[name] != want {
			return fmt.Errorf("%w: column %s is %q, want %s", ErrMismatch, name, existing[name], want)
		}
	}
	return nil
}

func columnType(k driver.Kind) string {
	if k == driver.String {
		return `text COLLATE "C"`
	}
	return sqlType(k)
}

func execute(ctx context.Context, tx pgx.Tx, query string) error {
	_, err := tx.Exec(ctx, query, pgx.QueryExecModeExec)
	return err
}

func (s *Store) createTable(ctx context.Context, tx pgx.Tx, t *table) error {
	for _, query := range t.create(s.options.Bodies) {
		if err := execute(ctx, tx, query); err != nil {
			return err
		}
	}
	return nil
}

// create returns the statements that make the table and its indexes.
func (t *table) create(bodies Bodies) []string {
	var b strings.Builder
	fmt.Fprintf(&b, `CREATE TABLE %s (id text COLLATE "C" CONSTRAINT %s PRIMARY KEY, version bigint NOT NULL, sequence bigint NOT NULL`,
		t.name, quote(indexName(t.desc.Name, "id")))
	for _, index := range t.desc.Indexes {
		fmt.Fprintf(&b, ", %s %s", quote(index.Name), columnType(index.Kind))
	}
	fmt.Fprintf(&b, ", body %s NOT NULL)", bodies.sqlType())
	all := []string{b.String()}
	for _, index := range t.desc.Indexes {
		all = append(all, t.createIndex(index))
	}
	return all
}

// ensureColumn makes a table have an index' column. A column without its index is left
// over from when it was declared: rows that were written since have no value in it, or
// an old one.
func ensureColumn(ctx context.Context, tx pgx.Tx, t *table, index driver.Index, existing map[string]string, indexed bool) error {
	column, ok := existing[index.Name]
	if ok && indexed && column == columnType(index.Kind) {
		return nil
	}
	var rows bool
	if err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM `+t.name+`)`, pgx.QueryExecModeExec).Scan(&rows); err != nil {
		return err
	}
	if rows {
		return fmt.Errorf("%w: index %s is new, or of another kind than before, and the table has rows, whose values only the application knows: "+
			"make it by hand, while nobody writes: %s; UPDATE the column to the value of each row; %s", ErrMismatch, index.Name, t.addColumn(index), t.createIndex(index))
	}
	if ok {
		if err := execute(ctx, tx, fmt.Sprintf("ALTER TABLE %s DROP COLUMN %s", t.name, quote(index.Name))); err != nil {
			return err
		}
	}
	return execute(ctx, tx, t.addColumn(index))
}

func (t *table) addColumn(index driver.Index) string {
	return fmt.Sprintf("ALTER TABLE %s ADD COLUMN %s %s", t.name, quote(index.Name), columnType(index.Kind))
}

func (t *table) createIndex(index driver.Index) string {
	format := "CREATE INDEX %s ON %s (%s NULLS FIRST, id)" // has the order of queries, which end with the id
	if index.Unique {
		format = "CREATE UNIQUE INDEX %s ON %s (%s)"
	}
	return fmt.Sprintf(format, quote(indexName(t.desc.Name, index.Name)), t.name, quote(index.Name))
}

func createIndex(ctx context.Context, tx pgx.Tx, t *table, index driver.Index) error {
	err := execute(ctx, tx, t.createIndex(index))
	if code(err) == codeUnique {
		return fmt.Errorf("%w: index %s is to be unique, and two rows have the same value: %w", ErrMismatch, index.Name, err)
	}
	return err
}

func dropIndex(ctx context.Context, tx pgx.Tx, schema, name string) error {
	return execute(ctx, tx, "DROP INDEX IF EXISTS "+schema+"."+quote(name))
}

// columns returns the types of a table's columns; none when there is no table.
func columns(ctx context.Context, tx pgx.Tx, table string) (map[string]string, error) {
	rows, err := tx.Query(ctx, `SELECT a.attname, format_type(a.atttypid, a.atttypmod),
		a.attcollation = (SELECT oid FROM pg_collation WHERE collname = 'C' AND collnamespace = 'pg_catalog'::regnamespace)
		FROM pg_attribute a WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped`, pgx.QueryExecModeExec, table)
	if err != nil {
		return nil, err
	}
	found := map[string]string{}
	var name, kind string
	var c bool
	_, err = pgx.ForEachRow(rows, []any{&name, &kind, &c}, func() error {
		if c {
			kind += ` COLLATE "C"`
		}
		found[name] = kind
		return nil
	})
	return found, err
}

// indexes returns the indexes of a table that this package has made, and whether
// they are unique.
func indexes(ctx context.Context, tx pgx.Tx, t *table) (map[string]bool, error) {
	rows, err := tx.Query(ctx, `SELECT c.relname, i.indisunique FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
		WHERE i.indrelid = to_regclass($1) AND NOT i.indisprimary`, pgx.QueryExecModeExec, t.name)
	if err != nil {
		return nil, err
	}
	found := map[string]bool{}
	var name string
	var unique bool
	_, err = pgx.ForEachRow(rows, []any{&name, &unique}, func() error {
		if strings.HasPrefix(name, t.desc.Name+".") {
			found[name] = unique
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return found, nil
}
