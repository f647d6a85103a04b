package uowotel

import (
	"context"
	"errors"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.40.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/uow-go/uow"
)

// unitKey is where the context has the unit that a Telemetry reports.
type unitKey struct{ of *Telemetry }

// unit is what a Telemetry keeps of a unit between its start and its end.
type unit struct {
	span trace.Span
	// attributes are those that are known at the start.
	attributes []attribute.KeyValue
}

// UnitStarted implements uow.Observer.
func (t *Telemetry) UnitStarted(ctx context.Context, s uow.UnitStart) context.Context {
	u := &unit{attributes: t.attributes()}
	if s.Name != "" {
		u.attributes = append(u.attributes, attribute.String("uow.unit.name", s.Name))
	}
	if s.View {
		u.attributes = append(u.attributes, attribute.Bool("uow.view", true))
	}
	t.units.active.Add(ctx, 1, metric.WithAttributes(u.attributes...))
	ctx, u.span = t.tracer.Start(ctx, strings.TrimSpace("uow "+s.Name),
		trace.WithTimestamp(s.At), trace.WithAttributes(u.attributes...))
	return context.WithValue(ctx, unitKey{t}, u)
}

// AttemptEnded implements uow.Observer.
func (t *Telemetry) AttemptEnded(ctx context.Context, a uow.Attempt) {
	u, ok := ctx.Value(unitKey{t}).(*unit)
	if !ok {
		return
	}
	t.countAttempt(ctx, u, a)
	if !u.span.IsRecording() {
		return
	}
	details := []attribute.KeyValue{
		attribute.String("uow.unit.id", a.Unit),
		attribute.Int("uow.attempt.number", a.Number),
		outcome(a.Outcome),
		attribute.Float64("uow.attempt.duration", a.Duration.Seconds()),
		attribute.Float64("uow.store.duration", a.Store.Seconds()),
		attribute.Float64("uow.commit.duration", a.Commit.Seconds()),
		attribute.Int("uow.store.calls", a.Calls),
	}
	if a.Doubts > 0 {
		details = append(details, attribute.Int("uow.commit.doubts", a.Doubts))
	}
	if a.Err != nil {
		details = append(details, errorType(a.Outcome, a.Err))
	}
	if conflict, ok := errors.AsType[*uow.ConflictError](a.Err); ok {
		details = append(details, semconv.DBCollectionName(conflict.Collection),
			attribute.String("uow.aggregate.id", conflict.ID),
			attribute.Int64("uow.version.expected", conflict.Expected),
			attribute.Int64("uow.version.found", conflict.Found))
	}
	u.span.AddEvent("uow.attempt", trace.WithAttributes(details...))
}

func (t *Telemetry) countAttempt(ctx context.Context, u *unit, a uow.Attempt) {
	plain := metric.WithAttributes(u.attributes...)
	if a.Commit > 0 {
		t.units.commit.Record(ctx, a.Commit.Seconds(), plain)
	}
	if a.Calls > 0 {
		t.units.store.Record(ctx, a.Store.Seconds(), plain)
	}
	if a.Outcome == uow.Conflicted {
		with := u.attributes
		if conflict, ok := errors.AsType[*uow.ConflictError](a.Err); ok {
			with = append(with[:len(with):len(with)], semconv.DBCollectionName(conflict.Collection))
		}
		t.units.conflicts.Add(ctx, 1, metric.WithAttributes(with...))
	}
	if a.Doubts > 0 {
		t.units.doubts.Add(ctx, 1, plain, metric.WithAttributes(outcome(a.Outcome)))
	}
	if a.FailedHooks > 0 {
		t.units.hooks.Add(ctx, int64(a.FailedHooks), plain)
	}
	add(ctx, t.units.nested, a.NestedKept, plain, attribute.String("uow.nested.fate", "kept"))
	add(ctx, t.units.nested, a.NestedUndone, plain, attribute.String("uow.nested.fate", "undone"))
	if a.Outcome != uow.Committed {
		return
	}
	operation := attribute.Key("uow.row.operation")
	add(ctx, t.units.rows, a.Inserted, plain, operation.String("insert"))
	add(ctx, t.units.rows, a.Updated, plain, operation.String("update"))
	add(ctx, t.units.rows, a.Deleted, plain, operation.String("delete"))
	add(ctx, t.units.rows, a.Checked, plain, operation.String("check"))
	add(ctx, t.units.messages, a.Messages, plain)
	add(ctx, t.units.size, int(a.Bytes), plain)
}

