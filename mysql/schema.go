package mysql

import (
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	sqldriver "database/sql/driver"
)

// The migrations, in the order of their names; the n-th makes version n.
//
//go:embed schema/*.sql
var migrations embed.FS

const createVersions = `CREATE TABLE IF NOT EXISTS uow_schema (
	version    INT          NOT NULL PRIMARY KEY,
	name       VARCHAR(255) NOT NULL,
	created_at DATETIME(6)  NOT NULL
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4`

// migrate brings the package's own tables to the newest version. Processes that open
// the same database at once take turns, by a named lock. The server commits each
// statement that defines a table by itself, so that a migration that was interrupted
// runs again from its beginning.
func (s *Store) migrate(ctx context.Context, c *session) error {
	files, err := fs.Glob(migrations, "schema/*.sql")
	if err != nil {
		return err
	}
	version, err := s.schemaVersion(ctx, c)
	if err != nil {
		return s.wrap(ctx, "read the schema's version", err)
	}
	if version < len(files) && s.options.FixedSchema {
		return fmt.Errorf("%w: the package's tables are at version %d of %d, and Options.FixedSchema is set; SchemaSQL has what is missing", ErrMismatch, version, len(files))
	}
	if version < len(files) {
		err := s.locked(ctx, c, func() error {
			version, err = s.upgrade(ctx, c, files)
			return err
		})
		if err != nil {
			return s.wrap(ctx, "migrate", err)
		}
	}
	if version > len(files) {
		return fmt.Errorf("%w: it is at version %d, this program knows %d: use a newer program", ErrSchema, version, len(files))
	}
	return nil
}

// schemaVersion returns 0 for a database that is new.
func (s *Store) schemaVersion(ctx context.Context, c *session) (version int, err error) {
	exists := false
	sc := newScript().add("SELECT 1 FROM information_schema.tables WHERE table_schema = ").quoted(s.database).
		add(" AND table_name = 'uow_schema'").query(func([]sqldriver.Value) error { exists = true; return nil })
	if _, err := c.run(ctx, sc, s.maxPacket); err != nil || !exists {
		return 0, err
	}
	sc = newScript().add("SELECT MAX(version) FROM ", s.schema, "uow_schema").query(func(row []sqldriver.Value) error {
		version = int(number(row[0]))
		return nil
	})
	_, err = c.run(ctx, sc, s.maxPacket)
	return version, err
}

// upgrade takes the schema to the newest version, unless another process was
// faster, and returns the version.
func (s *Store) upgrade(ctx context.Context, c *session, files []string) (version int, err error) {
	if version, err = s.schemaVersion(ctx, c); err != nil {
		return 0, err
	}
	if _, err := c.run(ctx, newScript().do(createVersions), s.maxPacket); err != nil {
		return 0, err
	}
	for ; version < len(files); version++ {
		query, err := migrations.ReadFile(files[version])
		if err != nil {
			return 0, err
		}
		for _, statement := range s.statementsOf(string(query)) {
			// A column that is there was added before the migration was interrupted.
			if _, err := c.run(ctx, newScript().do(statement), s.maxPacket); err != nil && code(err) != codeColumn {
				return 0, fmt.Errorf("%s: %w", files[version], err)
			}
		}
		sc := newScript().add("INSERT INTO uow_schema (version, name, created_at) VALUES (").int(int64(version + 1)).add(", ").
			quoted(files[version]).do(", UTC_TIMESTAMP(6))")
		if _, err := c.run(ctx, sc, s.maxPacket); err != nil {
			return 0, fmt.Errorf("%s: %w", files[version], err)
		}
	}
	return version, nil
}

// statementsOf returns the statements of a migration.
func (s *Store) statementsOf(text string) []string {
	values := make([]string, lanes)
	for i := range values {
		values[i] = "(" + strconv.Itoa(i) + ")"
	}
	text = strings.NewReplacer("{bytes}", s.collation, "{lanes}", strings.Join(values, ", ")).Replace(text)
	var all []string
	for _, statement := range strings.Split(text, ";\n") {
		var kept []string
		for _, line := range strings.Split(statement, "\n") {
			code, _, _ := strings.Cut(line, "--") // no string of the migrations has it
			if strings.TrimSpace(code) != "" {
				kept = append(kept, code)
			}
		}
		if len(kept) > 0 {
			all = append(all, strings.TrimSuffix(strings.Join(kept, "\n"), ";"))
		}
	}
	return all
}

