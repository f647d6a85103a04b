package uowtest

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/inbox"
)

func inboxChecks() []Check {
	return []Check{
		{
			Name: "P24_once_among_many_deliveries",
			Rule: "a message that is delivered 50 times at once must take effect once, and all other deliveries be duplicates of it",
			run:  onceAmongMany,
		}, {
			Name: "P24_once_among_processes",
			Rule: "of deliveries of a message by several processes one must take effect, and the others be duplicates, no errors",
			run:  onceAmongProcesses,
		}, {
			Name: "P24_mark_and_effects_are_one",
			Rule: "when handling fails, by whatever, there must be neither mark nor effects, and the next delivery handle the message",
			run:  markAndEffects,
		}, {
			Name: "P24_crash_between",
			Rule: "when the process ends between mark and effects, or around the commit, a message must have taken effect once after its next delivery",
			run:  crashBetween,
		}, {
			Name: "P24_results_are_replayed",
			Rule: "a duplicate must get the result of the delivery that handled the message",
			run:  resultsAreReplayed,
		}, {
			Name: "P24_gaps_and_reorders",
			Rule: "gaps, late messages and duplicates of a stream must be told apart, by what was committed",
			run:  gapsAndReorders,
		}, {
			Name: "P24_forgotten_messages",
			Rule: "marks beyond the horizon, and no others, must be deleted in batches; what comes again without a mark must be refused, and what is newer be handled",
			run:  forgottenMessages,
		}, {
			Name: "P24_marks_are_listed",
			Rule: "marks must be listed newest first, page by page, and counted, and so must streams",
			run:  marksAreListed,
		}, {
			Name:  "P24_marks_are_kept",
			Rule:  "what was handled must still be so when the database is opened again",
			needs: reopenNeeded,
			run:   marksAreKept,
		},
	}
}

// claims are the ways to claim a message, with a name for each.
func claims() map[string]inbox.Claim {
	return map[string]inbox.Claim{"BeforeHandling": inbox.BeforeHandling, "AtCommit": inbox.AtCommit}
}

// handling is an inbox, whose handlers change accounts.
type handling struct {
	*inbox.Inbox
	k  *kit
	db *uow.DB
}

func (k *kit) consumer(db *uow.DB, records *inbox.Records, cfg inbox.Config) *handling {
	k.Helper()
	in, err := inbox.New(db, records, cfg)
	k.must("making an inbox", err)
	return &handling{in, k, db}
}

// process is the database as another process has it: nothing is shared but what
// is stored.
func (k *kit) process(around Around, change func(cfg *uow.Config)) (*uow.DB, *inbox.Records) {
	k.Helper()
	s := k.schema
	s.records = inbox.NewRecords()
	db := k.through(around, func(cfg *uow.Config) {
		cfg.Collections = s.all()
		if change != nil {
			change(cfg)
		}
	})
	return db, s.records
}

// pay is a handler that adds 1 to an account.
func (k *kit) pay(id string) func(ctx context.Context, u *uow.Unit) error {
	return func(ctx context.Context, u *uow.Unit) error { return k.change(ctx, u, id, 1) }
}

// handled demands that a delivery handles the message.
func (c *handling) handled(m inbox.Message, fn func(ctx context.Context, u *uow.Unit) error) inbox.Receipt {
	c.k.Helper()
	r, err := c.Handle(c.k.Context(), m, fn)
	if err != nil || r.Duplicate {
		c.k.broken("message %s should be handled; got %+v, %v", m.ID, r, err)
	}
	return r
}

// duplicate demands that a delivery is a duplicate.
func (c *handling) duplicate(m inbox.Message) {
	c.k.Helper()
	r, err := c.Handle(c.k.Context(), m, func(context.Context, *uow.Unit) error {
		c.k.broken("message %s was handled a second time", m.ID)
		return nil
	})
	if err != nil || !r.Duplicate {
		c.k.broken("message %s should be a duplicate; got %+v, %v", m.ID, r, err)
	}
}

// refused demands that a delivery is refused.
func (c *handling) refused(m inbox.Message, want error) {
	c.k.Helper()
	r, err := c.Handle(c.k.Context(), m, func(context.Context, *uow.Unit) error {
		c.k.broken("message %s was handled, and should have been refused with %v", m.ID, want)
		return nil
	})
	if !errors.Is(err, want) {
		c.k.broken("message %s should be refused with %v; got %+v, %v", m.ID, want, r, err)
	}
}

