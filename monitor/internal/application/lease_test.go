package application_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/uow-go/uow"

	"github.com/uow-go/uow/monitor/internal/application"
	"github.com/uow-go/uow/monitor/internal/domain"
)

// post is one request that the fake Alertmanager got.
type post struct {
	after  time.Duration // since the test began
	alerts []application.LeasedAlert
}

// names returns the names of the alerts, as "a b".
func (p post) names() string {
	names := make([]string, len(p.alerts))
	for i, a := range p.alerts {
		names[i] = a.Labels["alertname"]
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

// informed is a Leases with a fake Alertmanager, inside a synctest bubble.
type informed struct {
	*ledger
	leases *application.Leases
	start  time.Time
	posts  []post
	// answer, when set, answers the requests; otherwise they are delivered.
	answer   func(p post) application.Answer
	interval time.Duration
}

func newInformed(t *testing.T) *informed {
	i := &informed{ledger: newLedger(t), start: time.Now()}
	i.leases = application.NewLeases(application.Leases{
		DB: i.db, State: i.state, Destination: "am", Client: i,
		Interval: func(string) time.Duration { return i.interval },
		Clock:    time.Now, Logger: slog.New(slog.DiscardHandler),
	})
	return i
}

// Post implements application.AlertmanagerClient.
func (i *informed) Post(_ context.Context, alerts []application.LeasedAlert) application.Answer {
	p := post{after: time.Since(i.start), alerts: alerts}
	i.posts = append(i.posts, p)
	if i.answer != nil {
		return i.answer(p)
	}
	return application.Answer{Outcome: domain.OutcomeDelivered, Status: 200}
}

// run lets the leases run for a while of the bubble's time.
func (i *informed) run(d time.Duration) {
	ctx, cancel := context.WithTimeout(i.t.Context(), d)
	defer cancel()
	i.leases.Run(ctx)
}

func (i *informed) refresh() {
	i.t.Helper()
	if err := i.leases.Refresh(i.t.Context()); err != nil {
		i.t.Fatal(err)
	}
}

// times returns when requests were made, and forgets them.
func (i *informed) times() (out []time.Duration) {
	for _, p := range i.posts {
		out = append(out, p.after)
	}
	i.posts = nil
	return out
}

// put stores the alert of this name as change makes it.
func (i *informed) put(name string, change func(a *domain.Alert)) {
	i.t.Helper()
	i.do(func(ctx context.Context, u *uow.Unit) error {
		alerts := i.state.Alerts.In(u)
		a, err := alerts.Get(ctx, name)
		if err == nil {
			change(a)
			a.Changes++
			return nil
		}
		a = &domain.Alert{
			ID: name, Group: "g", Name: name, Labels: map[string]string{"alertname": name},
			State: domain.Firing, Episode: 1, Changes: 1, ActiveAt: u.Now(), FiredAt: u.Now(),
		}
		change(a)
		return alerts.Add(a)
	})
}

func unchanged(*domain.Alert) {}

func resolve(a *domain.Alert) { a.State, a.ResolvedAt = domain.Inactive, time.Now() }

func minutes(from, to int) (out []time.Duration) {
	for m := from; m <= to; m++ {
		out = append(out, time.Duration(m)*time.Minute)
	}
	return out
}

func TestFiringAlertIsRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newInformed(t)
		i.put("a", unchanged)
		i.put("pending", func(a *domain.Alert) { a.State, a.FiredAt = domain.Pending, time.Time{} })
		i.run(5*time.Minute + time.Second)
		for _, p := range i.posts {
			if p.names() != "a" || !p.alerts[0].StartsAt.Equal(i.start) {
				t.Errorf("posted %+v", p)
			}
		}
		if got, want := i.times(), minutes(0, 5); !slices.Equal(got, want) {
			t.Errorf("posted at %v, want %v", got, want)
		}
	})
}

