package application

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/uow-go/uow"

	"github.com/uow-go/uow/monitor/internal/domain"
)

// LeasedAlert is an alert as an Alertmanager gets it.
type LeasedAlert struct {
	Labels      map[string]string
	Annotations map[string]string
	StartsAt    time.Time
	EndsAt      time.Time
}

// AlertmanagerClient sends alerts to one Alertmanager.
type AlertmanagerClient interface {
	// Post makes one request. An answer of OutcomeRefused means that at least one
	// of the alerts is bad and others may have been taken.
	Post(ctx context.Context, alerts []LeasedAlert) Answer
}

// Leases keeps one Alertmanager informed. To an Alertmanager a firing alert is a
// lease, which ends unless it is repeated, and the end of an alert is repeated for
// a while. So there are no messages in the outbox for it: what it is told is
// derived, again and again, from the committed state. Each request that tells
// something new is in the ledger under its alert, and every other one as a line
// of its own.
type Leases struct {
	DB          *uow.DB
	State       *State
	Destination string
	Client      AlertmanagerClient
	// ResendDelay is how often an unchanged alert is repeated. Default: 1 minute.
	ResendDelay time.Duration
	// Interval returns the interval of a group. A lease lasts four times the
	// greater of it and ResendDelay, as Prometheus' do.
	Interval func(group string) time.Duration
	Clock    Clock
	Logger   *slog.Logger
	// Changed, when set, is called after each change of the ledger.
	Changed func()

	wake chan struct{}
	sent map[string]sentLease // by alert; in memory, since repeating is harmless
}

type sentLease struct {
	at      time.Time
	episode int64
	changes int64
}

// maxLeasesPerPost is the greatest number of alerts in one request, as in
// Prometheus.
const maxLeasesPerPost = 256

// NewLeases completes the fields: without a Clock it is time.Now, without a
// Logger slog.Default(), and without an Interval every group's counts as 0.
func NewLeases(l Leases) *Leases {
	if l.ResendDelay <= 0 {
		l.ResendDelay = time.Minute
	}
	if l.Clock == nil {
		l.Clock = time.Now
	}
	if l.Logger == nil {
		l.Logger = slog.Default()
	}
	if l.Interval == nil {
		l.Interval = func(string) time.Duration { return 0 }
	}
	l.wake = make(chan struct{}, 1)
	l.sent = map[string]sentLease{}
	return &l
}

// Wake makes Run look at once.
func (l *Leases) Wake() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// Run keeps the Alertmanager informed until ctx ends.
func (l *Leases) Run(ctx context.Context) {
	const minWait, maxWait = time.Second, 30 * time.Second
	wait := minWait
	for {
		err := l.Refresh(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			l.Logger.Warn("alertmanager could not be informed", "destination", l.Destination, "error", err)
			wait = min(2*wait, maxWait)
		default:
			wait = min(max(l.ResendDelay/4, 100*time.Millisecond), 5*time.Second)
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-timer.C:
		case <-l.wake:
		}
		timer.Stop()
	}
}

// Refresh sends what is due: alerts that changed since they were sent, and
// unchanged ones whose time has come.
func (l *Leases) Refresh(ctx context.Context) error {
	alerts, err := l.informed(ctx)
	if err != nil {
		return err
	}
	now := l.Clock()
	l.forget(alerts)
	var changed, repeated []domain.Alert
	for _, a := range alerts {
		last, told := l.sent[a.ID]
		switch {
		case !told || last.episode != a.Episode || last.changes != a.Changes:
			changed = append(changed, a)
		case !now.Before(last.at.Add(l.ResendDelay)):
			repeated = append(repeated, a)
		}
	}
	for _, batch := range [][]domain.Alert{changed, repeated} {
		for part := range slices.Chunk(batch, maxLeasesPerPost) {
			if err := l.post(ctx, part); err != nil {
				return err
			}
		}
	}
	return nil
}

// informed returns the alerts that the Alertmanager must know of: firing ones,
// and those that were firing and ended less than the retention ago.
func (l *Leases) informed(ctx context.Context) (out []domain.Alert, err error) {
	now := l.Clock()
	err = l.DB.Do(ctx, func(ctx context.Context, u *uow.Unit) error {
		out = nil
		found, err := l.State.Alerts.In(u).Find(ctx, uow.Query{
			Where: []uow.Condition{uow.In("state", domain.Firing, domain.Inactive)},
		})
		for _, a := range found {
			if a.State == domain.Firing || (!a.FiredAt.IsZero() && now.Sub(a.ResolvedAt) < domain.ResolvedRetention) {
				out = append(out, *a)
			}
		}
		return err
	})
	return out, err
}

