package inbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/internal/pause"
)

// Receipt says what became of a delivery that went well.
type Receipt struct {
	// Duplicate says that the message had been handled before, or was by another
	// delivery meanwhile. Nothing has happened again.
	Duplicate bool
	// HandledAt is the time of the unit that handled the message, and Unit its id.
	HandledAt time.Time
	Unit      string
	// Gap is what is missing of the stream just before the message, and Late says that
	// a later message of it has been handled. Only with ReportDisorder, and not of a
	// duplicate.
	Gap  Gap
	Late bool
}

// Handle runs fn in a unit together with the mark that says that the consumer has
// handled the message, unless there is such a mark already: however often and by
// however many at once a message is delivered, it takes effect once. A message whose
// Handle returned no error can be acknowledged; after an error it is to be delivered
// again, but for ErrInvalid, ErrTooOld and ErrLate, after which that is of no use.
//
// An error of fn comes back as it is, and leaves neither mark nor effects, as a panic
// does: the next delivery handles the message. fn runs again as in uow.DB.Do, by the
// database's Config.Retry, and also where another delivery got in between. After a
// uow.InDoubtError too, the message is to be delivered again: whether there is a mark
// is the answer, and while there is none, nothing has happened, or ever will.
//
// While another delivery of the message is being handled, Handle waits, as long as ctx
// allows. Where Config.Claim is BeforeHandling, what fn does by other units waits for
// this one on some databases, so it should do all by u; and it must not handle the same
// message.
func (in *Inbox) Handle(ctx context.Context, m Message, fn func(ctx context.Context, u *uow.Unit) error) (Receipt, error) {
	_, receipt, err := in.handle(ctx, m, func(ctx context.Context, u *uow.Unit) (json.RawMessage, error) {
		return nil, fn(ctx, u)
	})
	return receipt, err
}

// HandleResult is Inbox.Handle with a result that is kept with the mark, as JSON: a
// duplicate gets the result of the first. It makes requests idempotent, where the id of
// the message is the key that the client has chosen.
func HandleResult[R any](ctx context.Context, in *Inbox, m Message, fn func(ctx context.Context, u *uow.Unit) (R, error)) (R, Receipt, error) {
	var result R
	kept, receipt, err := in.handle(ctx, m, func(ctx context.Context, u *uow.Unit) (json.RawMessage, error) {
		var err error
		if result, err = fn(ctx, u); err != nil {
			return nil, err
		}
		encoded, err := json.Marshal(result)
		if err != nil {
			return nil, fmt.Errorf("inbox: the result can't be kept: %w", err)
		}
		return encoded, nil
	})
	if err != nil || !receipt.Duplicate {
		if err != nil {
			result = *new(R)
		}
		return result, receipt, err
	}
	result = *new(R) // of an attempt that was rolled back
	if kept == nil {
		return result, receipt, fmt.Errorf("%w: message %q of %q", ErrNoResult, m.ID, m.Source)
	}
	if err := json.Unmarshal(kept, &result); err != nil {
		return *new(R), receipt, fmt.Errorf("inbox: the result that was kept of message %q: %w", m.ID, err)
	}
	return result, receipt, nil
}

// delivery is one call of Handle.
type delivery struct {
	*Inbox
	message Message
	fn      func(ctx context.Context, u *uow.Unit) (json.RawMessage, error)

	looks   bool // for the mark, before it is claimed
	ran     bool // fn, in the last attempt
	receipt Receipt
	result  json.RawMessage // of a duplicate
}

func (in *Inbox) handle(ctx context.Context, m Message, fn func(ctx context.Context, u *uow.Unit) (json.RawMessage, error)) (result json.RawMessage, receipt Receipt, err error) {
	began, observed := time.Now(), errNoReturn
	defer func() { in.observe(ctx, m, receipt, observed, began) }()
	result, receipt, err = in.deliver(ctx, m, fn)
	observed = err
	return result, receipt, err
}

func (in *Inbox) deliver(ctx context.Context, m Message, fn func(ctx context.Context, u *uow.Unit) (json.RawMessage, error)) (json.RawMessage, Receipt, error) {
	m, err := m.checked()
	if err != nil {
		return nil, Receipt{}, err
	}
	d := &delivery{Inbox: in, message: m, fn: fn}
	turn := d.markKey()
	if d.inOrder() {
		turn = in.streamKey(m)
	}
	release, err := in.turns.take(ctx, turn)
	if err != nil {
		return nil, Receipt{}, err
	}
	defer release()
	db := in.db.WithHeaders(m.headers())
	err = again(ctx, func() (bool, error) { return d.settle(ctx, db.Do(ctx, d.attempt)) })
	if err != nil {
		return nil, Receipt{}, err
	}
	return d.result, d.receipt, nil
}

// attempt is the unit.
func (d *delivery) attempt(ctx context.Context, u *uow.Unit) error {
	d.ran, d.receipt, d.result = false, Receipt{}, nil
	mark, err := d.claim(ctx, u)
	if err != nil || mark == nil {
		return err
	}
	d.ran = true
	mark.Result, err = d.fn(ctx, u)
	return err
}

