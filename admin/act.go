package admin

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/uow-go/uow/internal/pause"
	"github.com/uow-go/uow/outbox"
)

// Action says what to do with which messages.
type Action struct {
	// Cursor is whose messages they are. Required.
	Cursor string `json:"cursor"`
	// Filter selects messages. One that selects everything needs All. States must be
	// some that the action is for; without any it is Parked for Discard, all that are held
	// for Park, and all that it is for for the others.
	Filter Filter `json:"filter"`
	All    bool   `json:"all,omitempty"`
	// DryRun changes nothing and counts.
	DryRun bool `json:"dryRun,omitempty"`
	// Limit is the greatest number of messages. Default: 0, no limit.
	Limit int `json:"limit,omitempty"`
	// Reason is kept with what is parked. Default: "parked by an operator".
	Reason string `json:"reason,omitempty"`
	// Rate is how many messages a second are replayed at most. Default: 0, no limit: the
	// relay publishes them as fast as it can.
	Rate int `json:"rate,omitempty"`
	// Actor is who does it, for the audit.
	Actor string `json:"-"`
}

// Outcome is what an action did.
type Outcome struct {
	Action string `json:"action"`
	Cursor string `json:"cursor"`
	DryRun bool   `json:"dryRun,omitempty"`
	// Matched counts the messages that were selected, and Changed those that were
	// changed. They differ where a relay, or somebody else, was faster, and for messages
	// that Park can't park.
	Matched int `json:"matched"`
	Changed int `json:"changed"`
	// Positions are the first of those that were selected, 100 at most.
	Positions []int64 `json:"positions,omitempty"`
	// Last is the position of the last message that was selected: after a failure, or
	// with a Limit, Filter.From is one more.
	Last int64 `json:"last,omitempty"`
}

// Redrive makes parked messages due at once, with their attempts forgotten.
func (o *Ops) Redrive(ctx context.Context, a Action) (Outcome, error) {
	return o.act(ctx, "redrive", a, []State{Parked}, []State{Parked}, o.cfg.Log.Redrive)
}

// Discard gives held messages up, by default only parked ones: they count as delivered,
// and stay in the log until they are trimmed.
func (o *Ops) Discard(ctx context.Context, a Action) (Outcome, error) {
	return o.act(ctx, "discard", a, []State{Parked}, []State{Parked, Retrying, Waiting}, o.cfg.Log.Discard)
}

// Park makes held messages wait for an operator: those that are retrying, or waiting as
// the first of their key. What the relay is trying just then is settled by what becomes
// of it.
//
// With Delivered among its states it stops keys that deliver normally: the last message of
// each that was delivered is held again, as parked, and what follows it waits, from the
// relay's next look on. Discard it, and the key goes on; Redrive publishes it once more
// before. The keys must be named, and the log must still have a message of them.
func (o *Ops) Park(ctx context.Context, a Action) (Outcome, error) {
	if a.Reason == "" {
		a.Reason = "parked by an operator"
	}
	park := func(ctx context.Context, cursor string, positions []int64) (int, error) {
		return o.cfg.Log.Park(ctx, cursor, positions, a.Reason)
	}
	if slices.Contains(a.Filter.States, Delivered) {
		return o.stop(ctx, a, park)
	}
	return o.act(ctx, "park", a, []State{Retrying, Waiting}, []State{Retrying, Waiting}, park)
}

// stop parks one message of each key: the first that is held, or the last that was delivered.
func (o *Ops) stop(ctx context.Context, a Action, park func(context.Context, string, []int64) (int, error)) (done Outcome, err error) {
	if err := a.check("park", []State{Retrying, Waiting, Delivered}); err != nil {
		return Outcome{}, err
	}
	if len(a.Filter.Keys) == 0 || slices.Contains(a.Filter.Keys, "") || a.Limit > 0 {
		return Outcome{}, fmt.Errorf("%w: park: messages that were delivered are parked to stop their keys, which must be named, without a limit", ErrInvalid)
	}
	done = Outcome{Action: "park", Cursor: a.Cursor, DryRun: a.DryRun}
	defer func() { o.audit(ctx, a, &done, err) }()
	byKey, held := map[string]int64{}, map[string]bool{}
	q := Query{Cursor: a.Cursor, Filter: a.Filter}
	for more := true; more; more = q.After > 0 {
		q.After, err = o.walk(ctx, q, func(m *outbox.Message, at *Standing) bool {
			if !held[m.Key] {
				byKey[m.Key], held[m.Key] = m.Position, at.State.held()
			}
			return true
		})
		if err != nil {
			return done, err
		}
	}
	return done, o.actOn(ctx, a, &done, slices.Sorted(maps.Values(byKey)), park)
}

// Replay has messages that were delivered published again, by the cursor's relay, with
// the ids that they had: see the package's comment. Messages that were trimmed are gone.
// With a Rate it returns when the last was handed to the relay.
func (o *Ops) Replay(ctx context.Context, a Action) (Outcome, error) {
	if a.Rate < 0 {
		return Outcome{}, fmt.Errorf("%w: a rate of %d", ErrInvalid, a.Rate)
	}
	return o.act(ctx, "replay", a, []State{Delivered}, []State{Delivered}, func(ctx context.Context, cursor string, positions []int64) (int, error) {
		if a.Rate == 0 {
			return o.cfg.Log.Replay(ctx, cursor, positions)
		}
		return paced(ctx, a.Rate, positions, func(part []int64) (int, error) { return o.cfg.Log.Replay(ctx, cursor, part) })
	})
}

