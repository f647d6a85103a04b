// Package sqlite is the embedded store: units of work in one SQLite file, without
// a server and without cgo.
//
//	db, err := sqlite.Open(ctx, "bank.db", uow.Config{
//		Collections: []uow.AnyCollection{accounts},
//	})
//
// A collection is a table of its name with the columns id, version, sequence, body
// and one for each index. Times are integers, microseconds since 1970 UTC; bools
// are 0 and 1. The package's own tables begin with uow_. Other tables are the
// user's, who reaches them inside a unit by Tx and SQL. Several processes may open
// the same file; relays of one process do not learn of the commits of another by
// Subscribe, and poll.
//
// # How units read
//
// The file has a write-ahead log, so that reading never waits for writing. A unit
// reads on a connection of its own, from a snapshot that its first read takes, and gives
// it back before its commit queues. A unit that is left open keeps its snapshot, and so
// keeps the log from shrinking.
//
// # How units commit
//
// SQLite has one writer, and the sync of a commit costs more than what it writes.
// So units do not take turns at committing; those that wait are committed together:
//
//   - A unit that commits while nobody has the writer becomes the leader and writes
//     at once, in its own goroutine: alone, a unit is as fast as a plain transaction.
//   - Others queue. When the leader is done, it makes the first of them the leader,
//     which takes all that have queued by then and writes them, in their order, in
//     one transaction with one sync. It never waits for a group to fill, but it
//     lets goroutines run that are about to queue, where the last groups say that
//     there are some.
//   - Each unit is checked as it is written, against what is in the database by
//     then, the units before it included. Versions are part of the writes. A unit
//     that fails (ErrConflict, ErrDuplicate) is undone by its savepoint and fails
//     alone. Messages of the whole group are appended by a few statements.
//   - After the COMMIT each caller learns the outcome of its unit. Outcomes are
//     definite: when the COMMIT fails, all units of the group fail and nothing of
//     them is in the database. When a unit takes the whole transaction with it (a
//     full disk, a trigger that rolls back), each unit of the group is written again
//     in a transaction of its own.
//
// A context that ends while its unit still queues withdraws the unit; once a leader
// has taken it, the outcome counts and the context does not.
//
// A unit that runs its own SQL (Tx), or flushes (uow.Unit.Flush), has the writer for
// itself from then until its end.
//
// # The user's own SQL
//
// Two handles run it in the unit's transaction; docs/sql-first.md has examples.
//
//	             Tx(u)                         SQL(u)
//	is           database/sql's methods        a *sql.DB that is the unit
//	for          plain SQL, sqlc               GORM, bun, ent: what takes a *sql.DB
//	BeginTx      there is none                 a nested unit
//	results      are streamed                  are in memory when the query returns
//	late use     uow.ErrUnitClosed             uow.ErrUnitClosed, of what was had from it
//	used by two  uow.ErrConcurrentUse          uow.ErrConcurrentUse
//
// # Durability
//
// A commit is on the disk when it returns, unless Options.Synchronous is Normal. What
// is read for a relay is there in any case: where this store has not synced it itself,
// as it was committed with Normal, or by another process, Scan syncs the write-ahead
// log. (Programs that write to the file with synchronous = OFF are beyond that.) When
// the disk reports an error for the sync itself, SQLite rolls back and the units
// fail, but the file may have got them: should the machine stop before the next
// commit, they may be found there.
package sqlite
