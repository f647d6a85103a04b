package sqlite

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"time"
)

// The migrations, in the order of their names; the n-th makes version n.
//
//go:embed schema/*.sql
var migrations embed.FS

const createVersions = `CREATE TABLE IF NOT EXISTS uow_schema (
	version    INTEGER PRIMARY KEY,
	name       TEXT    NOT NULL,
	created_at INTEGER NOT NULL
) STRICT`

// migrate brings the package's own tables to the newest version. Processes that
// open the same file at once take turns, each migration being one transaction.
func (s *Store) migrate(c *conn) error {
	files, err := fs.Glob(migrations, "schema/*.sql")
	if err != nil {
		return err
	}
	for {
		version, err := schemaVersion(c)
		if err != nil {
			return wrap("read the schema's version", err)
		}
		if version > int64(len(files)) {
			return fmt.Errorf("%w: it is at version %d, this program knows %d: use a newer program", ErrSchema, version, len(files))
		}
		if version == int64(len(files)) {
			return nil
		}
		if s.options.FixedSchema {
			return fmt.Errorf("%w: the package's tables are at version %d of %d, and Options.FixedSchema is set: SchemaSQL has what is missing", ErrMismatch, version, len(files))
		}
		if err := migrateOne(c, files[version], version); err != nil {
			return wrap("migrate "+files[version], err)
		}
	}
}

// schemaVersion returns 0 for a database that is new.
func schemaVersion(c *conn) (int64, error) {
	_, exists, err := c.integer(`SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'uow_schema'`)
	if !exists || err != nil {
		return 0, err
	}
	version, _, err := c.integer(`SELECT max(version) FROM uow_schema`)
	return version, err
}

// migrateOne takes the schema from a version to the next, unless another process
// was faster.
func migrateOne(c *conn, file string, from int64) error {
	return c.transaction(func() error {
		version, err := schemaVersion(c)
		if err != nil || version != from {
			return err
		}
		query, err := migrations.ReadFile(file)
		if err != nil {
			return err
		}
		if err := c.script(createVersions); err != nil {
			return err
		}
		if err := c.script(string(query)); err != nil {
			return err
		}
		_, err = c.exec(`INSERT INTO uow_schema VALUES (?, ?, ?)`, from+1, file, time.Now().UnixMicro())
		return err
	})
}

// transaction runs fn in an immediate transaction of its own.
func (c *conn) transaction(fn func() error) error {
	if err := c.begin(); err != nil {
		return err
	}
	if err := fn(); err != nil {
		return errors.Join(err, c.rollback())
	}
	return c.commit()
}

// begin takes the database's write lock, for which it waits as long as
// Options.BusyTimeout.
func (c *conn) begin() error {
	_, err := c.exec("BEGIN IMMEDIATE")
	c.inTx = err == nil
	return err
}

// commit ends the transaction, by a rollback when it can not be committed. An
// error means that it was rolled back.
func (c *conn) commit() error {
	if !c.inTx {
		return ErrLost
	}
	c.committing = true
	_, err := c.exec("COMMIT")
	c.committing = false
	if err != nil {
		return errors.Join(err, c.rollback())
	}
	if !c.inTx { // the rollback hook ran
		return ErrLost
	}
	c.inTx = false
	return nil
}

// rollback ends the transaction if it is still open. After an error the
// connection is of no use.
func (c *conn) rollback() error {
	if !c.inTx {
		return nil
	}
	_, err := c.exec("ROLLBACK")
	c.inTx = c.inTx && err != nil
	return err
}

// watch keeps inTx true to the facts: SQLite rolls back by itself on some errors,
// and users' SQL may say COMMIT or ROLLBACK. A commit that is not ours is refused,
// which SQLite turns into a rollback.
func (c *conn) watch() {
	c.raw.RegisterCommitHook(func() int32 {
		if c.committing {
			return 0
		}
		return 1
	})
	c.raw.RegisterRollbackHook(func() { c.inTx = false })
}