// paced calls fn with parts of the positions, so that no more than rate are begun in a
// second.
func paced(ctx context.Context, rate int, positions []int64, fn func(part []int64) (int, error)) (total int, err error) {
	size := max(1, rate/10)
	for part := range slices.Chunk(positions, size) {
		n, err := fn(part)
		total += n
		if err != nil {
			return total, err
		}
		if err := pause.For(ctx, time.Duration(len(part))*time.Second/time.Duration(rate)); err != nil {
			return total, err
		}
	}
	return total, nil
}

// act does something with all messages that an action selects, batch by batch, and says
// so.
func (o *Ops) act(ctx context.Context, name string, a Action, usual, allowed []State, do func(context.Context, string, []int64) (int, error)) (done Outcome, err error) {
	if err := a.check(name, allowed); err != nil {
		return Outcome{}, err
	}
	if len(a.Filter.States) == 0 {
		a.Filter.States = usual
	}
	done = Outcome{Action: name, Cursor: a.Cursor, DryRun: a.DryRun}
	defer func() { o.audit(ctx, a, &done, err) }()
	// Where replaying moves messages to other states, the walk does not meet them again:
	// it goes by position.
	q := Query{Cursor: a.Cursor, Filter: a.Filter}
	for {
		var positions []int64
		next, err := o.walk(ctx, q, func(m *outbox.Message, _ *Standing) bool {
			positions = append(positions, m.Position)
			return len(positions) < batch && (a.Limit == 0 || done.Matched+len(positions) < a.Limit)
		})
		if err != nil {
			return done, err
		}
		if err := o.actOn(ctx, a, &done, positions, do); err != nil {
			return done, err
		}
		if next == 0 || a.Limit > 0 && done.Matched >= a.Limit {
			return done, nil
		}
		q.After = next
	}
}

// actOn does something with a batch.
func (o *Ops) actOn(ctx context.Context, a Action, done *Outcome, positions []int64, do func(context.Context, string, []int64) (int, error)) error {
	if len(positions) == 0 {
		return nil
	}
	done.Matched += len(positions)
	done.Last = positions[len(positions)-1]
	done.Positions = append(done.Positions, positions[:min(len(positions), 100-len(done.Positions))]...)
	if a.DryRun {
		return nil
	}
	n, err := do(ctx, a.Cursor, positions)
	done.Changed += n
	o.cfg.Logger.InfoContext(ctx, "admin: batch", "action", done.Action, "actor", a.Actor, "cursor", a.Cursor,
		"positions", positions, "changed", n)
	return err
}

func (a Action) check(name string, allowed []State) error {
	switch {
	case a.Cursor == "":
		return fmt.Errorf("%w: %s: no cursor is named", ErrInvalid, name)
	case a.Limit < 0:
		return fmt.Errorf("%w: %s: a limit of %d", ErrInvalid, name, a.Limit)
	case a.Filter.all() && !a.All:
		return fmt.Errorf("%w: %s: nothing selects messages; All says that all are meant", ErrInvalid, name)
	}
	for _, s := range a.Filter.States {
		if !slices.Contains(allowed, s) {
			return fmt.Errorf("%w: %s is for messages that are %v, not %s", ErrInvalid, name, allowed, s)
		}
	}
	return a.Filter.check()
}

// audit says who has done what.
func (o *Ops) audit(ctx context.Context, a Action, done *Outcome, err error) {
	args := []any{"action", done.Action, "actor", a.Actor, "cursor", a.Cursor, "selected", a.Filter.String(),
		"dry_run", a.DryRun, "matched", done.Matched, "changed", done.Changed}
	if err != nil {
		o.cfg.Logger.ErrorContext(ctx, "admin: "+done.Action+" failed", append(args, "error", err)...)
		return
	}
	level := slog.LevelInfo
	if a.DryRun {
		level = slog.LevelDebug
	}
	o.cfg.Logger.Log(ctx, level, "admin: "+done.Action, args...)
}

// DropCursor forgets a cursor, what it holds included: what it had not delivered, its
// relay never will, and a relay that is started with the name begins at the log's first
// message. Unless force is set it is refused while a relay has the cursor.
func (o *Ops) DropCursor(ctx context.Context, name, actor string, force bool) (err error) {
	c, end, err := o.cursor(ctx, name)
	if err != nil {
		return err
	}
	if !force {
		inUse := len(c.Members) > 0
		for _, p := range c.Parts {
			inUse = inUse || p.ExpiresAt.After(time.Now())
		}
		if inUse {
			return fmt.Errorf("%w: drop: a relay has the cursor %q", ErrInvalid, name)
		}
	}
	err = o.cfg.Log.Drop(ctx, name)
	o.cfg.Logger.InfoContext(ctx, "admin: drop", "action", "drop", "actor", actor, "cursor", name, "position", c.Position,
		"end", end, "parked", c.Parked, "retrying", c.Retrying, "waiting", c.Waiting, "force", force, "error", err)
	return err
}
