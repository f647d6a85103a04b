package uowotel_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/driver"
	"github.com/uow-go/uow/memory"
	"github.com/uow-go/uow/outbox"
	"github.com/uow-go/uow/uowotel"
)

func TestSpanOfUnit(t *testing.T) {
	eachStore(t, uow.Config{}, func(b *bench) {
		ctx, outer := b.tracer.Start(b.Context(), "request")
		err := b.try(ctx, func(ctx context.Context, u *uow.Unit, accounts *uow.Repository[account]) error {
			_, inner := b.tracer.Start(ctx, "inside")
			inner.End()
			a := &account{ID: "alice"}
			a.deposit(1)
			return accounts.Add(a)
		})
		outer.End()
		if err != nil {
			b.Fatal(err)
		}
		unit, inside := b.span("uow"), b.span("inside")
		if unit.Parent.SpanID() != outer.SpanContext().SpanID() || inside.Parent.SpanID() != unit.SpanContext.SpanID() {
			b.Error("the unit's span is not the child of the caller's, or not the parent of the closure's")
		}
		if unit.SpanContext.TraceID() != outer.SpanContext().TraceID() || unit.SpanKind != trace.SpanKindInternal || unit.Status.Code != codes.Unset {
			b.Errorf("the span is of another trace, kind or status: %+v", unit)
		}
		for key, want := range map[string]string{
			"uow.outcome": "committed", "uow.unit.attempts": "1", "uow.rows.inserted": "1", "uow.rows.updated": "0",
			"uow.unit.messages": "1", "uow.hook.failures": "0", "error.type": "",
		} {
			if got := attributeOf(unit.Attributes, key); got != want {
				b.Errorf("the span has %s=%q, want %q", key, got, want)
			}
		}
		if attributeOf(unit.Attributes, "db.system.name") == "" || attributeOf(unit.Attributes, "uow.unit.id") == "" {
			b.Errorf("the span lacks the system or the unit's id: %v", unit.Attributes)
		}
		if len(unit.Events) != 1 || unit.Events[0].Name != "uow.attempt" || attributeOf(unit.Events[0].Attributes, "uow.outcome") != "committed" {
			b.Errorf("the span should have one attempt as event, has %+v", unit.Events)
		}
	})
}

func TestSpanOfConflicts(t *testing.T) {
	eachStore(t, uow.Config{Retry: uow.Retry{MaxAttempts: 3, Conflicts: true, MinBackoff: time.Microsecond, MaxBackoff: time.Microsecond}}, func(b *bench) {
		b.do(func(_ context.Context, _ *uow.Unit, accounts *uow.Repository[account]) error {
			return accounts.Add(&account{ID: "alice"})
		})
		attempts := 0
		b.do(func(ctx context.Context, _ *uow.Unit, accounts *uow.Repository[account]) error {
			alice, err := accounts.Get(ctx, "alice")
			if err != nil {
				return err
			}
			if attempts++; attempts < 3 {
				b.raise(ctx)
			}
			alice.deposit(5)
			return nil
		})
		b.wantValues("uow.conflicts", map[string]float64{"db.collection.name=accounts": 2})
		b.wantValues("uow.unit.attempts", map[string]float64{"uow.outcome=committed": 4, "sum uow.outcome=committed": 6})
		var conflicted int
		for _, s := range b.ended("uow") {
			for _, e := range s.Events {
				if attributeOf(e.Attributes, "uow.outcome") != "conflict" {
					continue
				}
				conflicted++
				if attributeOf(e.Attributes, "db.collection.name") != "accounts" || attributeOf(e.Attributes, "uow.aggregate.id") != "alice" ||
					attributeOf(e.Attributes, "error.type") != "conflict" {
					b.Errorf("the conflict is reported as %v", e.Attributes)
				}
			}
		}
		if conflicted != 2 {
			b.Errorf("%d events tell of conflicts, want 2", conflicted)
		}
	})
}

// raise changes alice in a unit of its own.
func (b *bench) raise(ctx context.Context) {
	b.Helper()
	if err := b.try(ctx, func(ctx context.Context, _ *uow.Unit, accounts *uow.Repository[account]) error {
		alice, err := accounts.Get(ctx, "alice")
		if err == nil {
			alice.Balance++
		}
		return err
	}); err != nil {
		b.Fatal(err)
	}
}

