package postgres

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/uow-go/uow"
	"github.com/uow-go/uow/internal/migration"
)

// SchemaSQL returns the SQL that makes the package's own tables, from a version of them
// on (0 for a database that has none; a database's is the greatest in uow_schema), and
// the tables of the collections, which must not exist: what Open would do, as plain
// statements for one's own migrations. Of the options only Schema and Bodies count.
// Collections with a Table have none.
func (o Options) SchemaSQL(from int, collections ...uow.AnyCollection) (string, error) {
	steps, err := migration.After(from, migrations)
	if err != nil {
		return "", fmt.Errorf("postgres: %w", err)
	}
	descs, err := uow.Describe(collections...)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	schema := "public"
	if o.Schema != "" {
		schema = o.Schema
		if from == 0 {
			fmt.Fprintf(&b, "CREATE SCHEMA IF NOT EXISTS %s;\n", quote(schema))
		}
	}
	fmt.Fprintf(&b, "SET search_path = %s;\n\n", quote(schema))
	if from == 0 {
		b.WriteString(createVersions + ";\n")
	}
	for _, step := range steps {
		fmt.Fprintf(&b, "\n%s\nINSERT INTO uow_schema (version, name) VALUES (%d, %s);\n", step.SQL, step.Version, literal(step.Name))
	}
	for i, desc := range descs {
		if desc.Table != nil {
			continue
		}
		t := newTable(quote(schema), o.Bodies, i, desc)
		b.WriteString("\n" + strings.Join(t.create(o.Bodies), ";\n") + ";\n")
	}
	return b.String(), nil
}

// checkFixed demands that a table has what its collection asks for.
func (s *Store) checkFixed(ctx context.Context, tx pgx.Tx, t *table, existing map[string]string) error {
	if len(existing) == 0 {
		return fmt.Errorf("%w: there is no table, and Options.FixedSchema is set; this makes it:\n%s", ErrMismatch, strings.Join(t.create(s.options.Bodies), ";\n"))
	}
	if err := s.checkOwnColumns(existing); err != nil {
		return err
	}
	known, err := indexes(ctx, tx, t)
	if err != nil {
		return err
	}
	for _, index := range t.desc.Indexes {
		if want := columnType(index.Kind); existing[index.Name] != want {
			return fmt.Errorf("%w: column %s is %q, want %s", ErrMismatch, index.Name, existing[index.Name], want)
		}
		unique, ok := known[indexName(t.desc.Name, index.Name)]
		if !ok || unique != index.Unique {
			return fmt.Errorf("%w: there is no such index: %s", ErrMismatch, t.createIndex(index))
		}
	}
	return nil
}
