package uowtest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"

	"github.com/uow-go/uow/driver"
	"github.com/uow-go/uow/outbox"
)

// ErrInjected is what errors.Is finds in errors that were made by this package in
// the place of a store's, a publisher's or a step's own.
var ErrInjected = errors.New("uowtest: failed on purpose")

// Call is one call of a store, a transaction, an outbox log or a publisher.
type Call struct {
	// Method is the method's name: Begin, Get, GetForUpdate, Find, Count, Flush,
	// Commit, Rollback, Nest, Unnest and Resolve, those of outbox.Log but for
	// Subscribe, and Publish. Native stands for the user's own SQL in the store's transaction.
	Method string
	// Collection is that of a read.
	Collection string
	// IDs are those of a Get or GetForUpdate.
	IDs []string
	// Changes are those of a Flush or Commit. They must not be changed.
	Changes *driver.ChangeSet
	// Unit is the id of the unit that a Resolve asks for.
	Unit string
	// Keep is the argument of an Unnest.
	Keep bool
	// Settlement is that of a Settle. It must not be changed.
	Settlement *outbox.Settlement
	// Messages are those of a Publish. They must not be changed.
	Messages []outbox.Message
}

// String describes the call in a line: the method and what it is about.
func (c Call) String() string {
	var about []string
	switch {
	case c.IDs != nil:
		about = append(about, c.Collection+"/"+strings.Join(c.IDs, ","))
	case c.Collection != "":
		about = append(about, c.Collection)
	case c.Method == "Unnest" && !c.Keep:
		about = append(about, "undo")
	case c.Changes != nil:
		about = changeList(c.Changes)
	}
	for _, m := range c.Messages {
		about = append(about, m.Type)
	}
	if len(about) == 0 {
		return c.Method
	}
	return c.Method + " " + strings.Join(about, ", ")
}

// changeList lists what a change set has.
func changeList(cs *driver.ChangeSet) (about []string) {
	for _, w := range cs.Writes {
		about = append(about, fmt.Sprintf("%s %s/%s", w.Op, w.Collection, w.ID))
	}
	for _, c := range cs.Checks {
		about = append(about, fmt.Sprintf("check %s/%s", c.Collection, c.ID))
	}
	for _, r := range cs.Ranges {
		about = append(about, "check a query of "+r.Collection)
	}
	for _, m := range cs.Messages {
		about = append(about, "message "+m.Type)
	}
	const most = 6
	if more := len(about) - most; more > 0 {
		about = append(about[:most], fmt.Sprintf("%d more", more))
	}
	return about
}

// Around is called in the place of each call: do makes it. What Around returns
// reaches the caller in the place of the call's error. An Around may also panic,
// wait, or end its goroutine. It is called from as many goroutines as the store is.
//
// A wrapper keeps its part of the contract, whatever Around does:
//
//   - A Commit that was not made rolls back, since the transaction has ended.
//   - A Commit that was made, and whose error is Around's, is ErrInDoubt; where
//     nobody could resolve that (see Faults.Doubt) the error is dropped.
//   - A Rollback is always made: a database that is not told notices that the
//     connection has gone.
//   - A Native call that fails loses the connection, and the transaction with it.
//   - Of a Publish that was made, and whose error is Around's, nobody knows the
//     outcome; one that was not made is to be tried again.
type Around func(ctx context.Context, c Call, do func() error) error

// Faults is what happens between a store, or a publisher, and its user.
type Faults struct {
	// Around is called around each call. Default: nothing happens.
	Around Around
	// Doubt makes a driver.Resolver also of a store that is none, so that its
	// commits can be in doubt. The wrapper knows the truth, since it has seen the
	// commits; it is for stores that stand in for a server.
	Doubt bool
}

func (f Faults) around(ctx context.Context, c Call, do func() error) error {
	if f.Around == nil {
		return do()
	}
	return f.Around(ctx, c, do)
}

// Failure is an entry of a Script.
type Failure struct {
	// Method says at which calls, as in Call.Method.
	Method string
	// Nth says at which of them, counted from 1. Default: 0, at each.
	Nth int
	// Err is the error. Default: ErrInjected.
	Err error
	// After lets the call happen first, so that only its answer is lost.
	After bool
}

// Script returns an Around that fails as the list says.
func Script(failures ...Failure) Around {
	var mu sync.Mutex
	calls := map[string]int{}
	next := func(method string) (Failure, bool) {
		mu.Lock()
		defer mu.Unlock()
		calls[method]++
		for _, f := range failures {
			if f.Method == method && (f.Nth == 0 || f.Nth == calls[method]) {
				return f, true
			}
		}
		return Failure{}, false
	}
	return func(_ context.Context, c Call, do func() error) error {
		f, fails := next(c.Method)
		if !fails {
			return do()
		}
		return fail(c.Method, f.Err, f.After, do)
	}
}

// Seeded returns an Around that lets a share of the calls fail, between 0 and 1:
// before or after they were made, half of them with ErrRetryable. Calls that come
// in the same order fail in the same way for the same seed.
func Seeded(seed uint64, share float64) Around {
	var mu sync.Mutex
	random := rand.New(rand.NewPCG(seed, seed)) //nolint:gosec // it must be repeatable
	return func(_ context.Context, c Call, do func() error) error {
		mu.Lock()
		fails, after, retryable := random.Float64() < share, random.IntN(2) == 0, random.IntN(2) == 0
		mu.Unlock()
		if !fails {
			return do()
		}
		err := ErrInjected
		if retryable {
			err = errRetryable
		}
		return fail(c.Method, err, after, do)
	}
}

var errRetryable = fmt.Errorf("%w: %w", ErrInjected, driver.ErrRetryable)

// fail fails before the call, or after it went well.
func fail(method string, err error, after bool, do func() error) error {
	if err == nil {
		err = ErrInjected
	}
	if after {
		if failed := do(); failed != nil {
			return failed
		}
	}
	return fmt.Errorf("uowtest: %s: %w", strings.ToLower(method), err)
}