func TestMetricsOfUnits(t *testing.T) {
	eachStore(t, uow.Config{OnHookError: func(context.Context, *uow.HookError) {}}, func(b *bench) {
		b.do(func(ctx context.Context, u *uow.Unit, accounts *uow.Repository[account]) error {
			b.wantValues("uow.units.active", map[string]float64{"": 1})
			for _, ends := range []error{nil, errBoom} {
				if err := u.Nested(ctx, func(context.Context, *uow.Unit) error { return ends }); !errors.Is(err, ends) {
					return err
				}
			}
			return errors.Join(accounts.Add(&account{ID: "alice"}), accounts.Add(&account{ID: "bob"}), accounts.Add(&account{ID: "carol"}),
				u.AfterCommit(func(context.Context) error { return errBoom }))
		})
		b.do(func(ctx context.Context, u *uow.Unit, accounts *uow.Repository[account]) error {
			alice, err := accounts.Get(ctx, "alice")
			if err != nil {
				return err
			}
			bob, err := accounts.Get(ctx, "bob")
			if err != nil {
				return err
			}
			carol, err := accounts.Get(ctx, "carol")
			if err != nil {
				return err
			}
			alice.deposit(3)
			return errors.Join(accounts.Require(carol, 1), accounts.Remove(bob), u.Append(uow.Message{Type: "t", Payload: []byte("{}")}))
		})
		for _, ends := range []error{errBoom, context.Canceled, context.DeadlineExceeded, driver.ErrRetryable, &uow.HookError{Hook: "BeforeCommit", Err: errBoom}} {
			if err := b.try(b.Context(), func(context.Context, *uow.Unit, *uow.Repository[account]) error { return ends }); !errors.Is(err, ends) {
				b.Fatal(err)
			}
		}
		if err := b.db.Begin().Close(); err != nil {
			b.Fatal(err)
		}
		b.wantValues("uow.units.active", map[string]float64{"": 0})
		b.wantValues("uow.unit.duration", map[string]float64{
			"uow.outcome=committed": 2, "uow.outcome=rolled_back": 1,
			"error.type=_OTHER uow.outcome=rolled_back":    1,
			"error.type=canceled uow.outcome=rolled_back":  1,
			"error.type=timeout uow.outcome=rolled_back":   1,
			"error.type=retryable uow.outcome=rolled_back": 1,
			"error.type=veto uow.outcome=rolled_back":      1,
		})
		b.wantValues("uow.unit.rows", map[string]float64{
			"uow.row.operation=insert": 3, "uow.row.operation=update": 1, "uow.row.operation=delete": 1, "uow.row.operation=check": 1})
		b.wantValues("uow.unit.messages", map[string]float64{"": 2})
		b.wantValues("uow.unit.nested", map[string]float64{"uow.nested.fate=kept": 1, "uow.nested.fate=undone": 1})
		b.wantValues("uow.hook.failures", map[string]float64{"": 1})
		b.wantValues("uow.commit.duration", map[string]float64{"": 2})
		if size := b.values("uow.unit.size")[""]; size < 20 {
			b.Errorf("the size of the bodies and payloads is told as %v", size)
		}
		for _, s := range b.ended("uow") {
			failed := attributeOf(s.Attributes, "error.type") != ""
			if failed != (s.Status.Code == codes.Error) {
				b.Errorf("a span with the attributes %v has the status %v", s.Attributes, s.Status)
			}
		}
	})
}

// lost is a store whose commits happen and whose answers are lost.
type lost struct {
	driver.Store
	answers error // of Resolve
}

func (s *lost) Begin(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	tx, err := s.Store.Begin(ctx, opts)
	return &lostTx{tx}, err
}

func (s *lost) Resolve(context.Context, string) (bool, error) { return s.answers == nil, s.answers }

type lostTx struct{ driver.Tx }

func (t *lostTx) Commit(ctx context.Context, cs *driver.ChangeSet) error {
	return errors.Join(t.Tx.Commit(ctx, cs), fmt.Errorf("connection reset: %w", driver.ErrInDoubt))
}

