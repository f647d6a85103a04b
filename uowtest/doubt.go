package uowtest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/driver"
)

func doubtChecks() []Check {
	return []Check{
		{
			Name: "P15_lost_answer_of_a_commit",
			Rule: "when the answer to a commit was lost and the database can say that it happened, the unit must have gone well, its AfterCommit hooks run once, and nothing run again",
			run:  lostAnswerOfCommit,
		}, {
			Name: "P15_lost_answer_of_no_commit",
			Rule: "when the answer to a commit was lost and the database can say that it did not happen, the unit must fail with ErrRetryable, its AfterRollback hooks run, and a retry go well",
			run:  lostAnswerOfNoCommit,
		}, {
			Name: "P15_in_doubt",
			Rule: "when nobody can say what became of a commit, it must fail with an *InDoubtError that names the unit, no hook and no retry run, and DB.Resolve answer later",
			run:  inDoubt,
		}, {
			Name: "P15_resolve_tells_the_truth",
			Rule: "Resolve must know which units were committed, and one that it said was not must never be",
			run:  resolveTellsTruth,
		}, {
			Name: "P17_failed_commit_is_no_success",
			Rule: "a commit that was answered by an error must fail, with AfterRollback hooks and without AfterCommit hooks, and is not in doubt",
			run:  failedCommit,
		},
	}
}

// lostAnswer commits or rolls back, and says neither. resolve, when set, fails
// questions about it as long as it returns errors.
func lostAnswer(commit bool, resolve func(ctx context.Context) error) Around {
	return func(ctx context.Context, c Call, do func() error) error {
		switch c.Method {
		case "Commit":
			if commit {
				if err := do(); err != nil {
					return err
				}
			}
			return fmt.Errorf("%w: %w", errLost, driver.ErrInDoubt)
		case "Resolve":
			if resolve == nil {
				break
			}
			if err := resolve(ctx); err != nil {
				return err
			}
		}
		return do()
	}
}

// outcome is what was seen of a unit whose commit had no answer.
type outcome struct {
	k                           *kit
	db                          *uow.DB
	runs, committed, rolledBack int
	last                        *uow.Unit
	err                         error
}

// lose runs a unit that changes a by 1 and whose commit has no answer the first
// time. Questions about it fail as long as resolve returns errors.
func (k *kit) lose(commits bool, wait time.Duration, resolve func(ctx context.Context) error) *outcome {
	k.Helper()
	o := &outcome{k: k}
	answer := lostAnswer(commits, resolve)
	o.db = k.through(func(ctx context.Context, c Call, do func() error) error {
		if c.Method == "Commit" && o.runs > 1 {
			return do()
		}
		return answer(ctx, c, do)
	}, func(cfg *uow.Config) {
		attempts(2, true)(cfg)
		cfg.ResolveTimeout = wait
	})
	o.err = k.doWith(k.Context(), o.db, func(ctx context.Context, u *uow.Unit) error {
		o.runs++
		o.last = u
		return errors.Join(
			u.AfterCommit(func(context.Context) error { o.committed++; return nil }),
			u.AfterRollback(func(context.Context, error) error { o.rolledBack++; return nil }),
			k.change(ctx, u, "a", 1),
			u.Flush(ctx),
			k.change(ctx, u, "a", 1),
		)
	})
	return o
}

// want demands how often the closure and the hooks ran, and the balance.
func (o *outcome) want(when string, runs, committed, rolledBack int, balance int64) {
	o.k.Helper()
	if o.runs != runs || o.committed != committed || o.rolledBack != rolledBack {
		o.k.broken("%s, the closure should run %d times, AfterCommit %d and AfterRollback %d; they ran %d, %d and %d times",
			when, runs, committed, rolledBack, o.runs, o.committed, o.rolledBack)
	}
	o.k.wantBalance("a", balance, when)
}

// unreachable fails a number of times.
func unreachable(n int) func(context.Context) error {
	return func(context.Context) error {
		if n--; n >= 0 {
			return errLost
		}
		return nil
	}
}

func lostAnswerOfCommit(k *kit) {
	k.save("a")
	for i, failures := range []int{0, 2} {
		o := k.lose(true, time.Minute, unreachable(failures))
		if o.err != nil {
			k.broken("after %d questions without an answer, the commit should have gone well; got %v", failures, o.err)
		}
		o.want("after a commit that the database knows of", 1, 1, 0, 102+2*int64(i))
	}
}

