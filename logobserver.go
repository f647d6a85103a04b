package uow

import (
	"context"
	"log/slog"
	"time"
)

// LogObserver is an Observer that logs one line for each unit: at level Debug, or
// Warn when it was slow, ended by a conflict (after all its attempts), or its
// commit was in doubt, also where the store could tell in the end what became of
// it. Its zero value is ready.
//
//	uow.Config{Observers: []uow.Observer{uow.LogObserver{Slow: time.Second}}}
type LogObserver struct {
	// Logger gets the lines. Default: slog.Default().
	Logger *slog.Logger
	// Slow is how long a unit may take, pauses between attempts included. Default:
	// 0, which means for ever.
	Slow time.Duration
}

// UnitStarted implements Observer.
func (LogObserver) UnitStarted(ctx context.Context, _ UnitStart) context.Context { return ctx }

// AttemptEnded implements Observer.
func (LogObserver) AttemptEnded(context.Context, Attempt) {}

// UnitEnded implements Observer.
func (o LogObserver) UnitEnded(ctx context.Context, r UnitReport) {
	logger := o.Logger
	if logger == nil {
		logger = slog.Default()
	}
	level, message := o.judge(r)
	if !logger.Enabled(ctx, level) {
		return
	}
	logger.LogAttrs(ctx, level, message, attributes(r)...)
}

func (o LogObserver) judge(r UnitReport) (slog.Level, string) {
	switch {
	case r.Last.Outcome == Doubtful:
		return slog.LevelWarn, "uow: unit in doubt"
	case r.Last.Doubts > 0:
		return slog.LevelWarn, "uow: unit was in doubt"
	case r.Last.Outcome == Conflicted:
		return slog.LevelWarn, "uow: unit conflicted"
	case o.Slow > 0 && r.Duration > o.Slow:
		return slog.LevelWarn, "uow: unit was slow"
	}
	return slog.LevelDebug, "uow: unit ended"
}

func attributes(r UnitReport) []slog.Attr {
	a := &r.Last
	all := make([]slog.Attr, 0, 20)
	if r.Name != "" {
		all = append(all, slog.String("name", r.Name))
	}
	if r.View {
		all = append(all, slog.Bool("view", true))
	}
	all = append(all,
		slog.String("unit", a.Unit),
		slog.String("outcome", a.Outcome.String()),
		slog.Int("attempts", r.Attempts),
		slog.Duration("duration", r.Duration),
		slog.Duration("store", a.Store),
		slog.Duration("commit", a.Commit),
		slog.Int("calls", a.Calls),
	)
	for _, count := range []struct {
		name string
		n    int
	}{
		{"inserted", a.Inserted},
		{"updated", a.Updated},
		{"deleted", a.Deleted},
		{"checked", a.Checked},
		{"messages", a.Messages},
		{"bytes", int(a.Bytes)},
		{"nested_kept", a.NestedKept},
		{"nested_undone", a.NestedUndone},
		{"doubts", a.Doubts},
		{"failed_hooks", a.FailedHooks},
	} {
		if count.n > 0 {
			all = append(all, slog.Int(count.name, count.n))
		}
	}
	if a.Err != nil {
		all = append(all, slog.Any("error", a.Err))
	}
	return all
}
