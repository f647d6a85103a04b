package uowtest_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/uowtest"
)

// mistake is an operation with a mistake, and where it must be found.
type mistake struct {
	name      string
	operation func(ctx context.Context, x *uowtest.Run) error
	// run is one of those that must find it.
	run string
	// says is what the report of that run must have, besides the line that is marked
	// with the mistake's name.
	says []string
	// not are runs that must not find anything.
	not     []string
	without []uowtest.Fault
	retry   int
}

func mistakes() []mistake {
	return []mistake{
		{
			name:      "published before the commit",
			operation: publishesInside,
			run:       "step_05_commit/before",
			says: []string{
				"it should leave nothing, and does not",
				"x  5  Commit update accounts/alice, update accounts/bob, message Withdrawn",
				"*  4  send mail",
				"<- failed",
				"the operation returned: uowtest: Commit: uowtest: failed on purpose",
				`it left:           {"Alice":100,"Bob":50,"Total":0,"Messages":0,"Mails":1,"Charges":0}`,
				"look at step 4, send mail",
				"took effect by itself, and stayed",
			},
			not: []string{"step_01_begin/before", "step_04_send_mail/before"},
		}, {
			name:      "two units instead of one",
			operation: twoUnits,
			run:       "step_05_get/before",
			says: []string{
				"it should leave nothing, and does not",
				"look at step 3, Commit update accounts/alice",
				"took effect by itself, and stayed",
			},
			not: []string{"step_02_get/before", "step_03_commit/before"},
		}, {
			name:      "nested unit whose error is swallowed",
			operation: swallowsNested,
			run:       "step_05_get/before",
			says: []string{
				"it should leave everything, and does not",
				"the operation returned nil",
				"look at step 5, Get totals/all",
				"failed, and the operation went on as if it had not",
			},
			not: []string{"step_02_get/before", "step_07_commit/before"},
		}, {
			name:      "side effect without compensation",
			operation: chargesInside,
			run:       "step_04_commit/conflict",
			says: []string{
				"it should leave nothing, and does not",
				"<- met a conflict",
				"look at step 3, charge card",
				"took effect by itself, and stayed",
			},
			not: []string{"step_01_charge_card/before", "step_02_begin/cancelled"},
		}, {
			name:      "side effect that a retry does again",
			operation: chargesInside,
			retry:     3,
			run:       "step_04_commit/retryable",
			says: []string{
				"it should leave everything, and does not",
				"the operation returned nil",
				"look at step 8, charge card",
				"was done once more than without a failure",
			},
			not: []string{"step_03_charge_card/before"},
		}, {
			name:      "commit in doubt that is done again",
			operation: doesAgain,
			run:       "step_04_commit/in_doubt",
			says: []string{
				"it should leave everything, and does not",
				"<- happened, its answer was lost, and the database could not be asked",
				`it left:           {"Alice":40,"Bob":110,`,
				`everything is:     {"Alice":70,"Bob":80,`,
				"was done once more than without a failure",
			},
			not: []string{"step_04_commit/before", "step_04_commit/after", "step_04_commit/in_doubt_lost"},
		}, {
			name:      "read model in an AfterCommit hook",
			operation: projectsAfterCommit,
			run:       "step_06_get/before",
			says: []string{
				"it should leave everything, and does not",
				"the operation returned nil",
				"look at step 6, Get totals/all",
				"failed, and the operation went on as if it had not",
			},
			not: []string{"step_04_commit/before"},
		},
	}
}

func TestMistakesAreFound(t *testing.T) {
	for _, m := range mistakes() {
		t.Run(m.name, func(t *testing.T) {
			e := bank(m.operation)
			e.Without = m.without
			e.Config.Retry.MaxAttempts = m.retry
			findings := e.Findings(t)
			i := slices.IndexFunc(findings, func(f uowtest.Finding) bool { return f.Run == m.run })
			if i < 0 {
				t.Fatalf("%s finds nothing; found was\n%s", m.run, texts(findings))
			}
			report := findings[i].Report
			t.Log(report)
			for _, says := range append(m.says, marked(t, m.name)) {
				if !strings.Contains(report, says) {
					t.Errorf("the report does not say %q", says)
				}
			}
			for _, f := range findings {
				if slices.Contains(m.not, f.Run) {
					t.Errorf("nothing is wrong in\n%s", f.Report)
				}
			}
		})
	}
}

