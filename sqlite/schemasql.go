package sqlite

import (
	"fmt"
	"os"
	"strings"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/driver"
	"github.com/uow-go/uow/internal/migration"
)

// SchemaSQL returns the SQL that makes the package's own tables, from a version of them
// on (0 for a database that has none; a database's is the greatest in uow_schema), and
// the tables of the collections, which must not exist: what Open would do, as plain
// statements for one's own migrations, to be run in one transaction. Collections with a
// Table have none. It is for databases that are opened with Options.FixedSchema.
func SchemaSQL(from int, collections ...uow.AnyCollection) (string, error) {
	steps, err := migration.After(from, migrations)
	if err != nil {
		return "", fmt.Errorf("sqlite: %w", err)
	}
	descs, err := uow.Describe(collections...)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	if from == 0 {
		b.WriteString(createVersions + ";\n")
	}
	for _, step := range steps {
		fmt.Fprintf(&b, "\n%s\nINSERT INTO uow_schema VALUES (%d, %s, CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER));\n",
			step.SQL, step.Version, literal(step.Name))
	}
	taken := map[string]string{}
	for _, desc := range descs {
		if err := checkNames(desc, taken); err != nil {
			return "", err
		}
		if desc.Table == nil {
			b.WriteString("\n" + tableSQL(desc))
		}
	}
	return b.String(), nil
}

// tableSQL makes a collection's table, and all that belongs to it.
func tableSQL(desc driver.Collection) string {
	sql := createTableSQL(desc) + ";\n"
	for _, index := range desc.Indexes {
		sql += indexSQL(desc.Name, index)
	}
	return sql
}

// indexSQL makes an index of a table that has its column.
func indexSQL(collection string, index driver.Index) string {
	return createIndexSQL(collection, index) + ";\n" + fmt.Sprintf("INSERT INTO uow_indexes VALUES (%s, %s, %s, %d);\n",
		literal(collection), literal(index.Name), literal(kindName(index.Kind)), encode(index.Unique))
}

// checkThere demands that the database of a fixed schema exists, which connecting to it
// would see to otherwise.
func (o Options) checkThere(path string) error {
	if !o.FixedSchema {
		return nil
	}
	if _, err := os.Stat(path); err != nil {
		return fmt.Errorf("%w: Options.FixedSchema is set: %w", ErrMismatch, err)
	}
	return nil
}

// checkFixed demands that a table has what its collection asks for.
func checkFixed(c *conn, desc driver.Collection) error {
	existing, err := columns(c, desc.Name)
	if err != nil {
		return err
	}
	if len(existing) == 0 {
		return fmt.Errorf("%w: there is no table, and Options.FixedSchema is set; this makes it:\n%s", ErrMismatch, tableSQL(desc))
	}
	if err := checkOwnColumns(existing); err != nil {
		return err
	}
	known, err := declaredIndexes(c, desc.Name)
	if err != nil {
		return err
	}
	for _, index := range desc.Indexes {
		if want := columnType(index.Kind); existing[index.Name] != want {
			return fmt.Errorf("%w: column %s is %q, want %s", ErrMismatch, index.Name, existing[index.Name], want)
		}
		_, made, err := c.integer(`SELECT 1 FROM sqlite_schema WHERE type = 'index' AND name = ?`, desc.Name+"."+index.Name)
		if err != nil {
			return err
		}
		if known[index.Name] != (declared{kindName(index.Kind), index.Unique}) || !made {
			return fmt.Errorf("%w: there is no such index; this makes it:\n%s", ErrMismatch, indexSQL(desc.Name, index))
		}
	}
	return nil
}