func lostAnswerOfNoCommit(k *kit) {
	k.save("a")
	o := k.lose(false, time.Minute, unreachable(1))
	if o.err != nil {
		k.broken("the second attempt should go well; got %v", o.err)
	}
	o.want("after a commit that did not happen, and one that did", 2, 1, 1, 102)

	u := k.through(lostAnswer(false, nil), nil).Begin()
	ran := 0
	k.must("changing a", errors.Join(
		k.change(k.Context(), u, "a", 1),
		u.AfterRollback(func(context.Context, error) error { ran++; return nil }),
	))
	err := u.Commit(k.Context())
	if !errors.Is(err, uow.ErrRetryable) || errors.Is(err, uow.ErrInDoubt) || ran != 1 {
		k.broken("a commit of which the database says that it did not happen should fail with ErrRetryable, not ErrInDoubt, and the AfterRollback hook run once; got %v, and it ran %d times", err, ran)
	}
	k.wantBalance("a", 102, "after a commit that did not happen")
}

func inDoubt(k *kit) {
	k.save("a")
	for _, committed := range []bool{true, false} {
		before := k.look("a").balance
		silent := true
		o := k.lose(committed, time.Millisecond, func(ctx context.Context) error {
			if silent {
				<-ctx.Done() // as a connection that is never accepted
			}
			return ctx.Err()
		})
		var doubt *uow.InDoubtError
		if !errors.As(o.err, &doubt) || !errors.Is(o.err, uow.ErrInDoubt) || !errors.Is(o.err, errLost) || doubt.Unit != o.last.ID() {
			k.broken("the commit should fail with an *InDoubtError of unit %s, and the reason; got %v", o.last.ID(), o.err)
		}
		after := before
		if committed {
			after += 2
		}
		o.want("while the commit is in doubt", 1, 0, 0, after)
		if err := errors.Join(o.last.Close(), o.last.Rollback(k.Context())); err != nil || !errors.Is(o.last.Flush(k.Context()), uow.ErrUnitClosed) {
			k.broken("a unit that is in doubt should be closed, and Close do nothing; got %v", err)
		}
		silent = false
		if got, err := o.db.Resolve(k.Context(), o.last.ID()); got != committed || err != nil {
			k.broken("Resolve should say later whether it was committed, %v; got %v, %v", committed, got, err)
		}
		o.want("after Resolve", 1, 0, 0, after)
	}
}

func resolveTellsTruth(k *kit) {
	if _, ok := k.db.Store().(driver.Resolver); !ok {
		k.Logf("%s is not checked: the store is no driver.Resolver, and its commits are never in doubt", k.check)
		return
	}
	k.save("a")
	resolve := func(what, unit string, want bool) {
		k.Helper()
		for range 2 {
			if got, err := k.db.Resolve(k.Context(), unit); got != want || err != nil {
				k.broken("Resolve of %s should say %v; got %v, %v", what, want, got, err)
			}
		}
	}
	run := func(result error, flush bool) string {
		var id string
		err := k.do(k.Context(), func(ctx context.Context, u *uow.Unit) error {
			id = u.ID()
			err := k.change(ctx, u, "a", 1)
			if flush {
				err = errors.Join(err, u.Flush(ctx))
			}
			return errors.Join(err, result)
		})
		if !errors.Is(err, result) {
			k.broken("the unit should end with %v; got %v", result, err)
		}
		return id
	}
	resolve("a unit that was committed", run(nil, false), true)
	resolve("a unit that flushed and was committed", run(nil, true), true)
	resolve("a unit that was rolled back", run(errBoom, false), false)
	resolve("a unit that flushed and was rolled back", run(errBoom, true), false)
	resolve("a unit of nobody", "0198c0de-0000-7000-8000-000000000000", false)

	u := k.db.Begin()
	defer u.Close()
	k.must("changing a", k.change(k.Context(), u, "a", 1))
	resolve("a unit that is open", u.ID(), false)
	if err := u.Commit(k.Context()); err == nil {
		k.broken("a unit of which Resolve said that it was not committed should not commit any more; it did")
	}
	resolve("a unit that could not commit any more", u.ID(), false)
	k.wantBalance("a", 102, "after two units that were committed")
}

func failedCommit(k *kit) {
	k.save("a")
	committed, rolledBack := 0, 0
	db := k.through(times(9, "Commit", errLost), attempts(3, true))
	err := k.doWith(k.Context(), db, func(ctx context.Context, u *uow.Unit) error {
		return errors.Join(
			u.AfterCommit(func(context.Context) error { committed++; return nil }),
			u.AfterRollback(func(context.Context, error) error { rolledBack++; return nil }),
			k.change(ctx, u, "a", 1),
			u.Flush(ctx),
		)
	})
	if !errors.Is(err, errLost) || errors.Is(err, uow.ErrInDoubt) || errors.Is(err, uow.ErrRetryable) {
		k.broken("the commit should fail with the store's error alone; got %v", err)
	}
	if committed != 0 || rolledBack != 1 {
		k.broken("the AfterRollback hook should run once and AfterCommit never; they ran %d and %d times", rolledBack, committed)
	}
	k.wantBalance("a", 100, "after a commit that failed")
}
