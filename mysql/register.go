package mysql

import (
	"context"
	"fmt"
	"strings"

	sqldriver "database/sql/driver"

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
		if err := checkColumns(desc); err != nil {
			return err
		}
		t := s.newTable(i, desc)
		tables[desc.Name], listed = t, append(listed, t)
	}
	c, err := s.acquire(ctx)
	if err != nil {
		return err
	}
	defer c.release()
	err = s.locked(ctx, c, func() error {
		for _, t := range listed {
			register := s.registerTable
			if t.desc.Table != nil {
				register = s.mapTable
			}
			if err := register(ctx, c, t); err != nil {
				return fmt.Errorf("collection %s: %w", t.desc.Name, err)
			}
		}
		return nil
	})
	if err != nil {
		return s.wrap(ctx, "register", err)
	}
	s.tables, s.listed = tables, listed
	return nil
}

// checkColumns refuses names that the server takes for the same.
func checkColumns(desc driver.Collection) error {
	if desc.Table != nil {
		return nil
	}
	columns := map[string]bool{"id": true, "version": true, "sequence": true, "body": true}
	for _, index := range desc.Indexes {
		name := strings.ToLower(index.Name)
		if columns[name] {
			return fmt.Errorf("mysql: collection %s: there are two columns %s", desc.Name, index.Name)
		}
		columns[name] = true
	}
	return nil
}

// column is what the server says of a column.
type column struct{ kind, collation string }

