// Package mysql is the store for MySQL (8.0.19 or later) and MariaDB (10.6 or later),
// by go-sql-driver: units of work that cost as few round trips as they can.
//
//	db, err := mysql.Open(ctx, "bank:secret@tcp(db:3306)/bank", uow.Config{
//		Collections: []uow.AnyCollection{accounts},
//	})
//
// A collection is an InnoDB table of its name with the columns id, version, sequence,
// body (LONGTEXT) and one for each index, or a table of the user's. Strings are
// ordered by bytes and never padded (utf8mb4_0900_bin, on MariaDB utf8mb4_nopad_bin);
// times are DATETIME(6) in UTC. What columns can't hold is refused before anything is
// sent: see ErrText, ErrValue and ErrTooLarge. The package's own tables begin with
// uow_. Other tables are the user's, who reaches them inside a unit by Tx. Tables are
// created, and those of the package brought to its version, under a named lock; a newer
// version is refused.
//
// The statements are such as both servers have. The tests were run on MariaDB 10.11;
// nothing of it was run on MySQL yet.
//
// # Round trips
//
// The protocol has no pipelining. What can be sent at once is sent as one text of
// several statements, of which the server runs none after one that failed:
//
//   - A unit that only writes is one round trip.
//   - Load, change, save is two: the first read with the beginning of the snapshot, and
//     then all writes with the COMMIT. Each further read is one more.
//   - A unit that only reads pays one for the end of its snapshot.
//
// In a crowd, when more than a few reads and commits are under way at once, units share
// trips: those that come while others are under way wait for these, and then go
// together. The first reads, if they are by ids, share one snapshot, and commits one
// transaction, and so one flush of the server's log. Each unit keeps its own outcome:
// what can't be committed with the others is told so, or tried again by itself. Units go
// by themselves that have flushed, locked rows or run their own SQL, that are
// serializable or large, those on tables of the user's, and all at RepeatableRead and
// Serializable. A unit that flushes or locks rows after a read that was shared gets a
// newer snapshot, in which all that it has read is the same, or is refused with
// ErrRetryable, or the conflict.
//
// Change sets that are larger than the server's max_allowed_packet are sent in parts.
// Text that is not this package's own is sent in forms that can't be taken for anything
// but a literal, in every sql_mode: quoted where it has no backslash, with quotes
// doubled, and hexadecimal otherwise. The user's own SQL is always prepared, and so
// can't be several statements.
//
// All reads of a unit see one snapshot, whatever Options.Isolation is: the first read
// begins a REPEATABLE READ transaction. At ReadCommitted the commit ends it and makes
// its writes in a new one at READ COMMITTED, where no gaps are locked (or, where its
// statements would lock none there either, at the connection's own level). Flush writes in
// the snapshot's transaction: InnoDB's updates and deletes find the newest rows,
// whatever the snapshot is, so that the check of the version in their WHERE is sound
// there too. The user's own SQL (Tx) ends the snapshot at ReadCommitted. A serializable
// unit (uow.UnitOptions) reads in a snapshot too, and its commit asks again, by reads
// that lock, for what it has read.
//
// # Conflicts
//
// The expected version is in the WHERE of each update and delete, and the number of
// rows written is compared on the server, by an expression that is out of range when it
// differs; this ends the script before its COMMIT. Only then the versions found are
// looked up, for the *ConflictError. Many rows of one collection are one statement.
//
// Existing rows are locked in one order: collections as registered, rows by id, before
// they are written where the order of the writes is another. InnoDB can deadlock all
// the same, for it locks deleted rows too: a commit that was undone for that, and is
// all that there was to undo, is sent again. Elsewhere deadlocks (1213) and locks that
// were waited for too long (1205) are ErrRetryable. A deadlock costs the whole
// transaction, so that a nested unit can't be undone by itself any more; a lock that was
// waited for costs the statement, unless innodb_rollback_on_timeout is set.
//
// # Outcomes
//
// A commit that the server confirmed happened; one that the server refused, and one of
// which the last part was not sent, did not. Everything else is in doubt, whatever the
// driver calls it. So each unit inserts its id in uow_units, in the same commit, and
// Resolve inserts the same key: the unique index makes it wait until the transaction in
// question is finished, and decides. A unit that is declared not committed can't be
// committed any more by a COMMIT that is still on its way (ErrFenced). Markers are
// deleted after Options.MarkerRetention. With a semi-synchronous replica this holds
// across a failover at AFTER_SYNC, MySQL's default.
//
// The user's own SQL may end the transaction without knowing, by a statement that
// defines a table, or because a deadlock has ended it. The server answers COMMIT then
// as if nothing had happened. So a unit with own SQL does not commit each statement by
// itself, and takes a savepoint that its commit must still find (ErrRolledBack).
//
// # The outbox
//
// Positions come from AUTO_INCREMENT, and so in the order of inserts, not of commits.
// Scan delivers a message only when nothing before it can appear any more.
//
// A position is given before its row is there, so that waiting for the missing rows
// would not be enough. Therefore a transaction that appends messages first shares a
// lock on one of 256 rows, its connection's lane, by the statement that writes its
// marker, and keeps it until its end. Where a position is missing below one that was
// read, Scan asks which lanes can be locked, by SKIP LOCKED, and waits until each has
// been found free once. This is sound:
//
//   - Positions are given in growing order, in every innodb_autoinc_lock_mode, since
//     the counter only grows (auto_increment_increment must be 1, and one server be
//     written to, which is checked as far as it can be).
//   - So when the row at u was read, every missing position below u had been given
//     before, to a transaction that was in its lane before, and is in it still, or has
//     ended.
//   - A lane that can be locked has nobody in it. Who was in it has ended, and InnoDB
//     makes rows visible before it releases locks. So what is read after all lanes were
//     free has every row below u that there will ever be.
//   - Who comes into a lane later gets positions above u.
//
// It does not wait for transactions that have not appended messages, and commits do
// not wait for each other: a counter that they all update would make each wait for the
// other's flush to disk. Rows of the outbox are not locked by readers.
//
// What is read is on the disk, as the server says that a commit is: one that runs with
// innodb_flush_log_at_trx_commit or sync_binlog relaxed is refused when a relay starts
// (Options.Volatile), since nobody can ask it what it has synced.
//
// Those who subscribed are woken by commits of their own process. Messages of other
// processes are found by the relay's polling.
//
// # Sources
//
// MySQL's manual: "InnoDB Error Handling", "AUTO_INCREMENT Handling in InnoDB",
// "Consistent Nonlocking Reads", "Statements That Cause an Implicit Commit". The order of
// visibility and release of locks: trx_t::commit_in_memory in storage/innobase/trx/trx0trx.cc
// of MariaDB's sources. Asking for a unit by taking its key: the idea that a look-up must
// fence, of Oracle's Transaction Guard.
package mysql
