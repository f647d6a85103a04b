package uowtest_test

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/outbox"
	"github.com/uow-go/uow/relay"
	"github.com/uow-go/uow/uowtest"
)

// A read model that is written in the unit, by a projection, and a retry of
// conflicts: nothing is found, at any step of any attempt.
func TestProjectionAndRetry(t *testing.T) {
	e := bank(func(ctx context.Context, x *uowtest.Run) error { return transfer(ctx, x.DB, 30) })
	e.Config.Retry = uow.Retry{MaxAttempts: 3, Conflicts: true}
	e.Config.Projections = []uow.Projection{func(ctx context.Context, u *uow.Unit, ev uow.Event) error {
		return count(ctx, u, ev.Value.(Withdrawn).Amount)
	}}
	uowtest.Explore(t, e)
}

// A nested part that may fail, and an operation that says so.
func TestNestedUnit(t *testing.T) {
	uowtest.Explore(t, bank(func(ctx context.Context, x *uowtest.Run) error {
		return x.DB.Do(ctx, func(ctx context.Context, u *uow.Unit) error {
			err := u.Nested(ctx, func(ctx context.Context, u *uow.Unit) error {
				return errors.Join(count(ctx, u, 30), u.Flush(ctx))
			})
			return errors.Join(err, move(ctx, u, 30))
		})
	}))
}

// A unit that is ended by hand.
func TestByHand(t *testing.T) {
	uowtest.Explore(t, bank(func(ctx context.Context, x *uowtest.Run) error {
		u := x.DB.Begin()
		defer u.Close()
		if err := move(ctx, u, 30); err != nil {
			return err
		}
		return u.Commit(ctx)
	}))
}

// A compensation undoes the side effect of a unit that fails. It can't where the
// process ends, or the commit is in doubt: see TestOutbox for what can.
func chargesWithCompensation(ctx context.Context, x *uowtest.Run) error {
	return x.DB.Do(ctx, func(ctx context.Context, u *uow.Unit) error {
		alice, err := accounts.In(u).Get(ctx, "alice")
		if err != nil {
			return err
		}
		if err := x.Step("charge card", succeed); err != nil && x.Did("charge card") == 0 {
			return err
		}
		err = u.AfterRollback(func(context.Context, error) error { return x.Step("refund card", succeed) })
		return errors.Join(err, alice.Withdraw(30))
	})
}

func TestCompensation(t *testing.T) {
	e := bank(chargesWithCompensation)
	e.Failures = 1
	e.Without = []uowtest.Fault{
		uowtest.FailCrash, uowtest.FailCrashAfter, uowtest.FailInDoubtLost,
		uowtest.FailPanic, uowtest.FailGoexit, // between the charge and the hook, there is nobody to undo it
	}
	uowtest.Explore(t, e)
}

// What a compensation can't do is found where it is asked for.
func TestCompensationIsNotEnough(t *testing.T) {
	e := bank(chargesWithCompensation)
	runs := found(e.Findings(t))
	for _, want := range []string{
		"step_04_commit/crash", "step_04_commit/in_doubt_lost",
		"step_04_commit/before/step_06_refund_card/before", // a second failure
	} {
		if !slices.Contains(runs, want) {
			t.Errorf("%s finds nothing; found was %q", want, runs)
		}
	}
}

func found(findings []uowtest.Finding) (runs []string) {
	for _, f := range findings {
		runs = append(runs, f.Run)
	}
	return runs
}

// The outbox and a relay keep what a compensation can't: the message is delivered if
// and only if the unit was committed, after a crash too.
func TestOutbox(t *testing.T) {
	e := bank(func(ctx context.Context, x *uowtest.Run) error {
		if err := transfer(ctx, x.DB, 30); err != nil {
			return err
		}
		_ = x.Relay(ctx, nil) // in a program it runs by itself, and its errors are not the operation's
		return nil
	})
	e.Restart = func(ctx context.Context, x *uowtest.Run) error { return x.Relay(ctx, nil) }
	e.Invariant = func(ctx context.Context, x *uowtest.Run) error {
		if err := x.Relay(ctx, nil); err != nil { // whatever is left, now
			return err
		}
		log, err := outbox.Of(x.DB)
		if err != nil {
			return err
		}
		stored, _, err := log.Scan(ctx, outbox.Query{Limit: 10})
		if err != nil {
			return err
		}
		for _, m := range stored {
			if !slices.ContainsFunc(x.Published(), func(p outbox.Message) bool { return p.ID == m.ID }) {
				return errors.New("a message was stored and not published")
			}
		}
		for _, p := range x.Published() {
			if !slices.ContainsFunc(stored, func(m outbox.Message) bool { return p.ID == m.ID }) {
				return errors.New("a message was published and not stored")
			}
		}
		return nil
	}
	uowtest.Explore(t, e)
}