// claim adds the mark to the unit; nil when there is one already. Nearly all messages are
// new: where the database is asked for the mark's place before anything else, that alone
// tells, and it is looked for only once the place has turned out to be taken.
func (d *delivery) claim(ctx context.Context, u *uow.Unit) (*Mark, error) {
	if !d.looks && d.cfg.Claim == BeforeHandling && !d.inOrder() && d.isRemembered(u.Now()) {
		d.looks = true
		return d.mark(ctx, u, Receipt{HandledAt: u.Now(), Unit: u.ID()})
	}
	d.looks = true
	known, err := d.known(ctx, d.records.all.In(u).GetMany)
	if err != nil {
		return nil, err
	}
	if r := known[d.markKey()]; r != nil {
		d.duplicate(r.Mark)
		return nil, nil
	}
	if r := known[d.cfg.Consumer]; r != nil && !d.message.Time.IsZero() && !d.message.Time.After(r.Consumer.Forgotten) {
		return nil, fmt.Errorf("%w: message %q of %q is of %v, and marks up to %v were deleted",
			ErrTooOld, d.message.ID, d.message.Source, d.message.Time, r.Consumer.Forgotten)
	}
	receipt := Receipt{HandledAt: u.Now(), Unit: u.ID()}
	if d.inOrder() {
		receipt.Gap, receipt.Late, err = d.step(u, known[d.streamKey(d.message)], d.message)
		if err != nil {
			return nil, err
		}
	}
	return d.mark(ctx, u, receipt)
}

// isRemembered reports whether the message's mark, if there is one, was certainly not
// deleted: those are kept for the horizon, of which half allows for clocks that differ.
func (d *delivery) isRemembered(now time.Time) bool {
	return d.message.Time.IsZero() || d.message.Time.After(now.Add(-d.cfg.Horizon/2))
}

// mark adds the mark to the unit.
func (d *delivery) mark(ctx context.Context, u *uow.Unit, receipt Receipt) (*Mark, error) {
	mark := &Mark{Consumer: d.cfg.Consumer, Message: d.message, HandledAt: u.Now(), Unit: u.ID()}
	if err := d.records.all.In(u).Add(&record{ID: d.markKey(), Mark: mark}); err != nil {
		return nil, err
	}
	if d.cfg.Claim == BeforeHandling {
		if err := u.Flush(ctx); err != nil {
			return nil, err
		}
	}
	d.receipt = receipt
	return mark, nil
}

// known asks for all that the inbox knows about the message, at once.
func (d *delivery) known(ctx context.Context, get func(ctx context.Context, ids ...string) ([]*record, error)) (map[string]*record, error) {
	ids := []string{d.markKey(), d.cfg.Consumer}
	if d.inOrder() {
		ids = append(ids, d.streamKey(d.message))
	}
	found, err := get(ctx, ids...)
	if err != nil {
		return nil, err
	}
	known := make(map[string]*record, len(found))
	for _, r := range found {
		known[r.ID] = r
		if r.Mark == nil && r.ID == ids[0] || r.Consumer == nil && r.ID == ids[1] || r.Stream == nil && r.ID != ids[0] && r.ID != ids[1] {
			return nil, fmt.Errorf("inbox: the record %q is not what its id says", r.ID)
		}
	}
	return known, nil
}

func (d *delivery) markKey() string {
	return key(d.cfg.Consumer, markKind, d.message.Source, d.message.ID)
}

func (d *delivery) inOrder() bool { return d.cfg.Order != IgnoreOrder && d.message.ordered() }

func (d *delivery) duplicate(m *Mark) {
	d.receipt = Receipt{Duplicate: true, HandledAt: m.HandledAt, Unit: m.Unit}
	d.result = m.Result
}

// settle decides what an error of a unit means. Where another delivery was faster,
// that may look like any conflict, so the mark is looked for.
func (d *delivery) settle(ctx context.Context, err error) (repeat bool, _ error) {
	if !raced(err) {
		return false, err
	}
	if !d.ran || d.ownConflict(err) {
		return true, err
	}
	var mark *Mark
	failed := d.db.View(ctx, func(ctx context.Context, v *uow.View) error {
		known, err := d.known(ctx, d.records.all.From(v).GetMany)
		if r := known[d.markKey()]; r != nil {
			mark = r.Mark
		}
		return err
	})
	if failed != nil || mark == nil {
		return false, err
	}
	d.duplicate(mark)
	return false, nil
}

// ownConflict reports whether it was about the inbox' own records.
func (d *delivery) ownConflict(err error) bool {
	conflict, ok := errors.AsType[*uow.ConflictError](err)
	return ok && conflict.Collection == d.records.all.Name()
}

// raced reports whether an error may be due to a unit that was faster. When a hook
// failed after the rollback, the world may not be as before.
func raced(err error) bool {
	if err == nil || errors.Is(err, uow.ErrInDoubt) {
		return false
	}
	if _, failed := errors.AsType[*uow.HookError](err); failed {
		return false
	}
	return errors.Is(err, uow.ErrConflict) || errors.Is(err, uow.ErrRetryable) || errors.Is(err, uow.ErrDuplicate)
}

// maxAttempts is how often a race against other deliveries is run. Each of them is lost
// to one that has won, so that more than a few are a sign of something else.
const maxAttempts = 10

// again runs attempts until one does not ask for another.
func again(ctx context.Context, try func() (repeat bool, err error)) error {
	for attempt := 1; ; attempt++ {
		repeat, err := try()
		if !repeat || attempt == maxAttempts {
			return err
		}
		if pause.For(ctx, rand.N(min(time.Millisecond<<attempt, 250*time.Millisecond))) != nil {
			return err
		}
	}
}