func (l *Leases) forget(alerts []domain.Alert) {
	kept := make(map[string]bool, len(alerts))
	for _, a := range alerts {
		kept[a.ID] = true
	}
	for id := range l.sent {
		if !kept[id] {
			delete(l.sent, id)
		}
	}
}

// post sends a batch. When it is refused, its halves are sent alone, until the
// bad alerts stand alone and the others have got through.
func (l *Leases) post(ctx context.Context, alerts []domain.Alert) error {
	lines, err := l.begin(ctx, alerts)
	if err != nil {
		return fmt.Errorf("application: the attempt could not be recorded: %w", err)
	}
	now := l.Clock()
	request := make([]LeasedAlert, len(alerts))
	for i, a := range alerts {
		request[i] = l.lease(a, now)
	}
	answer := l.Client.Post(ctx, request)
	if err := l.finish(context.WithoutCancel(ctx), lines, answer); err != nil {
		return fmt.Errorf("application: the attempt's outcome could not be recorded: %w", err)
	}
	switch {
	case answer.Outcome == domain.OutcomeDelivered,
		answer.Outcome == domain.OutcomeRefused && len(alerts) == 1:
		for _, a := range alerts {
			l.sent[a.ID] = sentLease{at: now, episode: a.Episode, changes: a.Changes}
		}
		return nil
	case answer.Outcome == domain.OutcomeRefused:
		half := len(alerts) / 2
		if err := l.post(ctx, alerts[:half]); err != nil {
			return err
		}
		return l.post(ctx, alerts[half:])
	}
	return fmt.Errorf("application: %s", answer)
}

func (l *Leases) lease(a domain.Alert, now time.Time) LeasedAlert {
	out := LeasedAlert{Labels: a.Labels, Annotations: a.Annotations, StartsAt: a.FiredAt}
	if a.State == domain.Firing {
		out.EndsAt = now.Add(4 * max(l.ResendDelay, l.Interval(a.Group)))
		return out
	}
	out.EndsAt = a.ResolvedAt
	if !out.StartsAt.Before(out.EndsAt) { // Alertmanager refuses it otherwise
		out.StartsAt = out.EndsAt.Add(-time.Millisecond)
	}
	return out
}

// begin writes the ledger's lines of a request: one for each alert with news,
// one for all others together.
func (l *Leases) begin(ctx context.Context, alerts []domain.Alert) (lines []string, err error) {
	now := l.Clock()
	err = l.DB.Do(ctx, func(_ context.Context, u *uow.Unit) error {
		lines = nil
		attempts := l.State.Attempts.In(u)
		repeated := 0
		for _, a := range alerts {
			last, told := l.sent[a.ID]
			if told && last.episode == a.Episode && last.changes == a.Changes {
				repeated++
				continue
			}
			line := domain.Attempt{
				ID:          strings.Join([]string{u.ID(), a.ID}, "/"),
				Alert:       a.ID,
				Destination: l.Destination,
				StartedAt:   now,
				Alerts:      1,
				Detail:      string(a.State),
			}
			lines = append(lines, line.ID)
			if err := attempts.Add(&line); err != nil {
				return err
			}
		}
		if repeated == 0 {
			return nil
		}
		lines = append(lines, u.ID())
		return attempts.Add(&domain.Attempt{ID: u.ID(), Destination: l.Destination, StartedAt: now, Alerts: repeated})
	})
	return lines, err
}

func (l *Leases) finish(ctx context.Context, lines []string, answer Answer) error {
	now := l.Clock()
	err := l.DB.Do(ctx, func(ctx context.Context, u *uow.Unit) error {
		attempts, err := l.State.Attempts.In(u).GetMany(ctx, lines...)
		for _, a := range attempts {
			a.FinishedAt, a.Outcome, a.Status = now, answer.Outcome, answer.Status
			a.Detail = strings.TrimSpace(strings.Join([]string{a.Detail, answer.Detail}, " "))
		}
		return err
	})
	if l.Changed != nil {
		l.Changed()
	}
	return err
}