// locked runs fn while nobody else runs it for the same database.
func (s *Store) locked(ctx context.Context, c *session, fn func() error) error {
	sum := sha256.Sum256([]byte(s.database))
	name := "uow " + hex.EncodeToString(sum[:16])
	for got := false; !got; {
		sc := newScript().add("SELECT GET_LOCK(").quoted(name).add(", 1)").query(func(row []sqldriver.Value) error {
			got = number(row[0]) == 1
			return nil
		})
		if _, err := c.run(ctx, sc, s.maxPacket); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	err := fn()
	cleaning, cancel := cleanup()
	defer cancel()
	if _, end := c.run(cleaning, newScript().add("SELECT RELEASE_LOCK(").quoted(name).add(")").query(nil), s.maxPacket); end != nil {
		c.dead = true // which releases it too
	}
	return err
}

// smallestPacket is what every server takes.
const smallestPacket = 16 << 10

// checkServer finds out about the server, and checks what the package relies on.
func (s *Store) checkServer(ctx context.Context, c *session) error {
	set := map[string]string{}
	// Two statements, which a pool without multiStatements refuses.
	sc := newScript().add("SELECT DATABASE()").query(func(row []sqldriver.Value) error {
		s.database = text(row[0])
		return nil
	}).add("SHOW VARIABLES").query(func(row []sqldriver.Value) error {
		set[strings.ToLower(text(row[0]))] = text(row[1])
		return nil
	})
	_, err := c.run(ctx, sc, s.maxPacket)
	if code(err) == codeSyntax {
		return fmt.Errorf("%w: the pool of Options.DB needs multiStatements=true: %w", ErrServer, err)
	}
	if err != nil {
		return s.wrap(ctx, "open", err)
	}
	maria, ok := serverVersion(set["version"])
	if !ok {
		return fmt.Errorf("%w: its version is %s, want MySQL 8.0.19 or MariaDB 10.6, or later", ErrServer, set["version"])
	}
	s.schema = quote(s.database) + "."
	s.collation = MySQL.collation()
	if maria {
		s.collation = MariaDB.collation()
	}
	packet, err := strconv.Atoi(set["max_allowed_packet"])
	if err != nil {
		return fmt.Errorf("%w: its max_allowed_packet is %q", ErrServer, set["max_allowed_packet"])
	}
	s.maxPacket = min(packet, 64<<20) - 1024
	s.timeoutRollsBack = set["innodb_rollback_on_timeout"] == "ON"
	return s.judge(set)
}

// judge refuses settings that the package can't work with.
func (s *Store) judge(set map[string]string) error {
	mode := "," + set["sql_mode"] + ","
	switch {
	case s.database == "":
		return fmt.Errorf("%w: the connection has no database", ErrServer)
	case set["character_set_client"] != "utf8mb4":
		return fmt.Errorf("%w: the connection's character set is %s, want utf8mb4", ErrServer, set["character_set_client"])
	case !strings.Contains(mode, ",STRICT_TRANS_TABLES,") && !strings.Contains(mode, ",STRICT_ALL_TABLES,"):
		return fmt.Errorf("%w: the connection's sql_mode is %q, want a strict one", ErrServer, set["sql_mode"])
	case strings.Contains(mode, ",EMPTY_STRING_IS_NULL,"):
		return fmt.Errorf("%w: the connection's sql_mode has EMPTY_STRING_IS_NULL", ErrServer)
	case set["autocommit"] != "ON":
		return fmt.Errorf("%w: the connection's autocommit is off", ErrServer)
	case set["auto_increment_increment"] != "1":
		return fmt.Errorf("%w: its auto_increment_increment is %s, want 1, as on one primary: positions would not be in order",
			ErrServer, set["auto_increment_increment"])
	case set["read_only"] == "ON":
		return fmt.Errorf("%w: it is read only; connect to the primary", ErrServer)
	case set["log_bin"] == "ON" && set["binlog_format"] == "STATEMENT":
		return fmt.Errorf("%w: its binlog_format is STATEMENT, which can't be written at READ COMMITTED: want ROW or MIXED", ErrServer)
	}
	return nil
}

// checkTables makes sure of what the connection and the package's tables must be
// like. Rows are counted that were found: without clientFoundRows an update that
// changes nothing would pass for a conflict.
func (s *Store) checkTables(ctx context.Context, c *session) error {
	found, engine := int64(0), ""
	sc := newScript().add("UPDATE ", s.schema, "uow_state SET one = 1 WHERE one = 1").end().
		add("SELECT ROW_COUNT()").query(func(row []sqldriver.Value) error { found = number(row[0]); return nil }).
		add("SELECT engine FROM information_schema.tables WHERE table_name = 'uow_outbox' AND table_schema = ").quoted(s.database).
		query(func(row []sqldriver.Value) error { engine = text(row[0]); return nil })
	if _, err := c.run(ctx, sc, s.maxPacket); err != nil {
		return s.wrap(ctx, "check the connection", err)
	}
	switch {
	case found != 1:
		return fmt.Errorf("%w: the pool of Options.DB needs clientFoundRows=true", ErrServer)
	case engine != "InnoDB":
		return fmt.Errorf("%w: the table uow_outbox is of the engine %q, want InnoDB", ErrServer, engine)
	}
	return nil
}

// serverVersion reads what VERSION() returns, and reports whether it is one that the
// package knows to work with.
func serverVersion(text string) (maria, ok bool) {
	var version [3]int
	maria = strings.Contains(strings.ToLower(text), "mariadb")
	text = strings.TrimPrefix(text, "5.5.5-") // as MariaDB calls itself to old clients
	number, _, _ := strings.Cut(text, "-")
	for i, part := range strings.SplitN(number, ".", 3) {
		version[i], _ = strconv.Atoi(part)
	}
	least := [3]int{8, 0, 19}
	if maria {
		least = [3]int{10, 6, 0}
	}
	for i := range least {
		if version[i] != least[i] {
			return maria, version[i] > least[i]
		}
	}
	return maria, true
}