func add(ctx context.Context, c metric.Int64Counter, n int, plain metric.AddOption, more ...attribute.KeyValue) {
	if n > 0 {
		c.Add(ctx, int64(n), plain, metric.WithAttributes(more...))
	}
}

// UnitEnded implements uow.Observer.
func (t *Telemetry) UnitEnded(ctx context.Context, r uow.UnitReport) {
	u, ok := ctx.Value(unitKey{t}).(*unit)
	if !ok {
		return
	}
	defer u.span.End()
	plain, ended := metric.WithAttributes(u.attributes...), metric.WithAttributes(outcome(r.Last.Outcome))
	t.units.active.Add(ctx, -1, plain)
	t.units.attempts.Record(ctx, int64(r.Attempts), plain, ended)
	if r.Last.Err == nil {
		t.units.duration.Record(ctx, r.Duration.Seconds(), plain, ended)
	} else {
		t.units.duration.Record(ctx, r.Duration.Seconds(), plain, ended,
			metric.WithAttributes(errorType(r.Last.Outcome, r.Last.Err)))
	}
	if u.span.IsRecording() {
		describe(u.span, r)
	}
}

// describe gives a span what is known at its end.
func describe(span trace.Span, r uow.UnitReport) {
	a := r.Last
	span.SetAttributes(
		attribute.String("uow.unit.id", a.Unit),
		outcome(a.Outcome),
		attribute.Int("uow.unit.attempts", r.Attempts),
		attribute.Int("uow.rows.inserted", a.Inserted),
		attribute.Int("uow.rows.updated", a.Updated),
		attribute.Int("uow.rows.deleted", a.Deleted),
		attribute.Int("uow.rows.checked", a.Checked),
		attribute.Int("uow.unit.messages", a.Messages),
		attribute.Int64("uow.unit.size", a.Bytes),
		attribute.Int("uow.nested.kept", a.NestedKept),
		attribute.Int("uow.nested.undone", a.NestedUndone),
		attribute.Int("uow.hook.failures", a.FailedHooks),
	)
	if a.Err != nil {
		span.SetAttributes(errorType(a.Outcome, a.Err))
		span.SetStatus(codes.Error, a.Err.Error())
	}
}

func outcome(o uow.Outcome) attribute.KeyValue { return attribute.String("uow.outcome", o.String()) }

// errorType classifies an error into few kinds.
func errorType(o uow.Outcome, err error) attribute.KeyValue {
	veto, vetoed := errors.AsType[*uow.HookError](err)
	switch {
	case o == uow.Conflicted || o == uow.Duplicated || o == uow.Doubtful:
		return semconv.ErrorTypeKey.String(o.String())
	case errors.Is(err, uow.ErrRetryable):
		return semconv.ErrorTypeKey.String("retryable")
	case vetoed && veto.Hook == "BeforeCommit":
		return semconv.ErrorTypeKey.String("veto")
	case errors.Is(err, context.DeadlineExceeded):
		return semconv.ErrorTypeKey.String("timeout")
	case errors.Is(err, context.Canceled):
		return semconv.ErrorTypeKey.String("canceled")
	}
	return semconv.ErrorTypeOther
}

// MessageHeaders implements uow.MessageHeaders: where Config.Propagator is set, it
// returns the headers that carry the context of the unit's span.
func (t *Telemetry) MessageHeaders(ctx context.Context) map[string]string {
	if t.propagator == nil {
		return nil
	}
	headers := propagation.MapCarrier{}
	t.propagator.Inject(ctx, headers)
	return headers
}
