// Package uow is a Unit of Work: it groups the changes of one operation
// (aggregates saved through repositories, the domain events that they record,
// read-model updates) into one commit, rolls all of it back on any failure, and
// leaves events in an outbox that is published only after the commit.
//
//	var accounts = uow.NewCollection[Account]("accounts")
//
//	db, err := sqlite.Open(ctx, "bank.db", uow.Config{
//		Collections: []uow.AnyCollection{accounts},
//	})
//	…
//	err = db.Do(ctx, func(ctx context.Context, u *uow.Unit) error {
//		alice, err := accounts.In(u).Get(ctx, "alice")
//		if err != nil {
//			return err
//		}
//		return alice.Withdraw(30) // saved and published by the commit, or not at all
//	})
//
// # Reading order
//
// DB.Do runs a closure in a Unit. Collection.In gives the unit's Repository, the
// only way to aggregates. Events is what aggregates embed to record domain events.
// The hooks of Unit run around its end. Package outbox has the log of messages,
// package relay publishes it, and packages memory, files, sqlite, postgres and mysql are
// stores. DB.View reads without tracking, DB.With changes what units are like, and Table,
// Reference and Upcaster describe collections that are more than documents.
//
// # How a commit works
//
// The unit keeps each aggregate that it loads, once, with the version and the
// encoding it was loaded with. The commit encodes them again, and what differs
// becomes a change set: rows with the versions they must still have, and messages.
// The store applies a change set all at once or not at all. A row whose version
// has moved on fails it with a ConflictError.
package uow