func texts(findings []uowtest.Finding) string {
	var b strings.Builder
	for _, f := range findings {
		b.WriteString(f.Report + "\n")
	}
	return b.String()
}

// marked returns the line of this file that has the comment, as reports write it.
func marked(t *testing.T, comment string) string {
	_, file, _, _ := runtime.Caller(0)
	source, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for i, line := range strings.Split(string(source), "\n") {
		if strings.Contains(line, "// here: "+comment) {
			return fmt.Sprintf("uowtest/%s:%d", filepath.Base(file), i+1)
		}
	}
	t.Fatalf("no line is marked with %q", comment)
	return ""
}

func publishesInside(ctx context.Context, x *uowtest.Run) error {
	return x.DB.Do(ctx, func(ctx context.Context, u *uow.Unit) error {
		if err := move(ctx, u, 30); err != nil {
			return err
		}
		return x.Step("send mail", succeed) // here: published before the commit
	})
}

func succeed() error { return nil }

func twoUnits(ctx context.Context, x *uowtest.Run) error {
	change := func(id string, by int) func(ctx context.Context, u *uow.Unit) error {
		return func(ctx context.Context, u *uow.Unit) error {
			a, err := accounts.In(u).Get(ctx, id)
			if err != nil {
				return err
			}
			a.Balance += by
			return nil
		}
	}
	if err := x.DB.Do(ctx, change("alice", -30)); err != nil { // here: two units instead of one
		return err
	}
	return x.DB.Do(ctx, change("bob", 30))
}

// count adds to the read model.
func count(ctx context.Context, u *uow.Unit, amount int) error {
	total, err := totals.In(u).Get(ctx, "all") // here: nested unit whose error is swallowed
	if err != nil {
		return err
	}
	total.Amount += amount
	return nil
}

func swallowsNested(ctx context.Context, x *uowtest.Run) error {
	return x.DB.Do(ctx, func(ctx context.Context, u *uow.Unit) error {
		if err := move(ctx, u, 30); err != nil {
			return err
		}
		_ = u.Nested(ctx, func(ctx context.Context, u *uow.Unit) error { return count(ctx, u, 30) })
		return nil
	})
}

func chargesInside(ctx context.Context, x *uowtest.Run) error {
	return x.DB.Do(ctx, func(ctx context.Context, u *uow.Unit) error {
		alice, err := accounts.In(u).Get(ctx, "alice")
		if err != nil {
			return err
		}
		err = x.Step("charge card", succeed) // here: side effect without compensation // here: side effect that a retry does again
		if err != nil {
			return err
		}
		return alice.Withdraw(30)
	})
}

func doesAgain(ctx context.Context, x *uowtest.Run) error {
	err := transfer(ctx, x.DB, 30)
	if errors.Is(err, uow.ErrInDoubt) {
		err = transfer(ctx, x.DB, 30) // here: commit in doubt that is done again
	}
	return err
}

func projectsAfterCommit(ctx context.Context, x *uowtest.Run) error {
	return x.DB.Do(ctx, func(ctx context.Context, u *uow.Unit) error {
		err := u.AfterCommit(func(ctx context.Context) error {
			return x.DB.Do(ctx, func(ctx context.Context, u *uow.Unit) error {
				total, err := totals.In(u).Get(ctx, "all") // here: read model in an AfterCommit hook
				if err != nil {
					return err
				}
				total.Amount += 30
				return nil
			})
		})
		return errors.Join(err, move(ctx, u, 30))
	})
}
