package mysql

import (
	"fmt"
	"strings"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/internal/migration"
)

// Server is one of the two kinds of servers, whose SQL differs in the name of the
// collation by which strings are ordered by bytes.
type Server uint8

// The kinds of servers.
const (
	MariaDB Server = iota
	MySQL
)

func (s Server) collation() string {
	if s == MySQL {
		return "utf8mb4_0900_bin"
	}
	return "utf8mb4_nopad_bin"
}

// SchemaSQL returns the SQL that makes the package's own tables, from a version of them
// on (0 for a database that has none; a database's is the greatest in uow_schema), and
// the tables of the collections, which must not exist: what Open would do, as plain
// statements for one's own migrations. Statements end with a semicolon at the end of a
// line. Of the options only Bodies counts. Collections with a Table have none. It is for
// databases that are opened with Options.FixedSchema.
func (o Options) SchemaSQL(server Server, from int, collections ...uow.AnyCollection) (string, error) {
	steps, err := migration.After(from, migrations)
	if err != nil {
		return "", fmt.Errorf("mysql: %w", err)
	}
	if server > MySQL {
		return "", fmt.Errorf("mysql: there is no server %d: want MariaDB or MySQL", server)
	}
	descs, err := uow.Describe(collections...)
	if err != nil {
		return "", err
	}
	s := &Store{options: o, collation: server.collation()}
	var b strings.Builder
	if from == 0 {
		b.WriteString(createVersions + ";\n")
	}
	for _, step := range steps {
		for _, statement := range s.statementsOf(step.SQL) {
			b.WriteString("\n" + strings.TrimSpace(statement) + ";\n")
		}
		fmt.Fprintf(&b, "\nINSERT INTO uow_schema (version, name, created_at) VALUES (%d, '%s', UTC_TIMESTAMP(6));\n", step.Version, step.Name)
	}
	for i, desc := range descs {
		if err := checkColumns(desc); err != nil {
			return "", err
		}
		if desc.Table == nil {
			b.WriteString("\n" + s.tableSQL(s.newTable(i, desc)))
		}
	}
	return b.String(), nil
}

// tableSQL makes a collection's table.
func (s *Store) tableSQL(t *table) string {
	return strings.TrimRight(string(s.createTable(t).b), ";") + ";\n"
}
