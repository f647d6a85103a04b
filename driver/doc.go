// Package driver is the seam between package uow and a store.
//
// Users do not import it: they open a store (packages memory and sqlite) and
// work with the types of package uow. Authors of stores implement Store and Tx,
// and prove their work with uowtest.TestStore.
//
// A store is told a whole change set at once: the rows with the versions they
// must have, the messages, in the order in which they must be applied. Tracking,
// ordering, hooks and errors are the same for all stores and live in package
// uow; what remains for the store is to apply a change set as fast as its
// database allows, all of it or nothing.
package driver
