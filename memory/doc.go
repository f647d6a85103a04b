// Package memory is a store that lives in the process: the reference for what
// every store does, and what examples and fast tests use.
//
// It is a store and not a mock. A unit reads from a snapshot, which commits of
// others do not touch; its changes are applied all at once or not at all; a row
// whose version has moved on is refused; messages get positions in commit order;
// the outbox has cursors, leases and held messages. A test that passes on it
// tells the truth about the program. What it lacks is durability: closing it
// forgets everything.
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
package memory
