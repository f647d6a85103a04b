// Package mysql is the store for MySQL (8) and MariaDB (10.6 or later), by
// github.com/go-sql-driver/mysql.
//
//	db, err := mysql.Open(ctx, "app@tcp(db)/bank", uow.Config{
//		Collections: []uow.AnyCollection{accounts},
//	})
//
// A collection is a table of its name; the package's own tables begin with uow_. Other
// tables are the user's, who reaches them inside a unit by Tx. The package is tested
// against MariaDB 10.11; it keeps to what MySQL 8 has too.
//
// # Reading and writing
//
// All reads of a unit see one snapshot, which the first of them takes. The commit ends it
// and writes in a transaction at READ COMMITTED; a unit that has flushed, or runs its own
// SQL, writes in the one that it has. The expected version is in the WHERE of each update
// and delete, and the rows that were found are compared with those that should have been
// (clientFoundRows), so that a *ConflictError names its row also in statements of many.
// Rows that exist are locked in one order, collections as registered and rows by id.
//
// # Outcomes
//
// What the server refused did not happen. A deadlock (1213) ends the whole transaction on
// the server, savepoints included; a lock that was not had in time (1205) ends it here
// too. Both are uow.ErrRetryable. When the connection ends while COMMIT is under way the
// unit is in doubt, whatever the driver calls the error: each unit inserts its id in
// uow_units, in the same commit, and Resolve inserts the same key, which waits for a
// transaction that is still open, and decides; a COMMIT that comes late then fails.
//
// # The outbox
//
// Positions are auto-increments, given in the order of inserts and not of commits. A
// transaction that appends messages shares a lock of its connection's lane before it gets
// any, until it ends, and Scan delivers a message only when nothing before it can appear
// any more: what is missing below it belongs to lanes that were taken, each of which has
// been found free since. Transactions that do not write to the outbox are never waited for.
// Relays of other processes find messages by polling.
package mysql
