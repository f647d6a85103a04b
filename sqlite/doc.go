// Package sqlite is the embedded store: units of work in one SQLite file, without
// a server and without cgo.
//
//	db, err := sqlite.Open(ctx, "bank.db", uow.Config{
//		Collections: []uow.AnyCollection{accounts},
//	})
package sqlite
