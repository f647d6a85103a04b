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
// How it works is told in internal/mvcc, the engine that it shares with package
// files.
package memory