func TestMetricsOfDoubt(t *testing.T) {
	for want, answers := range map[string]error{"committed": nil, "in_doubt": errBoom} {
		b := newBench(t, "memory", uow.Config{ResolveTimeout: time.Millisecond}, func(cfg uow.Config) (*uow.DB, error) {
			beneath, err := memory.Open(t.Context(), uow.Config{})
			if err != nil {
				return nil, err
			}
			return uow.Open(t.Context(), &lost{beneath.Store(), answers}, cfg)
		})
		err := b.try(t.Context(), func(_ context.Context, _ *uow.Unit, accounts *uow.Repository[account]) error {
			return accounts.Add(&account{ID: "alice"})
		})
		if (err != nil) != (answers != nil) {
			t.Fatal(err)
		}
		b.wantValues("uow.in_doubt", map[string]float64{"uow.outcome=" + want: 1})
		if got := attributeOf(b.span("uow").Events[0].Attributes, "uow.commit.doubts"); got == "" {
			t.Error("the attempt's event does not tell of the doubt")
		}
	}
}

func TestNamesAndViews(t *testing.T) {
	eachStore(t, uow.Config{}, func(b *bench) {
		named := b.db.With(uow.UnitOptions{Name: "pay"})
		err := errors.Join(
			named.Do(b.Context(), func(context.Context, *uow.Unit) error { return nil }),
			named.View(b.Context(), func(context.Context, *uow.View) error { return nil }))
		if err != nil {
			b.Fatal(err)
		}
		if n := len(b.ended("uow pay")); n != 2 {
			b.Errorf("%d spans are called by their units' name, want 2", n)
		}
		b.wantValues("uow.unit.duration", map[string]float64{
			"uow.outcome=committed uow.unit.name=pay":               1,
			"uow.outcome=committed uow.unit.name=pay uow.view=true": 1,
		})
	})
}

func TestMessagesCarryTheTrace(t *testing.T) {
	eachStore(t, uow.Config{}, func(b *bench) {
		b.do(func(_ context.Context, u *uow.Unit, accounts *uow.Repository[account]) error {
			a := &account{ID: "alice"}
			a.deposit(1)
			return errors.Join(accounts.Add(a), u.Append(uow.Message{Type: "t"}))
		})
		messages, _, err := b.log().Scan(b.Context(), outbox.Query{Limit: 10})
		if err != nil || len(messages) != 2 {
			b.Fatalf("%d messages, %v", len(messages), err)
		}
		for _, m := range messages {
			ctx := propagation.TraceContext{}.Extract(b.Context(), propagation.MapCarrier(m.Headers))
			_, consumer := b.tracer.Start(ctx, "consume "+m.ID)
			consumer.End()
			unit, consume := b.span("uow"), b.span("consume "+m.ID)
			if consume.Parent.SpanID() != unit.SpanContext.SpanID() || consume.SpanContext.TraceID() != unit.SpanContext.TraceID() {
				b.Errorf("a consumer of a message with the headers %v does not go on with the unit's trace", m.Headers)
			}
		}
	})
}

func TestWithoutPropagatorMessagesAreLeftAlone(t *testing.T) {
	telemetry, err := uowotel.New(uowotel.Config{})
	if err != nil {
		t.Fatal(err)
	}
	if headers := telemetry.MessageHeaders(t.Context()); headers != nil {
		t.Errorf("messages would get the headers %v", headers)
	}
}

func TestTwoTelemetriesOfOneUnit(t *testing.T) {
	first := newBench(t, "memory", uow.Config{}, func(cfg uow.Config) (*uow.DB, error) { return memory.Open(t.Context(), cfg) })
	second := newBench(t, "memory", uow.Config{}, func(cfg uow.Config) (*uow.DB, error) {
		cfg.Observers = append([]uow.Observer{first.Telemetry}, cfg.Observers...)
		return memory.Open(t.Context(), cfg)
	})
	second.do(func(context.Context, *uow.Unit, *uow.Repository[account]) error { return nil })
	outer, inner := first.span("uow"), second.span("uow")
	if inner.Parent.SpanID() != outer.SpanContext.SpanID() || len(outer.Events) != 1 || len(inner.Events) != 1 {
		t.Errorf("each should have ended its own span: %+v, %+v", outer, inner)
	}
}
