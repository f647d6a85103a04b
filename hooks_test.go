package uow_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"testing"

	"github.com/uow-go/uow"
)

// trace writes down what ran.
type trace []string

func (s *trace) hook(name string, result error) func(context.Context) error {
	return func(context.Context) error { *s = append(*s, name); return result }
}

func (s *trace) rolledBack(name string) func(context.Context, error) error {
	return func(_ context.Context, cause error) error {
		*s = append(*s, fmt.Sprintf("%s because of %v", name, cause))
		return nil
	}
}

func (s trace) want(t *testing.T, want string) {
	t.Helper()
	if got := strings.Join(s, ", "); got != want {
		t.Errorf("what ran is %q, want %q", got, want)
	}
}

func TestHooksRunInOrder(t *testing.T) {
	d := newDesk(t, uow.Config{})
	var ran trace
	d.do(func(_ context.Context, u *uow.Unit, notes *uow.Repository[note]) error {
		ran = append(ran, "closure")
		return errors.Join(
			u.AfterCommit(ran.hook("after 1", nil)),
			u.AfterRollback(ran.rolledBack("rollback")),
			u.BeforeCommit(func(context.Context) error {
				ran = append(ran, "before 1")
				return errors.Join(
					u.BeforeCommit(ran.hook("before 3, registered by before 1", nil)),
					u.AfterCommit(ran.hook("after 2", nil)),
					notes.Add(&note{ID: "by a hook"}),
				)
			}),
			u.BeforeCommit(ran.hook("before 2", nil)),
		)
	})
	ran.want(t, "closure, before 1, before 2, before 3, registered by before 1, after 1, after 2")
}

func TestVetoStopsTheHooks(t *testing.T) {
	d := newDesk(t, uow.Config{})
	var ran trace
	err := d.try(func(_ context.Context, u *uow.Unit, _ *uow.Repository[note]) error {
		return errors.Join(
			u.BeforeCommit(ran.hook("before 1", errBoom)),
			u.BeforeCommit(ran.hook("before 2", nil)),
			u.AfterCommit(ran.hook("after", nil)),
			u.AfterRollback(ran.rolledBack("rollback")),
		)
	})
	wantError(t, err, errBoom, "BeforeCommit hook: boom")
	ran.want(t, "before 1, rollback because of uow: BeforeCommit hook: boom")
}

func TestCausesOfRollbacks(t *testing.T) {
	d := newDesk(t, uow.Config{})
	for want, end := range map[string]func(u *uow.Unit) error{
		"rollback because of boom": func(*uow.Unit) error { return errBoom },
		"rollback because of <nil>": func(u *uow.Unit) error {
			return u.Rollback(t.Context())
		},
	} {
		var ran trace
		_ = d.try(func(_ context.Context, u *uow.Unit, _ *uow.Repository[note]) error {
			return errors.Join(u.AfterRollback(ran.rolledBack("rollback")), end(u))
		})
		ran.want(t, want)
	}
	for _, end := range []func(){func() { panic(errBoom) }, runtime.Goexit} {
		var ran trace
		apart(func() {
			_ = d.try(func(_ context.Context, u *uow.Unit, _ *uow.Repository[note]) error {
				if err := u.AfterRollback(ran.rolledBack("rollback")); err != nil {
					t.Error(err)
				}
				end()
				return nil
			})
		})
		ran.want(t, "rollback because of <nil>")
	}
}

// apart runs fn in a goroutine, which may panic or end.
func apart(fn func()) (panicked any) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() { panicked = recover() }()
		fn()
	}()
	<-done
	return panicked
}

func TestPanicOfBeforeCommitRollsBack(t *testing.T) {
	d := newDesk(t, uow.Config{})
	var ran trace
	value := apart(func() {
		_ = d.try(func(ctx context.Context, u *uow.Unit, notes *uow.Repository[note]) error {
			return errors.Join(notes.Add(&note{ID: "n"}), u.Flush(ctx),
				u.AfterRollback(ran.rolledBack("rollback")),
				u.BeforeCommit(func(context.Context) error { panic(errBoom) }))
		})
	})
	if value != errBoom { //nolint:errorlint // the very value
		t.Errorf("the panic's value is %v, want boom", value)
	}
	ran.want(t, "rollback because of <nil>")
	d.add("n") // it is not there
}

func TestFailedAfterHooksAreLogged(t *testing.T) {
	var out strings.Builder
	d := newDesk(t, uow.Config{Logger: slog.New(slog.NewTextHandler(&out, nil))})
	d.do(func(_ context.Context, u *uow.Unit, _ *uow.Repository[note]) error {
		return u.AfterCommit(func(context.Context) error { return errBoom })
	})
	for _, want := range []string{"uow: hook failed", "hook=AfterCommit", "error=boom"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the log should say %q; it says %q", want, out.String())
		}
	}
}

func TestAfterHooksOutliveTheContext(t *testing.T) {
	d := newDesk(t, uow.Config{OnHookError: func(_ context.Context, err *uow.HookError) { t.Errorf("hook failed: %v", err) }})
	type key struct{}
	ctx, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, "value"))
	check := func(ctx context.Context) error {
		cancel()
		if ctx.Value(key{}) != "value" {
			return errors.New("the hook's context has lost its values")
		}
		return ctx.Err()
	}
	err := d.db.Do(ctx, func(_ context.Context, u *uow.Unit) error {
		return errors.Join(u.AfterCommit(check), u.AfterCommit(check))
	})
	if err != nil {
		t.Error(err)
	}
	err = d.db.Do(ctx, func(_ context.Context, u *uow.Unit) error {
		return u.AfterRollback(func(ctx context.Context, cause error) error {
			if !errors.Is(cause, context.Canceled) {
				t.Errorf("the cause is %v, want the cancellation", cause)
			}
			return check(ctx)
		})
	})
	if err != context.Canceled { //nolint:errorlint // nothing may be joined to it
		t.Errorf("got %v, want the cancellation alone", err)
	}
}

func TestHooksFindTheUnitClosed(t *testing.T) {
	d := newDesk(t, uow.Config{})
	var got []error
	d.do(func(_ context.Context, u *uow.Unit, notes *uow.Repository[note]) error {
		return u.AfterCommit(func(ctx context.Context) error {
			got = append(got, u.Flush(ctx), notes.Add(&note{ID: "late"}), u.AfterCommit(nil), u.Rollback(ctx))
			return nil
		})
	})
	for i, err := range got[:3] {
		if !errors.Is(err, uow.ErrUnitClosed) {
			t.Errorf("use %d in an AfterCommit hook: got %v, want ErrUnitClosed", i, err)
		}
	}
	if got[3] != nil {
		t.Errorf("Rollback in an AfterCommit hook: got %v, want nil", got[3])
	}
}

func TestHookThatRollsBack(t *testing.T) {
	d := newDesk(t, uow.Config{})
	err := d.try(func(_ context.Context, u *uow.Unit, notes *uow.Repository[note]) error {
		return errors.Join(notes.Add(&note{ID: "n"}), u.BeforeCommit(func(ctx context.Context) error { return u.Rollback(ctx) }))
	})
	wantError(t, err, uow.ErrRolledBack, "")
	d.add("n")
}
