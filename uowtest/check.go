package uowtest

import (
	"slices"
	"testing"
)

// Check is one check of the suite.
type Check struct {
	// Name begins with the promise's number, or with the part of a store that the
	// check is about.
	Name string
	// Rule is what every store must do, in words.
	Rule string

	needs need
	run   func(k *kit)
}

// need is what a check needs of a store that not every store has.
type need uint16

const (
	outboxNeeded need = 1 << iota
	reopenNeeded
	nativeNeeded
	inUseNeeded
	uniqueNeeded
	concurrentFlushNeeded
	nestingNeeded
	lockingNeeded
	tablesNeeded
)

// Checks returns all checks, in the order in which TestStore runs them.
func Checks() []Check {
	return slices.Concat(
		atomicityChecks(),
		errorChecks(),
		contextChecks(),
		closedChecks(),
		trackingChecks(),
		changeChecks(),
		conflictChecks(),
		batchChecks(),
		flushChecks(),
		rollbackChecks(),
		retryChecks(),
		doubtChecks(),
		nestedChecks(),
		nestedEndChecks(),
		eventChecks(),
		streamChecks(),
		orderChecks(),
		recentChecks(),
		heldChecks(),
		inboxChecks(),
		hookChecks(),
		cursorChecks(),
		sharingChecks(),
		delayedChecks(),
		trimChecks(),
		readingChecks(),
		queryChecks(),
		tableChecks(),
		uniqueChecks(),
		concurrencyChecks(),
		storeChecks(),
	)
}

// Run runs the check against a store.
func (c Check) Run(t testing.TB, h Harness) {
	t.Helper()
	c.run(newKit(t, h, c))
}

// Failures runs the check against a store and returns what it found, without
// failing t.
func (c Check) Failures(t testing.TB, h Harness) []string {
	t.Helper()
	return record(t, func(t testing.TB) { c.Run(t, h) })
}

func (c Check) words(t testing.TB) words { return words{TB: t, check: c.Name, rule: c.Rule} }

// skip returns why the check does not apply to a store; empty when it does.
func (c Check) skip(h Harness) string {
	return skipped(c.needs, c.Rule, []lack[need]{
		{outboxNeeded, h.Lacks.Outbox, "the store declares that it lacks an outbox"},
		{uniqueNeeded, h.Lacks.UniqueIndexes, "the store declares that it lacks unique indexes"},
		{concurrentFlushNeeded, h.Lacks.ConcurrentFlush, "the store declares that it lacks concurrent flushes"},
		{nestingNeeded, h.Lacks.Nesting, "the store declares that it lacks nested units"},
		{lockingNeeded, h.Lacks.Locking, "the store declares that it lacks locking reads"},
		{tablesNeeded, h.Lacks.Tables, "the store declares that it lacks tables of the user's"},
		{reopenNeeded, h.Reopen == nil, "the harness has no Reopen"},
		{nativeNeeded, h.Native == nil, "the harness has no Native"},
		{inUseNeeded, h.InUse == nil, "the harness has no InUse"},
	})
}
