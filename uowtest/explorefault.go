package uowtest

import (
	"context"
	"fmt"
	"runtime"

	"github.com/uow-go/uow/driver"
)

// Fault is a way in which a step can fail.
type Fault string

// The faults. A step has those that make sense for it.
const (
	// FailBefore returns an error in the place of the step.
	FailBefore Fault = "before"
	// FailAfter returns an error after the step went well. When that is a commit, the
	// database can be asked what became of it, and tells that it happened.
	FailAfter Fault = "after"
	// FailLost loses the connection before a commit. The answer is lost too, and the
	// database can be asked, and tells that it did not happen.
	FailLost Fault = "lost"
	// FailInDoubt commits, and the database can not be asked by the commit. The
	// operation may ask, later, by uow.DB.Resolve.
	FailInDoubt Fault = "in_doubt"
	// FailInDoubtLost is FailInDoubt of a commit that did not happen.
	FailInDoubtLost Fault = "in_doubt_lost"
	// FailRetryable returns an error that is uow.ErrRetryable in the place of the
	// step.
	FailRetryable Fault = "retryable"
	// FailConflict returns a *uow.ConflictError in the place of the step, as if
	// another unit had changed a row first.
	FailConflict Fault = "conflict"
	// FailMeanwhile is no failure: Exploration.Meanwhile happens before the step.
	FailMeanwhile Fault = "meanwhile"
	// FailUnavailable answers that nothing can be published for now.
	FailUnavailable Fault = "unavailable"
	// FailCancel ends the operation's context before the step.
	FailCancel Fault = "cancelled"
	// FailPanic panics in the place of the step.
	FailPanic Fault = "panic"
	// FailGoexit ends the goroutine in the place of the step, as t.FailNow does.
	FailGoexit Fault = "goexit"
	// FailCrash ends the process before the step: nothing of the operation runs any
	// more, no deferred function and no hook, and the database rolls back what was
	// open.
	FailCrash Fault = "crash"
	// FailCrashAfter ends the process after the step.
	FailCrashAfter Fault = "crash_after"
)

// String says what the step did, as in "step 7 failed".
func (f Fault) String() string {
	switch f {
	case FailBefore:
		return "failed"
	case FailAfter:
		return "happened, and its answer was lost"
	case FailLost:
		return "did not happen, and its answer was lost"
	case FailInDoubt:
		return "happened, its answer was lost, and the database could not be asked"
	case FailInDoubtLost:
		return "did not happen, its answer was lost, and the database could not be asked"
	case FailRetryable:
		return "failed with a retryable error"
	case FailConflict:
		return "met a conflict"
	case FailMeanwhile:
		return "came after a change by others"
	case FailUnavailable:
		return "found the broker gone"
	case FailCancel:
		return "began after the context was cancelled"
	case FailPanic:
		return "panicked"
	case FailGoexit:
		return "ended the goroutine"
	case FailCrash:
		return "was about to begin when the process ended"
	case FailCrashAfter:
		return "was the last one before the process ended"
	}
	return string(f)
}

// further reports whether the fault is explored also in the recovery from another
// one, where the many ways of not having happened lead to nothing new.
func (f Fault) further() bool {
	switch f {
	case FailBefore, FailAfter, FailLost, FailInDoubt, FailInDoubtLost, FailCrash, FailCrashAfter:
		return true
	}
	return false
}

// faults returns the faults that make sense for the step.
func (s Step) faults() []Fault {
	list := s.ownFaults()
	if s.mayPanic {
		list = append(list, FailPanic, FailGoexit)
	}
	if !s.locked {
		list = append(list, FailMeanwhile)
	}
	return list
}

func (s Step) ownFaults() []Fault {
	switch s.method {
	case "Get", "GetForUpdate", "Find", "Count", "Nest": // after them, nothing is different from before
		return []Fault{FailBefore, FailRetryable, FailCancel, FailCrash}
	case "Native":
		return []Fault{FailBefore, FailCancel, FailCrash}
	case "Begin":
		return []Fault{FailBefore, FailAfter, FailRetryable, FailCancel, FailCrash}
	case "Flush":
		list := []Fault{FailBefore, FailAfter, FailRetryable, FailCancel, FailCrash, FailCrashAfter}
		return append(list, s.conflicts()...)
	case "Commit":
		list := []Fault{FailBefore, FailRetryable, FailCancel, FailCrash, FailCrashAfter}
		if s.resolves {
			list = append(list, FailAfter, FailLost, FailInDoubt, FailInDoubtLost)
		}
		return append(list, s.conflicts()...)
	case "Rollback":
		return []Fault{FailAfter, FailCrash}
	case "Publish":
		return []Fault{FailBefore, FailAfter, FailUnavailable, FailCrash, FailCrashAfter}
	case "Unnest", "Acquire", "Settle":
		return []Fault{FailBefore, FailAfter, FailCrash, FailCrashAfter}
	case "Resolve":
		return []Fault{FailBefore, FailCrash}
	}
	return []Fault{FailBefore, FailAfter, FailCancel, FailCrash, FailCrashAfter} // the user's own
}

func (s Step) conflicts() []Fault {
	if s.conflict == nil {
		return nil
	}
	return []Fault{FailConflict}
}

// firstConflict is the conflict that a change set could meet; nil when none.
func firstConflict(cs *driver.ChangeSet) *driver.ConflictError {
	switch {
	case cs == nil:
	case len(cs.Writes) > 0:
		w := cs.Writes[0]
		return &driver.ConflictError{Collection: w.Collection, ID: w.ID, Expected: w.Expected, Found: w.Expected + 1}
	case len(cs.Checks) > 0:
		c := cs.Checks[0]
		return &driver.ConflictError{Collection: c.Collection, ID: c.ID, Expected: c.Version, Found: c.Version + 1}
	}
	return nil
}

// injectedPanic is what FailPanic panics with.
type injectedPanic struct{ step string }

// Error makes it readable where it is printed.
func (p injectedPanic) Error() string { return "uowtest: " + p.step + " panicked on purpose" }

// inject lets a step happen with a fault.
func (x *Run) inject(ctx context.Context, s Step, f Fault, do func() error) error {
	failed := fmt.Errorf("uowtest: %s: %w", s.Name, ErrInjected)
	switch f {
	case FailBefore:
		return failed
	case FailAfter, FailInDoubt:
		if err := do(); err != nil {
			return err
		}
		return failed
	case FailLost, FailInDoubtLost:
		return fmt.Errorf("%w: %w", failed, driver.ErrInDoubt)
	case FailRetryable:
		return fmt.Errorf("%w: %w", failed, driver.ErrRetryable)
	case FailUnavailable:
		return fmt.Errorf("%w: %w", failed, ErrUnavailable)
	case FailConflict:
		return s.conflict
	case FailMeanwhile:
		x.process.meanwhile(ctx)
	case FailCancel:
		x.process.cancel()
	case FailPanic:
		x.process.exits()
		panic(injectedPanic{s.Name}) //nolint:forbidigo // this is what is explored
	case FailGoexit:
		x.process.exits()
		runtime.Goexit()
	case FailCrash:
		return x.process.crash()
	case FailCrashAfter:
		_ = do()
		return x.process.crash()
	}
	return do()
}
