package postgres

import (
	"context"

	"github.com/jackc/pgx/v5/pgtype"
)

// onDisk returns when what has been written until now is on the disk. It is for rows of
// transactions that were committed with synchronous_commit = off, which can be seen
// before they are; those of all others can't. Where the server is not there yet, a commit is
// made that waits for the disk, as synchronous_commit = on says, and for standbys where
// there are synchronous ones.
func (s *Store) onDisk(ctx context.Context) error {
	flushed := false
	err := s.do(ctx, "ask what is on the disk", step{
		statement: newStatement(`SELECT pg_current_wal_insert_lsn() <= pg_current_wal_flush_lsn()`),
		row:       func(row [][]byte) error { flushed = truth(row[0]); return nil },
	})
	if err != nil || flushed {
		return err
	}
	return s.do(ctx, "wait for the disk",
		plain(newStatement(`SELECT set_config('synchronous_commit', 'on', true)`)),
		plain(newStatement(`SELECT pg_logical_emit_message(true, 'uow', '')`)))
}

// refuseVolatile ends the transaction of who wants to publish from a server that does
// not write to the disk what it says to have written.
func (s *Store) refuseVolatile() step {
	return step{
		statement: s.sqlf(`SELECT %[1]s.uow_refuse_relay(CASE WHEN NOT $1 AND current_setting('fsync') = 'off' THEN '`+codeNotDurable+`' END)`, pgtype.BoolOID),
		args:      newArgs(1).bool(s.options.Volatile),
	}
}
