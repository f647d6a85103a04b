package postgres

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"

	"github.com/jackc/pgx/v5"
)

// The migrations, in the order of their names; the n-th makes version n.
//
//go:embed schema/*.sql
var migrations embed.FS

const createVersions = `CREATE TABLE IF NOT EXISTS uow_schema (
	version    integer     PRIMARY KEY,
	name       text        NOT NULL,
	created_at timestamptz NOT NULL DEFAULT clock_timestamp()
)`

// migrate brings the package's own tables to the newest version, and returns the
// schema where they are. Processes that open the same database at once take turns,
// by an advisory lock; all migrations are one transaction.
func (s *Store) migrate(ctx context.Context, c *pgx.Conn) (schema string, err error) {
	files, err := fs.Glob(migrations, "schema/*.sql")
	if err != nil {
		return "", err
	}
	schema = s.options.Schema
	if schema == "" {
		var current *string
		if err := c.QueryRow(ctx, `SELECT current_schema()`, pgx.QueryExecModeExec).Scan(&current); err != nil {
			return "", s.wrap(ctx, "find the schema", err)
		}
		if current == nil {
			return "", fmt.Errorf("%w: the search path has no schema that exists: set Options.Schema", ErrServer)
		}
		schema = *current
	}
	version, err := schemaVersion(ctx, c, schema)
	if err != nil {
		return "", s.wrap(ctx, "read the schema's version", err)
	}
	if version < len(files) && s.options.FixedSchema {
		return "", fmt.Errorf("%w: the package's tables are at version %d of %d, and Options.FixedSchema is set: SchemaSQL has what is missing", ErrMismatch, version, len(files))
	}
	if version < len(files) {
		if version, err = s.upgrade(ctx, c, schema, files); err != nil {
			return "", err
		}
	}
	if version > len(files) {
		return "", fmt.Errorf("%w: it is at version %d, this program knows %d: use a newer program", ErrSchema, version, len(files))
	}
	return schema, nil
}

// schemaVersion returns 0 for a database that is new.
func schemaVersion(ctx context.Context, c *pgx.Conn, schema string) (version int, err error) {
	var exists bool
	err = c.QueryRow(ctx, `SELECT to_regclass($1) IS NOT NULL`, pgx.QueryExecModeExec, quote(schema)+".uow_schema").Scan(&exists)
	if !exists || err != nil {
		return 0, err
	}
	err = c.QueryRow(ctx, `SELECT coalesce(max(version), 0) FROM `+quote(schema)+`.uow_schema`, pgx.QueryExecModeExec).Scan(&version)
	return version, err
}

// upgrade takes the schema to the newest version, unless another process was
// faster, and returns the version.
func (s *Store) upgrade(ctx context.Context, c *pgx.Conn, schema string, files []string) (version int, err error) {
	err = s.locked(ctx, c, schema, func(tx pgx.Tx) error {
		if err := createSchema(ctx, tx, schema); err != nil {
			return err
		}
		if version, err = schemaVersion(ctx, c, schema); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, createVersions, pgx.QueryExecModeSimpleProtocol); err != nil {
			return err
		}
		for ; version < len(files); version++ {
			query, err := migrations.ReadFile(files[version])
			if err != nil {
				return err
			}
			if _, err := tx.Exec(ctx, string(query), pgx.QueryExecModeSimpleProtocol); err != nil {
				return fmt.Errorf("%s: %w", files[version], err)
			}
			if _, err := tx.Exec(ctx, `INSERT INTO uow_schema (version, name) VALUES ($1, $2)`,
				pgx.QueryExecModeExec, version+1, files[version]); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return 0, s.wrap(ctx, "migrate", err)
	}
	return version, nil
}

// createSchema makes the schema, which takes a privilege, only where it is missing.
func createSchema(ctx context.Context, tx pgx.Tx, schema string) error {
	var exists bool
	err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1)`, pgx.QueryExecModeExec, schema).Scan(&exists)
	if exists || err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, `CREATE SCHEMA `+quote(schema), pgx.QueryExecModeExec); err != nil {
		return err
	}
	// The search path named it before it existed, and is looked up anew.
	_, err = tx.Exec(ctx, `SET LOCAL search_path = `+quote(schema), pgx.QueryExecModeExec)
	return err
}

// locked runs fn in a transaction that nobody else runs at the same time for the
// same schema, with unqualified names going to the schema.
func (s *Store) locked(ctx context.Context, c *pgx.Conn, schema string, fn func(tx pgx.Tx) error) error {
	tx, err := c.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.ReadCommitted})
	if err != nil {
		return err
	}
	defer func() {
		ctx, cancel := cleanup()
		defer cancel()
		_ = tx.Rollback(ctx) // does nothing after the commit
	}()
	if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock(hashtextextended($1, 0))`, pgx.QueryExecModeExec, "uow "+schema); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, `SET LOCAL search_path = `+quote(schema), pgx.QueryExecModeExec); err != nil {
		return err
	}
	if err := fn(tx); err != nil {
		return err
	}
	return tx.Commit(ctx)
}

// checkServer checks what the package relies on.
func (s *Store) checkServer(ctx context.Context, c *pgx.Conn) error {
	var version int
	var standby, buckets bool
	var encoding, isolation string
	var cache int64
	err := c.QueryRow(ctx, `SELECT current_setting('server_version_num')::int, pg_is_in_recovery(),
		current_setting('server_encoding'), current_setting('default_transaction_isolation'), q.seqcache, c.relkind = 'p'
			AND (SELECT array_agg(l.relname::text ORDER BY l.relname) FILTER (WHERE l.relkind = 'r') = $2 AND count(*) = cardinality($2)
				AND NOT bool_or(a.atthasdef) FROM pg_inherits i JOIN pg_class l ON l.oid = i.inhrelid
				JOIN pg_attribute a ON a.attrelid = l.oid AND a.attname = 'position' WHERE i.inhparent = c.oid)
		FROM pg_class c, pg_sequence q WHERE c.oid = $1::text::regclass
		AND q.seqrelid = pg_get_serial_sequence($1, 'position')::regclass`,
		pgx.QueryExecModeExec, s.schema+".uow_outbox", bucketNames()).Scan(&version, &standby, &encoding, &isolation, &cache, &buckets)
	if errors.Is(err, pgx.ErrNoRows) {
		return fmt.Errorf("%w: the positions of uow_outbox come from no sequence: it was not made by this package", ErrServer)
	}
	if err != nil {
		return s.wrap(ctx, "check the server", err)
	}
	switch {
	case version < 130000:
		return fmt.Errorf("%w: its version is %d, want 13 or later", ErrServer, version/10000)
	case standby:
		return fmt.Errorf("%w: it is a standby; add target_session_attrs=read-write to the dsn", ErrServer)
	case encoding != "UTF8":
		return fmt.Errorf("%w: the database's encoding is %s, want UTF8", ErrServer, encoding)
	case isolation != "read committed" && s.options.Isolation == ReadCommitted:
		return fmt.Errorf("%w: default_transaction_isolation is %s, want read committed, or another Options.Isolation", ErrServer, isolation)
	case !buckets:
		return fmt.Errorf("%w: uow_outbox does not have the partitions that this package makes, or they have defaults: locks of those who append might not be seen", ErrServer)
	case cache != 1:
		return fmt.Errorf("%w: the sequence of uow_outbox.position has CACHE %d, want 1: messages could be skipped", ErrServer, cache)
	}
	return nil
}
