// Package mvcc is the engine of the stores that keep everything in the process:
// memory, and files, which adds durability beneath.
//
// # How it works
//
// Each row is a list of versions, with the number of the commit that wrote each.
// A snapshot is a commit's number: it sees the newest version of each row that is
// not newer than itself, so that taking one costs nothing. A version is forgotten
// when no snapshot can see it any more.
//
// A transaction keeps what it has flushed beside the rows, with the versions that
// it was based on. A commit checks under the store's lock that those are still the
// newest, and adds its own.
//
// # With a journal
//
// Commits, and changes of the outbox's cursors, wait for each other in a queue, whose
// first is the leader. It checks all of them, each against those before it, adds
// their versions without making them visible, has the journal write all of them at
// once, and then makes them visible, or takes them back.
package mvcc