func TestLeaseIsFourTimesTheLongerOfIntervalAndDelay(t *testing.T) {
	for _, c := range []struct{ interval, delay, want time.Duration }{
		{15 * time.Second, 0, 4 * time.Minute},
		{2 * time.Minute, 0, 8 * time.Minute},
		{time.Second, 2 * time.Second, 8 * time.Second},
		{0, time.Second, 4 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			i := newInformed(t)
			i.interval = c.interval
			if c.delay > 0 {
				i.leases.ResendDelay = c.delay
			}
			i.put("a", unchanged)
			time.Sleep(time.Hour) // it counts from the request, not from the alert's start
			i.refresh()
			if got := time.Until(i.posts[0].alerts[0].EndsAt); got != c.want {
				t.Errorf("interval %s, delay %s: lease of %s, want %s", c.interval, c.delay, got, c.want)
			}
		})
	}
}

func TestEndIsRepeatedForFifteenMinutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newInformed(t)
		i.put("a", unchanged)
		i.put("never fired", func(a *domain.Alert) {
			a.State, a.FiredAt, a.ResolvedAt = domain.Inactive, time.Time{}, time.Now()
		})
		i.run(30 * time.Second)
		i.times()
		i.put("a", resolve)
		resolvedAt := time.Now()
		i.run(20 * time.Minute)
		for _, p := range i.posts {
			if a := p.alerts[0]; p.names() != "a" || !a.EndsAt.Equal(resolvedAt) || !a.StartsAt.Equal(i.start) {
				t.Errorf("posted %+v", p)
			}
		}
		var want []time.Duration
		for _, m := range minutes(0, 14) {
			want = append(want, 30*time.Second+m)
		}
		if got := i.times(); !slices.Equal(got, want) {
			t.Errorf("posted at %v, want %v", got, want)
		}
	})
}

func TestEndIsAfterTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newInformed(t)
		i.put("a", resolve)
		i.refresh()
		if a := i.posts[0].alerts[0]; !a.StartsAt.Before(a.EndsAt) || !a.EndsAt.Equal(i.start) {
			t.Errorf("posted %+v", a)
		}
	})
}

func TestNewEpisodeEndsTheRepetitionOfTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newInformed(t)
		i.put("a", resolve)
		i.run(90 * time.Second)
		i.times()
		i.put("a", func(a *domain.Alert) {
			a.State, a.Episode, a.FiredAt, a.ResolvedAt = domain.Firing, 2, time.Now(), time.Time{}
		})
		i.run(61 * time.Second)
		for _, p := range i.posts {
			if a := p.alerts[0]; !a.StartsAt.Equal(i.start.Add(90*time.Second)) || !a.EndsAt.After(i.start.Add(4*time.Minute)) {
				t.Errorf("posted %+v", p)
			}
		}
		if got, want := i.times(), []time.Duration{90 * time.Second, 150 * time.Second}; !slices.Equal(got, want) {
			t.Errorf("posted at %v, want %v", got, want)
		}
	})
}

func TestWakeSendsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newInformed(t)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go i.leases.Run(ctx)
		time.Sleep(time.Second) // between two looks
		i.put("a", unchanged)
		i.leases.Wake()
		i.leases.Wake() // does not block
		synctest.Wait()
		if got, want := i.times(), []time.Duration{time.Second}; !slices.Equal(got, want) {
			t.Errorf("posted at %v, want %v", got, want)
		}
	})
}

func TestFailedRequestIsTriedAgainSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newInformed(t)
		i.put("a", unchanged)
		i.answer = func(p post) application.Answer {
			switch {
			case p.after < 3*time.Second:
				return application.Answer{Outcome: domain.OutcomeRetry, Status: 503}
			case p.after < 10*time.Second:
				return application.Answer{Outcome: domain.OutcomeUnknown}
			}
			return application.Answer{Outcome: domain.OutcomeDelivered}
		}
		i.run(80 * time.Second)
		want := []time.Duration{0, 2 * time.Second, 6 * time.Second, 14 * time.Second, 74 * time.Second}
		if got := i.times(); !slices.Equal(got, want) {
			t.Errorf("posted at %v, want %v", got, want)
		}
	})
}

