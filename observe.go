package uow

import (
	"context"
	"fmt"
	"time"
)

// Observer is told what units do, for logs, metrics and traces. Config.Observers
// has them. LogObserver is one; module uowotel has one for OpenTelemetry.
//
// It is told once for each unit that it started, for each attempt what became of
// it, and once that the unit ended: in this order, one call at a time. Different
// units call it at once. It should be quick, must not use the unit, and is told of
// no data and no ids of aggregates except by errors. A panic in it is logged, and
// changes nothing for the unit.
type Observer interface {
	// UnitStarted tells of a unit that starts. What it returns goes to the closure
	// of DB.Do or DB.View, to the next observer and to the other methods, so that a span in it
	// is the parent of those that the closure starts; it must be derived from ctx.
	//
	// A unit of DB.Begin is told of when it first gets a context: at its first read,
	// Flush, Commit or Rollback, at the latest by Close. What is returned then goes
	// to the observers alone.
	UnitStarted(ctx context.Context, s UnitStart) context.Context
	// AttemptEnded tells what became of an attempt, after its hooks have run. There
	// is one for each unit, and more where Config.Retry had the closure run again.
	AttemptEnded(ctx context.Context, a Attempt)
	// UnitEnded tells of the end of a unit that was not run again.
	UnitEnded(ctx context.Context, r UnitReport)
}

// MessageHeaders is an Observer that gives headers to the messages of each unit,
// such as the traceparent by which a consumer goes on with the unit's trace.
// Headers that a message has already are kept.
type MessageHeaders interface {
	// MessageHeaders is called before messages are written, with the context that
	// UnitStarted returned. The map is not changed, and may be nil.
	MessageHeaders(ctx context.Context) map[string]string
}

// UnitStart is a unit that starts.
type UnitStart struct {
	// Name is what UnitOptions.Name says.
	Name string
	// View is whether it is one of DB.View, which is reported as a unit that only
	// reads: committed when it went well.
	View bool
	// At is when DB.Do, DB.View or DB.Begin was called.
	At time.Time
}

// Attempt is one run of a unit's closure with its commit or rollback; for a unit
// of DB.Begin, all of it.
type Attempt struct {
	// Unit is the id that this attempt had: each has its own.
	Unit string
	// Number counts from 1.
	Number int
	// At is when the attempt began, and Duration how long it took, hooks included.
	At       time.Time
	Duration time.Duration
	// Store is how much of it was spent in Calls calls of the store, the commit
	// included; what is left is the user's code and the encoding of aggregates.
	Store time.Duration
	Calls int
	// Commit is how long the store's commit took, and the questions what became of
	// it where its answer was lost. It is 0 where none was begun.
	Commit time.Duration
	// Doubts is how often the store was asked what became of the commit, because
	// its answer was lost. The Outcome is what it said.
	Doubts int

	// Outcome is what became of the attempt, and Err why it was not committed: the
	// error that DB.Do, DB.View, Commit, Rollback or Close returned. A unit of DB.Begin that
	// was simply rolled back has none.
	Outcome Outcome
	Err     error

	// Changes is what was handed to the store, committed or not.
	Changes
	// NestedKept and NestedUndone count the nested units by what became of them.
	NestedKept, NestedUndone int
	// FailedHooks counts after-hooks that failed. (A BeforeCommit hook that fails is
	// a veto, and the Err.)
	FailedHooks int
}

// Changes counts what a unit handed to its store, without what its nested units
// took back.
type Changes struct {
	// Inserted, Updated and Deleted count rows. Checked counts what was not written
	// but had to be unchanged: rows, and results of a serializable unit's queries.
	Inserted, Updated, Deleted, Checked int
	// Messages counts events and messages that were appended.
	Messages int
	// Bytes is the size of the bodies and payloads.
	Bytes int64
}

// UnitReport is a unit that has ended.
type UnitReport struct {
	UnitStart
	// Duration is how long it took, pauses between attempts included.
	Duration time.Duration
	// Attempts is how many there were.
	Attempts int
	// Last is the last attempt, whose outcome is the unit's.
	Last Attempt
}

// Outcome is what became of a unit, or of an attempt.
type Outcome uint8

// The outcomes.
const (
	// Committed: everything happened.
	Committed Outcome = iota + 1
	// RolledBack: nothing happened, for any reason that is not one of the next.
	RolledBack
	// Conflicted: nothing happened, because of an ErrConflict.
	Conflicted
	// Duplicated: nothing happened, because of an ErrDuplicate.
	Duplicated
	// Doubtful: it is not known what happened: the error is an *InDoubtError.
	Doubtful
)

// String returns the outcome's name: committed, rolled_back, conflict, duplicate
// or in_doubt.
func (o Outcome) String() string {
	switch o {
	case Committed:
		return "committed"
	case RolledBack:
		return "rolled_back"
	case Conflicted:
		return "conflict"
	case Duplicated:
		return "duplicate"
	case Doubtful:
		return "in_doubt"
	}
	return fmt.Sprintf("outcome(%d)", uint8(o))
}