// Others change the same accounts before each step.
func TestMeanwhile(t *testing.T) {
	deposit := func(ctx context.Context, x *uowtest.Run) error {
		return x.DB.Do(ctx, func(ctx context.Context, u *uow.Unit) error {
			alice, err := accounts.In(u).Get(ctx, "alice")
			if err != nil {
				return err
			}
			alice.Balance += 1000
			return nil
		})
	}
	t.Run("one unit", func(t *testing.T) {
		e := bank(func(ctx context.Context, x *uowtest.Run) error { return transfer(ctx, x.DB, 30) })
		e.Meanwhile = deposit
		e.Config.Retry = uow.Retry{MaxAttempts: 2, Conflicts: true}
		uowtest.Explore(t, e)
	})
	t.Run("lost update", func(t *testing.T) {
		e := bank(func(ctx context.Context, x *uowtest.Run) error {
			var seen int
			read := func(ctx context.Context, u *uow.Unit) error {
				alice, err := accounts.In(u).Get(ctx, "alice")
				if err == nil {
					seen = alice.Balance
				}
				return err
			}
			write := func(ctx context.Context, u *uow.Unit) error {
				alice, err := accounts.In(u).Get(ctx, "alice")
				if err == nil {
					alice.Balance = seen - 30
				}
				return err
			}
			if err := x.DB.Do(ctx, read); err != nil {
				return err
			}
			return x.DB.Do(ctx, write)
		})
		e.Meanwhile = deposit
		e.Failures = 1
		if runs := found(e.Findings(t)); !slices.Equal(runs, []string{"step_03_commit/meanwhile", "step_04_begin/meanwhile", "step_05_get/meanwhile"}) {
			t.Errorf("an update that gets lost between two units is found in %q", runs)
		}
	})
}

func TestLeaksAreFound(t *testing.T) {
	stop := make(chan struct{})
	t.Cleanup(func() { close(stop) })
	for name, c := range map[string]struct {
		operation func(ctx context.Context, x *uowtest.Run) error
		run, says string
	}{
		"unit": {func(ctx context.Context, x *uowtest.Run) error {
			u := x.DB.Begin()
			if err := move(ctx, u, 30); err != nil {
				return err // and leaves it open
			}
			return u.Commit(ctx)
		}, "step_03_get/before", "it left units open: 1"},
		"goroutine": {func(ctx context.Context, x *uowtest.Run) error {
			err := transfer(ctx, x.DB, 30)
			if err != nil {
				go func() { <-stop }()
			}
			return err
		}, "step_03_get/before", "it left a goroutine running"},
		"connection": {func(ctx context.Context, x *uowtest.Run) error {
			err := transfer(ctx, x.DB, 30)
			inUse = 0
			if err != nil {
				inUse = 7
			}
			return err
		}, "step_04_commit/before", "it left connections in use: 7"},
		"panic": {func(ctx context.Context, x *uowtest.Run) error {
			var u *Account
			if err := transfer(ctx, x.DB, 30); err != nil {
				u.Balance++
			}
			return nil
		}, "step_04_commit/before", "the operation panicked by itself: runtime error: invalid memory address"},
		"goexit": {func(ctx context.Context, x *uowtest.Run) error {
			if err := transfer(ctx, x.DB, 30); err != nil {
				runtime.Goexit()
			}
			return nil
		}, "step_04_commit/before", "the operation ended its goroutine by itself"},
		"for ever": {func(ctx context.Context, x *uowtest.Run) error {
			for transfer(ctx, x.DB, 30) != nil {
			}
			return nil
		}, "step_01_begin/cancelled", "takes more than 1000 steps"},
	} {
		t.Run(name, func(t *testing.T) {
			e := bank(c.operation)
			e.Failures = 1
			if name == "connection" {
				e.InUse = func() int { return inUse }
			}
			findings := e.Findings(t)
			for _, f := range findings {
				if f.Run == c.run && strings.Contains(f.Problem, c.says) {
					return
				}
			}
			t.Errorf("%s does not find it; found was\n%s", c.run, texts(findings))
		})
	}
}

var inUse int

func TestFaultyPublisher(t *testing.T) {
	batch := []outbox.Message{{ID: "1"}, {ID: "2"}}
	var got [][]outbox.Message
	inner := relay.PublisherFunc(func(_ context.Context, batch []outbox.Message) []relay.Result {
		got = append(got, batch)
		return []relay.Result{{Outcome: relay.Stored}, {Outcome: relay.Duplicate}}
	})
	p := uowtest.FaultyPublisher(inner, uowtest.Faults{Around: uowtest.Script(
		uowtest.Failure{Method: "Publish", Nth: 1},
		uowtest.Failure{Method: "Publish", Nth: 2, After: true},
		uowtest.Failure{Method: "Publish", Nth: 3, Err: uowtest.ErrUnavailable},
	)})
	want := [][]relay.Outcome{
		{relay.Retry, relay.Retry},
		{relay.Unknown, relay.Unknown},
		{relay.Unavailable, relay.Unavailable},
		{relay.Stored, relay.Duplicate},
	}
	for i, outcomes := range want {
		results := p.Publish(t.Context(), batch)
		if len(results) != 2 || results[0].Outcome != outcomes[0] || results[1].Outcome != outcomes[1] {
			t.Errorf("call %d: got %v, want %v", i+1, results, outcomes)
		}
		if failed := outcomes[0] != relay.Stored; failed != errors.Is(results[0].Err, uowtest.ErrInjected) && i != 2 {
			t.Errorf("call %d: got the error %v", i+1, results[0].Err)
		}
	}
	if len(got) != 2 {
		t.Errorf("it was published %d times, want 2", len(got))
	}
}

func TestSeededIsRepeatable(t *testing.T) {
	play := func(seed uint64) (log []string) {
		around := uowtest.Seeded(seed, 0.5)
		for range 100 {
			did := false
			err := around(t.Context(), uowtest.Call{Method: "Get"}, func() error { did = true; return nil })
			log = append(log, strings.Join([]string{name(did), name(err != nil), name(errors.Is(err, uow.ErrRetryable))}, " "))
		}
		return log
	}
	if !slices.Equal(play(1), play(1)) || slices.Equal(play(1), play(2)) {
		t.Error("the same seed gives something else, or another seed the same")
	}
	kinds := map[string]int{}
	for _, line := range play(1) {
		kinds[line]++
	}
	if len(kinds) != 5 {
		t.Errorf("got %v, want calls that go well, fail before, fail after, each also retryable", kinds)
	}
}

func name(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