func noEffect(context.Context, *uow.Unit) error { return nil }

func onceAmongMany(k *kit) {
	for name, claim := range claims() {
		k.save(name)
		c := k.consumer(k.db, k.records, inbox.Config{Consumer: "c" + name, Claim: claim})
		m := inbox.Message{Source: "s", ID: "m"}
		var runs, first atomic.Int64
		var mu sync.Mutex
		units := map[string]bool{}
		k.together(50, func(int) error {
			r, err := c.Handle(k.Context(), m, func(ctx context.Context, u *uow.Unit) error {
				runs.Add(1)
				runtime.Gosched()
				return k.change(ctx, u, name, 1)
			})
			mu.Lock()
			defer mu.Unlock()
			units[r.Unit] = true
			if !r.Duplicate {
				first.Add(1)
			}
			return err
		})
		if runs.Load() != 1 || first.Load() != 1 || len(units) != 1 {
			k.broken("with %s, 1 of 50 deliveries should run, and all name its unit; %d ran, %d were no duplicates, and they named %d units",
				name, runs.Load(), first.Load(), len(units))
		}
		k.wantBalance(name, 101, "after 50 deliveries with "+name)
		c.handled(inbox.Message{Source: "another", ID: "m"}, k.pay(name))
		c.handled(inbox.Message{Source: "s", ID: "M"}, k.pay(name))
		k.consumer(k.db, k.records, inbox.Config{Consumer: "d" + name}).handled(m, k.pay(name))
		k.wantBalance(name, 104, "after messages of another source, id and consumer")
	}
}

func onceAmongProcesses(k *kit) {
	const messages, processes, deliveries = 6, 2, 3
	for name, claim := range claims() {
		ids := make([]string, messages)
		for i := range ids {
			ids[i] = fmt.Sprint(name, i)
		}
		k.save(ids...)
		cfg := inbox.Config{Consumer: "c" + name, Claim: claim}
		consumers := []*handling{k.consumer(k.db, k.records, cfg)}
		db, records := k.process(nil, nil)
		consumers = append(consumers, k.consumer(db, records, cfg))
		var running, handled [messages]atomic.Int64
		k.together(messages*processes*deliveries, func(i int) error {
			m := i % messages
			handle := func(ctx context.Context, u *uow.Unit) error {
				defer running[m].Add(-1)
				// A unit that the store has refused lets others go on, before its handler
				// knows.
				waits := claim == inbox.BeforeHandling && k.h.Lacks.ConcurrentFlush && !k.h.Lacks.PreciseConflicts
				if running[m].Add(1) > 1 && waits {
					k.broken("message %s is handled by two processes at once", ids[m])
				}
				for range 20 {
					runtime.Gosched()
				}
				return k.change(ctx, u, ids[m], 1)
			}
			var r inbox.Receipt
			err := k.granted(func() (err error) {
				r, err = consumers[i/messages%processes].Handle(k.Context(), inbox.Message{ID: ids[m]}, handle)
				return err
			})
			if err == nil && !r.Duplicate {
				handled[m].Add(1)
			}
			return err
		})
		for m, id := range ids {
			if n := handled[m].Load(); n != 1 {
				k.broken("with %s, one delivery of message %s should have handled it; %d did", name, id, n)
			}
			k.wantBalance(id, 101, "after deliveries by two processes with "+name)
		}
	}
}