func TestRefusedBatchIsHalvedDownToTheBadAlert(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newInformed(t)
		for n := range 8 {
			i.put(fmt.Sprintf("a%d", n), unchanged)
		}
		taken := map[string]bool{}
		i.answer = func(p post) application.Answer {
			if strings.Contains(p.names(), "a5") {
				return application.Answer{Outcome: domain.OutcomeRefused, Status: 400, Detail: "bad"}
			}
			for _, a := range p.alerts {
				taken[a.Labels["alertname"]] = true
			}
			return application.Answer{Outcome: domain.OutcomeDelivered, Status: 200}
		}
		i.refresh()
		if len(i.posts) != 7 || len(taken) != 7 {
			t.Errorf("%d requests, %d alerts taken", len(i.posts), len(taken))
		}
		var outcomes []domain.Outcome
		for _, line := range i.attempts() {
			if line.Alert == "a5" {
				outcomes = append(outcomes, line.Outcome)
			}
		}
		if want := slices.Repeat([]domain.Outcome{domain.OutcomeRefused}, 4); !slices.Equal(outcomes, want) {
			t.Errorf("the bad alert's lines: %v", outcomes)
		}
		i.posts = nil
		time.Sleep(59 * time.Second)
		i.refresh()
		if len(i.posts) != 0 {
			t.Errorf("the bad alert was sent again before its time: %+v", i.posts)
		}
		time.Sleep(time.Second)
		i.refresh()
		if len(i.posts) != 7 {
			t.Errorf("%d requests when it was time again", len(i.posts))
		}
	})
}

func TestRequestsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newInformed(t)
		for n := range 300 {
			i.put(fmt.Sprint(n), unchanged)
		}
		i.refresh()
		if len(i.posts) != 2 || len(i.posts[0].alerts) != 256 || len(i.posts[1].alerts) != 44 {
			t.Errorf("%d requests", len(i.posts))
		}
	})
}

func TestLedgerOfLeases(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newInformed(t)
		changes := 0
		i.leases.Changed = func() { changes++ }
		i.put("a", unchanged)
		i.put("b", unchanged)
		i.answer = func(post) application.Answer {
			open := 0
			for _, line := range i.attempts() {
				if line.Outcome == "" && line.FinishedAt.IsZero() {
					open++
				}
			}
			if open == 0 {
				t.Error("a request without an open line in the ledger")
			}
			time.Sleep(time.Second)
			return application.Answer{Outcome: domain.OutcomeDelivered, Status: 200}
		}
		i.refresh()
		for _, line := range i.attempts() {
			if line.Alert != "a" && line.Alert != "b" || line.Alerts != 1 || line.Outcome != domain.OutcomeDelivered ||
				line.Status != 200 || line.Detail != "firing" || line.Duration() != time.Second {
				t.Errorf("line of news: %+v", line)
			}
		}
		time.Sleep(time.Minute)
		i.refresh()
		lines := i.attempts()
		if last := lines[len(lines)-1]; len(lines) != 3 || last.Alert != "" || last.Alerts != 2 || last.Outcome != domain.OutcomeDelivered {
			t.Errorf("lines after a repetition: %+v", lines)
		}
		i.put("b", func(a *domain.Alert) { a.Hold = domain.HoldStale })
		i.refresh()
		lines = i.attempts()
		if last := lines[len(lines)-1]; len(lines) != 4 || last.Alert != "b" {
			t.Errorf("lines after a change: %+v", lines)
		}
		if changes == 0 {
			t.Error("Changed was not called")
		}
	})
}

func TestNoRequestWithoutItsLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newInformed(t)
		i.put("a", unchanged)
		i.answer = func(post) application.Answer {
			i.db.Close()
			return application.Answer{Outcome: domain.OutcomeDelivered}
		}
		if err := i.leases.Refresh(t.Context()); err == nil {
			t.Error("the lost line was not noticed")
		}
		if err := i.leases.Refresh(t.Context()); err == nil || len(i.posts) != 1 {
			t.Errorf("err = %v, %d requests", err, len(i.posts))
		}
	})
}
