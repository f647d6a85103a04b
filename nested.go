package uow

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/uow-go/uow/driver"
)

// ErrUnsupported is returned for what the store can not do.
var ErrUnsupported = errors.New("uow: the store does not support this")

// Nested runs fn as a nested unit: a part of this unit that can fail by itself.
//
// When fn returns nil, what it did is part of this unit, which may yet be rolled
// back. When it returns an error, panics, ends its goroutine, or ctx ends, the
// nested unit leaves no trace: rows that it flushed or wrote by the user's own SQL,
// changes of aggregates that this unit had already, aggregates that it loaded or
// added (which are detached), events, messages and hooks are as they were before.
// Its AfterRollback hooks run then. The error of fn comes back as it is, and this
// unit can go on. A Flush that failed is such an error, also when fn returns nil.
//
// When the database can't undo the nested part, this unit can only be rolled back,
// and says so whenever it is used.
//
// Aggregates are brought back by their encoding: what is not encoded is lost in
// those that the nested unit changed. ErrUnsupported when the store can't nest.
func (u *Unit) Nested(ctx context.Context, fn func(ctx context.Context, u *Unit) error) error {
	var m *mark
	if err := u.guarded(func() (err error) {
		m, err = u.nest(ctx, true)
		return err
	}); err != nil {
		return err
	}
	finished := false
	defer func() {
		if !finished { // a panic or Goexit passes through here
			_ = u.unnest(ctx, m, errAbandoned)
		}
	}()
	err := fn(ctx, u)
	if err == nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	finished = true
	return u.unnest(ctx, m, err)
}

// mark is what a unit was when a nested one began.
type mark struct {
	// closure is true where Nested ends it, and false where a NestedUnit does.
	closure bool
	restore []func() error // of each collection
	pending []pendingMessage
	events  []Event
	hooks   hooks
	changes Changes // as far as they were handed to the store
}

func (u *Unit) nest(ctx context.Context, closure bool) (*mark, error) {
	m := &mark{
		closure: closure,
		changes: u.watch.changes(),
		restore: make([]func() error, len(u.sets)),
		pending: slices.Clone(u.pending),
		events:  slices.Clone(u.events),
		hooks: hooks{
			beforeCommit:  slices.Clone(u.hooks.beforeCommit),
			afterCommit:   slices.Clone(u.hooks.afterCommit),
			afterRollback: slices.Clone(u.hooks.afterRollback),
		},
	}
	for i, s := range u.sets {
		if s == nil {
			continue
		}
		restore, err := s.mark()
		if err != nil {
			return nil, err
		}
		m.restore[i] = restore
	}
	if u.tx != nil { // otherwise begin does it
		if err := u.nestStore(ctx, 1); err != nil {
			return nil, err
		}
	}
	u.nested = append(u.nested, m)
	return m, nil
}

// nestStore begins nested parts in the store's transaction.
func (u *Unit) nestStore(ctx context.Context, parts int) error {
	if parts == 0 {
		return nil
	}
	nester, ok := u.tx.(driver.Nester)
	if !ok {
		return fmt.Errorf("%w: nested units (%T)", ErrUnsupported, u.db.store)
	}
	for range parts {
		u.midway = true
		err := nester.Nest(ctx)
		u.midway = false
		if err != nil {
			return fmt.Errorf("uow: nested unit: %w", err)
		}
	}
	return nil
}

// unnest ends a nested unit: well when cause is nil.
func (u *Unit) unnest(ctx context.Context, m *mark, cause error) error {
	cause, undone, err := u.endNested(m, cause)
	if cause == nil {
		cause, err = err, nil
	}
	hookErr := runReversed(ctx, u.watch, undone, cause)
	if err == nil && hookErr == nil {
		return cause
	}
	return errors.Join(cause, err, hookErr)
}

// endNested is the operation in unnest. It returns why the nested unit was not kept,
// the AfterRollback hooks that must then run, and what went wrong in undoing it.
func (u *Unit) endNested(m *mark, cause error) (_ error, undone []func(context.Context, error) error, err error) {
	u.busy.Lock() // undoing must not be refused, so it waits
	defer u.leave()
	if u.ended.Load() {
		return cmp.Or(cause, ErrUnitClosed), nil, nil
	}
	inner, err := u.within(m)
	if err != nil {
		return cmp.Or(cause, err), nil, nil
	}
	if cause == nil {
		cause = u.failed // fn has not told of it, and what it did can't be kept
	}
	if cause == nil && inner > 0 {
		cause = ErrNestedOpen
	}
	u.midway = true // until the aggregates, too, are what they were
	for range inner {
		err = errors.Join(err, u.unnestStore(false))
	}
	err = errors.Join(err, u.unnestStore(cause == nil))
	u.nested = u.nested[:len(u.nested)-1-inner]
	u.watch.nested(cause == nil && err == nil, m.changes)
	if cause == nil && err == nil {
		u.midway = false
		return nil, nil, nil
	}
	undone = u.hooks.afterRollback[len(m.hooks.afterRollback):]
	err = errors.Join(err, u.returnTo(m))
	u.midway = false
	if err != nil {
		u.stuck = fmt.Errorf("uow: a nested unit could not be undone: %w", err)
	}
	u.failed = u.stuck
	return cause, undone, err
}

func (u *Unit) unnestStore(keep bool) error {
	if nester, ok := u.tx.(driver.Nester); ok && u.stuck == nil {
		return nester.Unnest(keep)
	}
	return nil // nothing has begun, or it can only be rolled back
}

func (u *Unit) returnTo(m *mark) error {
	var errs []error
	for i, s := range u.sets {
		switch {
		case s == nil:
		case i < len(m.restore) && m.restore[i] != nil:
			errs = append(errs, m.restore[i]())
		default:
			s.clear()
		}
	}
	u.pending, u.events, u.hooks = m.pending, m.events, m.hooks
	return errors.Join(errs...)
}

// savedEntry is an aggregate as it was when a nested unit began.
type savedEntry[T any] struct {
	entry *entry[T]
	node  node
	value *T
	image image
}

// mark remembers the aggregates as they are.
func (m *identityMap[T]) mark() (restore func() error, err error) {
	saved := make([]savedEntry[T], len(m.entries.list))
	for i, e := range m.entries.list {
		img, err := m.collection.capture(e.value)
		if err != nil {
			return nil, err
		}
		saved[i] = savedEntry[T]{entry: e, node: e.node, value: e.value, image: img}
	}
	return func() error { return m.returnTo(saved) }, nil
}

func (m *identityMap[T]) returnTo(saved []savedEntry[T]) error {
	for _, e := range m.entries.list[len(saved):] {
		detach(e.value)
	}
	m.entries.cut(len(saved))
	var errs []error
	for _, s := range saved {
		if s.entry.value != s.value {
			detach(s.entry.value)
		}
		s.entry.value, s.entry.node = s.value, s.node
		errs = append(errs, m.bringBack(s))
		if r, ok := any(s.value).(Recorder); ok {
			r.RecordedEvents().follow(m.unit, &s.entry.node)
		}
	}
	return errors.Join(errs...)
}

// bringBack gives an aggregate that has changed since the state it had.
func (m *identityMap[T]) bringBack(s savedEntry[T]) error {
	now, err := m.collection.capture(s.value)
	if err == nil && now.equal(s.image) {
		return nil
	}
	before, err := m.collection.restore(s.node.id, s.image)
	if err != nil {
		return err
	}
	*s.value = *before
	return nil
}

// clear lets go of everything.
func (m *identityMap[T]) clear() {
	m.detach()
	m.entries.cut(0)
}
