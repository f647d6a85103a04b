// Package operations manages messages over every store, with a relay that runs meanwhile,
// and by the command uow as a person types it.
package operations
