// Package postgres is the store for PostgreSQL (13 or later), by pgx: units of work
// that cost as few round trips as they can.
//
//	db, err := postgres.Open(ctx, "postgres://app@db/bank", uow.Config{
//		Collections: []uow.AnyCollection{accounts},
//	})
//
// A collection is a table of its name with the columns id, version, sequence, body
// (json) and one for each index. Strings are ordered by bytes (COLLATE "C"); times
// have microseconds, and come back in UTC. The package's own tables begin with uow_.
// Other tables are the user's, who reaches them inside a unit by Tx and SQL. Tables are
// created, and those of the package brought to its version, under an advisory lock;
// a newer version is refused. PostgreSQL's text has no NUL bytes: ids, index values
// and the texts of messages that have one are refused with ErrText.
//
// # Round trips
//
// Everything that can be sent at once is sent at once, as one pipeline with one Sync.
// Statements are prepared in the same round trip in which a connection first needs
// them, so that the counts are the same from the first unit on:
//
//   - A unit that only writes is one round trip: all writes, without BEGIN and COMMIT,
//     are one transaction, which the Sync commits.
//   - Load, change, save is two: BEGIN with the first read, and then all writes with
//     the COMMIT. Each further read is one more.
//   - A unit that only reads pays one for the end of its snapshot.
//
// All reads of a unit see one snapshot, whatever Options.Isolation is: the first read
// begins a REPEATABLE READ transaction (a SERIALIZABLE one where asked for). It can't
// be a plain read, since nobody knows then whether a second one will follow, which
// could not see the same. A unit that only updates rows writes them there too; the
// server refuses those that have changed since. Where that is not a conflict of
// versions, and in all other units at ReadCommitted, the commit ends this transaction
// and makes its writes in a new one, in the same round trip: there an insert sees what
// is remembered of deleted rows, and a check what others have committed.
// Flush writes in the snapshot's transaction, so that reads after it still see one
// snapshot. The user's own SQL (Tx) ends the snapshot at ReadCommitted.
//
// # The user's own SQL
//
// Two handles run it in the unit's transaction; docs/sql-first.md has examples.
//
//	             Tx(u)                         SQL(u)
//	is           pgx's methods                 a *sql.DB that is the unit
//	for          plain SQL, sqlc               GORM, bun, ent: what takes a *sql.DB
//	BeginTx      there is none                 a nested unit
//	results      are streamed                  are in memory when the query returns
//	late use     uow.ErrUnitClosed             uow.ErrUnitClosed, of what was had from it
//	used by two  uow.ErrConcurrentUse          uow.ErrConcurrentUse
//
// # Conflicts
//
// The expected version is in the WHERE of each update and delete. A statement that
// misses a row ends the transaction on the server, by a function of the package that
// raises an error with the ids (SQLSTATE UW001), so that what follows it in the
// pipeline, COMMIT included, does not happen. Only then the versions found are looked
// up, for the *ConflictError. Where the server itself refuses (40001), the row is
// found by comparing versions; where none differs the error is ErrRetryable, as
// deadlocks (40P01) and locks not available (55P03) are.
//
// Rows of a collection are locked in one order: existing ones by id, before new ones
// by id. Units that write rows of a collection in other ways, or several collections
// in another order than that of Config.Collections, may deadlock with it.
//
// # Outcomes
//
// A commit that the server confirmed happened; one that the server refused, and one of
// which nothing was sent, did not. When COMMIT is answered by ROLLBACK it did not
// either (ErrRolledBack). Everything else is in doubt. So each unit inserts its id in
// uow_units, in the same commit, and Resolve inserts the same key: the unique index
// makes it wait until the transaction in question is finished, and decides. A unit
// that is declared not committed can't be committed any more by a COMMIT that is still
// on its way (ErrFenced). Markers are deleted after Options.MarkerRetention.
//
// # Crowds
//
// Above 12 operations at once, at ReadCommitted, first reads share a snapshot, and commits a
// transaction: a committing goroutine takes those who have queued meanwhile, and nobody waits
// for a group to fill. The group locks its rows without waiting for others' (SKIP LOCKED),
// compares versions, and leaves out the units that do not have theirs; a unit whose row is
// locked elsewhere, or that the server refuses, commits by itself. A row is in a group once.
// Each unit has its own marker, and positions are given under the outbox's lock as always.
// Units that flush, run their own SQL, lock, are serializable, let go of unique values or
// write tables of the user's always commit by themselves.
//
// # The outbox
//
// Positions come from a sequence, and so in the order of inserts, not of commits; who
// inserts by other means must leave them to it. Scan delivers a message only when nothing
// before it can appear any more. Where a position is missing below one that can be read, it asks the server's lock
// table who holds a lock on the outbox, after it has read, waits until those are gone,
// and reads again. This is sound since a position is given while the lock is held, and
// the lock is released after the rows can be seen; and it does not wait for
// transactions that have not written to the outbox. It needs a sequence with CACHE 1
// and a connection to the primary, which are checked. Watermarks of transaction ids are
// not used: any long transaction of the server would hold back delivery, and messages
// of one key could overtake each other.
//
// What was committed with synchronous_commit = off can be read before it is on the disk.
// So each message has in a column, by its default, what its session said when it was
// appended, and Scan asks how far the server's write-ahead log is on the disk where one
// did not wait for it, and makes a commit that waits, if it has to, before it returns what
// it has read. (Who appends first and relaxes the setting later in the same transaction
// is not found out.) A server with fsync = off is refused (Options.Volatile). A
// failover is another matter: what it does not lose is said by
// synchronous_standby_names.
//
// # Retention
//
// uow_outbox is partitioned: it has four buckets, the tables uow_outbox_0 to 3, of which
// one is written to. When that has 10000 positions or more, and a message older than the
// retention, the next empty one is written to from then on; a bucket is truncated when
// every cursor has passed it, nothing of it is held, and its newest messages are older than
// the retention. So no row is ever updated or deleted, none is dead, and a large log is kept
// for once to twice the retention. The bucket is the value of a sequence, which
// the column's default reads: to change it takes no lock that an insert would wait for.
// To truncate takes the bucket's lock, for which a trim waits 50 ms at most; who appends
// needs another bucket's.
//
// Messages are deleted one by one where the log is smaller, and where none of the buckets is
// empty: one held message keeps its bucket from being truncated.
//
// Who appends needs INSERT on uow_outbox and USAGE on the sequences uow_outbox_position
// and uow_outbox_bucket; who trims SELECT, DELETE and TRUNCATE on the buckets, SELECT and
// UPDATE on uow_outbox_bucket. Change data capture (Debezium's outbox event router) reads
// a publication FOR TABLE uow_outbox WITH (publish = 'insert', publish_via_partition_root =
// true), in which buckets are not told apart and what is dropped does not appear.
//
// # Waking
//
// Relays of other processes are woken by NOTIFY, outside of units' transactions, at
// most once in 10 ms: within them it would take a lock of the whole server over each
// commit. Poolers in transaction mode do not pass LISTEN on, and relays behind them
// find messages of others by polling.
//
// # Sources
//
// The protocol's pipelining and what of it is a transaction: PostgreSQL's manual,
// "Message Flow". The waiting of unique indexes: "Index Uniqueness Checks". Locks and
// their release: src/backend/access/transam/README of its sources. Shared snapshots and
// locks that are skipped: the manual, "Snapshot Synchronization Functions" and "The
// Locking Clause". Tables that are truncated by turns: the queues of Skytools' PgQ. Asking
// for a unit by taking its key: the idea that a look-up must fence, of Oracle's Transaction Guard.
package postgres