func (s *Store) registerTable(ctx context.Context, c *session, t *table) error {
	existing, err := s.columnsOf(ctx, c, s.database, t.desc.Name)
	if err != nil {
		return err
	}
	if len(existing) == 0 && s.options.FixedSchema {
		return fmt.Errorf("%w: there is no table, and Options.FixedSchema is set; this makes it:\n%s", ErrMismatch, s.tableSQL(t))
	}
	if len(existing) == 0 {
		return s.run(ctx, c, s.createTable(t))
	}
	body := column{"longtext", s.collation}
	if s.options.Bodies == Bytes {
		body = column{"longblob", ""}
	}
	for name, want := range map[string]column{
		"id": {"varchar(255)", s.collation}, "version": {"bigint", ""}, "sequence": {"bigint", ""}, "body": body,
	} {
		if existing[name] != want {
			return fmt.Errorf("%w: column %s is %v, want %v", ErrMismatch, name, existing[name], want)
		}
	}
	known, err := s.indexesOf(ctx, c, t.desc.Name)
	if err != nil {
		return err
	}
	for i := range t.desc.Indexes {
		if err := s.registerIndex(ctx, c, t, i, existing, known); err != nil {
			return err
		}
	}
	for name := range known {
		if s.options.FixedSchema {
			break
		}
		if err := s.run(ctx, c, newScript().add("ALTER TABLE ", t.name, " DROP INDEX ", quote(name)).end()); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) registerIndex(ctx context.Context, c *session, t *table, i int, existing map[string]column, known map[string]bool) error {
	index := t.desc.Indexes[i]
	name := indexName(t.desc.Name, index.Name)
	unique, ok := known[name]
	delete(known, name)
	sc := newScript().add("ALTER TABLE ", t.name)
	was, exists := existing[strings.ToLower(index.Name)]
	// A column without its index is left over from when it was declared: rows that were
	// written since have no value in it, or an old one.
	fits := exists && ok && was == s.columnOf(index.Kind)
	if ok && (!fits || unique != index.Unique) {
		sc.add(" DROP INDEX ", quote(name), ",")
		ok = false
	}
	if (!fits || !ok) && s.options.FixedSchema {
		return fmt.Errorf("%w: there is no such index as %s asks for, and Options.FixedSchema is set: it is to be %s of a column of type %s",
			ErrMismatch, index.Name, t.indexDefinition(i), s.columnType(index.Kind))
	}
	if !fits {
		rows := false
		look := newScript().add("SELECT 1 FROM ", t.name, " LIMIT 1").query(func([]sqldriver.Value) error { rows = true; return nil })
		if err := s.run(ctx, c, look); err != nil {
			return err
		}
		if rows {
			return fmt.Errorf("%w: index %s is new, or of another kind than before, and the table has rows, whose values only the application knows: "+
				"make it by hand, while nobody writes: ALTER TABLE %s ADD COLUMN %s %s NULL; UPDATE the column to the value of each row; ALTER TABLE %s ADD %s",
				ErrMismatch, index.Name, t.name, t.columns[i], s.columnType(index.Kind), t.name, t.indexDefinition(i))
		}
		if exists {
			sc.add(" DROP COLUMN ", t.columns[i], ",")
		}
		sc.add(" ADD COLUMN ", t.columns[i], " ", s.columnType(index.Kind), " NULL,")
	}
	if ok {
		return nil
	}
	sc.add(" ADD ", t.indexDefinition(i)).end()
	err := s.run(ctx, c, sc)
	if code(err) == codeDuplicate {
		return fmt.Errorf("%w: index %s is to be unique, and two rows have the same value: %w", ErrMismatch, index.Name, err)
	}
	return err
}

// columnOf returns how the server calls the type of an index' column.
func (s *Store) columnOf(k driver.Kind) column {
	kind, _, _ := strings.Cut(strings.ToLower(s.columnType(k)), " ")
	if k == driver.String {
		return column{kind, s.collation}
	}
	return column{kind, ""}
}

func (s *Store) run(ctx context.Context, c *session, sc *script) error {
	_, err := c.run(ctx, sc, s.maxPacket)
	return err
}

// indexDefinition relies on the key being the end of each index, as InnoDB has it:
// so it has the order of queries.
func (t *table) indexDefinition(i int) string {
	index := t.desc.Indexes[i]
	kind := "KEY "
	if index.Unique {
		kind = "UNIQUE KEY "
	}
	return kind + quote(indexName(t.desc.Name, index.Name)) + " (" + t.columns[i] + ")"
}

func (s *Store) createTable(t *table) *script {
	sc := newScript().add("CREATE TABLE ", t.name, " (id VARCHAR(255) CHARACTER SET utf8mb4 COLLATE ", s.collation,
		" NOT NULL PRIMARY KEY, version BIGINT NOT NULL, sequence BIGINT NOT NULL")
	for i, index := range t.desc.Indexes {
		sc.add(", ", t.columns[i], " ", s.columnType(index.Kind), " NULL")
	}
	sc.add(", body ", s.options.Bodies.columnType(s.collation), " NOT NULL")
	for i := range t.desc.Indexes {
		sc.add(", ", t.indexDefinition(i))
	}
	return sc.add(") ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4").end()
}

// columnsOf returns the columns of a table; none when there is no table.
func (s *Store) columnsOf(ctx context.Context, c *session, database, name string) (map[string]column, error) {
	found := map[string]column{}
	sc := newScript().add("SELECT column_name, column_type, collation_name FROM information_schema.columns WHERE table_schema = ").
		quoted(database).add(" AND table_name = ").quoted(name).
		query(func(row []sqldriver.Value) error {
			kind := text(row[1])
			if n, _, ok := strings.Cut(kind, "("); ok && n == "bigint" { // MariaDB has widths
				kind = n
			}
			found[strings.ToLower(text(row[0]))] = column{kind, text(row[2])}
			return nil
		})
	return found, s.run(ctx, c, sc)
}

// indexesOf returns the indexes of a table that this package has made, and whether
// they are unique.
func (s *Store) indexesOf(ctx context.Context, c *session, name string) (map[string]bool, error) {
	found := map[string]bool{}
	sc := newScript().add("SELECT index_name, non_unique FROM information_schema.statistics WHERE table_schema = ").
		quoted(s.database).add(" AND table_name = ").quoted(name).
		query(func(row []sqldriver.Value) error {
			if index := text(row[0]); strings.HasPrefix(index, name+".") {
				found[index] = number(row[1]) == 0
			}
			return nil
		})
	return found, s.run(ctx, c, sc)
}
