package postgres

import (
	"context"

	"github.com/jackc/pgx/v5/pgtype"
)

// frontier is how far the server's write-ahead log has come, in bytes: what was written,
// and what of it is on the disk.
type frontier struct{ written, flushed int64 }

// ask asks for the frontier. In a trip behind a query it is one that includes the
// commits of all rows that the query has seen.
func (f *frontier) ask() step {
	return step{
		statement: newStatement(`SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint, pg_wal_lsn_diff(pg_current_wal_flush_lsn(), '0/0')::bigint`),
		row: func(row [][]byte) error {
			f.written, f.flushed = number(row[0]), number(row[1])
			return nil
		},
	}
}

// onDisk returns when what had been written is on the disk. Rows of transactions that
// were committed with synchronous_commit = off can be seen before that, and those of all
// others can't: so the server is mostly there already, or about to be, with what others
// have written since. Otherwise a commit is made that waits for the disk, as
// synchronous_commit = on says, and standbys where there are synchronous ones.
func (s *Store) onDisk(ctx context.Context, f frontier) error {
	if f.flushed >= f.written {
		return nil
	}
	now := frontier{}
	if err := s.do(ctx, "ask what is on the disk", now.ask()); err != nil || now.flushed >= f.written {
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