func markAndEffects(k *kit) {
	for name, claim := range claims() {
		k.save(name)
		cfg := inbox.Config{Consumer: "c" + name, Claim: claim}
		c := k.consumer(k.db, k.records, cfg)
		fails := func(ctx context.Context, u *uow.Unit, how error) error {
			return errors.Join(k.change(ctx, u, name, 1), u.Flush(ctx), how)
		}
		balance := int64(100)
		check := func(how string) {
			k.Helper()
			k.wantBalance(name, balance, "after "+how+" with "+name)
			c.handled(inbox.Message{ID: how}, k.pay(name))
			balance++
			c.duplicate(inbox.Message{ID: how})
		}

		_, err := c.Handle(k.Context(), inbox.Message{ID: "an error"}, func(ctx context.Context, u *uow.Unit) error { return fails(ctx, u, errBoom) })
		if !errors.Is(err, errBoom) {
			k.broken("Handle should return the handler's error; got %v", err)
		}
		check("an error")
		panicked := apart(func() {
			_, _ = c.Handle(k.Context(), inbox.Message{ID: "a panic"}, func(ctx context.Context, u *uow.Unit) error {
				k.must("changing", fails(ctx, u, nil))
				panic("on purpose") //nolint:forbidigo // it is what handlers may do
			})
		})
		if panicked != "on purpose" {
			k.broken("a panic of the handler should go on with its value; got %v", panicked)
		}
		check("a panic")
		apart(func() {
			_, _ = c.Handle(k.Context(), inbox.Message{ID: "Goexit"}, func(ctx context.Context, u *uow.Unit) error {
				k.must("changing", fails(ctx, u, nil))
				runtime.Goexit()
				return nil
			})
		})
		check("Goexit")
		_, err = c.Handle(k.Context(), inbox.Message{ID: "a veto"}, func(ctx context.Context, u *uow.Unit) error {
			return errors.Join(fails(ctx, u, nil), u.BeforeCommit(func(context.Context) error { return errBoom }))
		})
		if !errors.Is(err, errBoom) {
			k.broken("Handle should return the hook's error; got %v", err)
		}
		check("a veto")
	}
}

func crashBetween(k *kit) {
	for name, claim := range claims() {
		k.save(name)
		cfg := inbox.Config{Consumer: "c" + name, Claim: claim}
		balance := int64(100)
		for _, crash := range []struct {
			when      string
			around    Around
			committed bool
		}{
			{"after the mark", Script(Failure{Method: "Flush", After: true}), false},
			{"before the commit", Script(Failure{Method: "Commit"}), false},
			{"while a commit that did not happen is in doubt", lostAnswer(false, unreachable(1000)), false},
			{"while a commit that happened is in doubt", lostAnswer(true, unreachable(1000)), true},
		} {
			db, records := k.process(crash.around, func(cfg *uow.Config) { cfg.ResolveTimeout = time.Millisecond })
			m := inbox.Message{ID: crash.when}
			_, err := k.consumer(db, records, cfg).Handle(k.Context(), m, func(ctx context.Context, u *uow.Unit) error {
				return errors.Join(k.change(ctx, u, name, 1), u.Flush(ctx))
			})
			if err == nil {
				k.broken("a delivery that ends %s should fail; got nil", crash.when)
			}
			if crash.committed {
				balance++
			}
			k.wantBalance(name, balance, "after a process ended "+crash.when+" with "+name)
			next := k.consumer(k.db, k.records, cfg)
			if !crash.committed {
				next.handled(m, k.pay(name))
				balance++
			}
			next.duplicate(m)
			k.wantBalance(name, balance, "after another delivery, of a process that ended "+crash.when+" with "+name)
		}
	}
}

// receiptText is a result that is not easy to keep.
const receiptText = "no. 1\u0000 <é>\U0001F600"

func resultsAreReplayed(k *kit) {
	type answer struct {
		Number int64
		Text   string
	}
	c := k.consumer(k.db, k.records, inbox.Config{Consumer: "c"})
	db, records := k.process(nil, nil)
	other := k.consumer(db, records, inbox.Config{Consumer: "c"})
	want := &answer{Number: 1 << 60, Text: receiptText}
	for i, at := range []*handling{c, c, other} {
		got, r, err := inbox.HandleResult(k.Context(), at.Inbox, inbox.Message{ID: "m"}, func(context.Context, *uow.Unit) (*answer, error) {
			if i > 0 {
				k.broken("a duplicate should not run")
			}
			return want, nil
		})
		if err != nil || got == nil || *got != *want || r.Duplicate != (i > 0) {
			k.broken("delivery %d should have the result %+q; got %+q, %+v, %v", i+1, want, got, r, err)
		}
	}
	c.handled(inbox.Message{ID: "none"}, noEffect)
	_, _, err := inbox.HandleResult(k.Context(), c.Inbox, inbox.Message{ID: "none"}, func(context.Context, *uow.Unit) (int, error) { return 1, nil })
	if !errors.Is(err, inbox.ErrNoResult) {
		k.broken("a duplicate that was handled without a result should be ErrNoResult; got %v", err)
	}
}
