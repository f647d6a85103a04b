package application_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/outbox"

	"github.com/uow-go/uow/monitor/internal/application"
	"github.com/uow-go/uow/monitor/internal/domain"
)

func (w *world) recovery(destinations ...string) *application.Recovery {
	return &application.Recovery{
		DB: w.db, State: w.state, Log: w.log, Destinations: destinations,
		Clock: func() time.Time { return w.now },
	}
}

func (w *world) recover(destinations ...string) (removed []string) {
	w.t.Helper()
	removed, err := w.recovery(destinations...).Run(context.Background())
	if err != nil {
		w.t.Fatal(err)
	}
	return removed
}

// put adds lines to the ledger.
func (w *world) put(lines ...domain.Attempt) {
	w.t.Helper()
	w.do(func(_ context.Context, u *uow.Unit) error {
		for i := range lines {
			if err := w.state.Attempts.In(u).Add(&lines[i]); err != nil {
				return err
			}
		}
		return nil
	})
}

// read moves a cursor to a position, as a relay that delivered all up to there
// does, with messages that it holds.
func (w *world) read(destination string, position int64, hold ...outbox.Hold) {
	w.t.Helper()
	lease, err := w.log.Acquire(context.Background(), outbox.Claim{Cursor: application.Topic(destination), Force: true})
	if err == nil {
		err = w.log.Settle(context.Background(), lease, outbox.Settlement{Position: position, Hold: hold})
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) end() int64 {
	w.t.Helper()
	stats, err := w.log.Stats(context.Background())
	if err != nil {
		w.t.Fatal(err)
	}
	return stats.End
}

func (w *world) cursors() (names []string) {
	w.t.Helper()
	stats, err := w.log.Stats(context.Background())
	if err != nil {
		w.t.Fatal(err)
	}
	for _, c := range stats.Cursors {
		names = append(names, c.Cursor)
	}
	return names
}

// trim deletes what it may of the log, however young it is.
func (w *world) trim() int {
	w.t.Helper()
	n, err := w.log.Trim(context.Background(), w.now.Add(time.Hour), 1000)
	if err != nil {
		w.t.Fatal(err)
	}
	return n
}

func TestT5_OpenAttemptsAreCompletedAsInterrupted(t *testing.T) {
	eachStore(t, func(t *testing.T, open func(t *testing.T) *world) {
		w := open(t)
		good := domain.Attempt{
			ID: "done/1", Notification: "done", Destination: "pager", Number: 1, StartedAt: at(0),
			FinishedAt: at(1), Outcome: domain.OutcomeDelivered, Status: 200, Detail: "ok",
		}
		lines := []domain.Attempt{good, {ID: "lease", Destination: "am", StartedAt: at(0), Alerts: 3}}
		for i := range 1234 { // more than one batch
			lines = append(lines, domain.Attempt{ID: fmt.Sprintf("n%d/1", i), Notification: fmt.Sprint("n", i), Destination: "pager", Number: 1, StartedAt: at(i)})
		}
		w.put(lines...)
		w.now = at(5000)
		if removed := w.recover("pager"); len(removed) != 0 {
			t.Errorf("removed %v", removed)
		}
		all := w.attempts()
		if len(all) != len(lines) {
			t.Fatalf("%d lines, want %d", len(all), len(lines))
		}
		for _, a := range all {
			if a.ID == good.ID {
				if a != good {
					t.Errorf("a completed line became %+v", a)
				}
				continue
			}
			if a.Outcome != domain.OutcomeInterrupted || !a.FinishedAt.Equal(at(5000)) || a.Detail == "" {
				t.Fatalf("an open line became %+v", a)
			}
		}
		before := w.dump()
		w.now = at(6000)
		w.recover("pager")
		if got := w.dump(); got != before {
			t.Error("the second recovery changed something")
		}
	})
}

// withRemoved leaves deliveries to pager and chat: what fired is delivered, what
// resolved is not. Both cursors are behind.
func withRemoved(w *world) {
	w.eval(0, down("a"))
	w.eval(10)
	w.do(func(ctx context.Context, u *uow.Unit) error {
		all, err := w.state.Deliveries.In(u).Find(ctx, uow.Query{})
		for _, d := range all {
			if d.Kind == domain.BecameFiring {
				d.State, d.DeliveredAt, d.Attempts, d.LastAnswer = domain.Delivered, at(1), 1, "delivered: 200"
			}
		}
		return err
	})
	messages := w.messages()
	resolved := messages[len(messages)-1] // to chat
	w.read("pager", w.end())
	w.read("chat", w.end(), outbox.Hold{Position: resolved.Position, Key: resolved.Key, State: outbox.Retrying, NextAt: at(99)})
	w.now = at(20)
}

func TestWhatWaitsForARemovedDestinationIsAbandoned(t *testing.T) {
	eachStore(t, func(t *testing.T, open func(t *testing.T) *world) {
		w := open(t)
		withRemoved(w)
		w.read("gone", 0) // has not read anything
		if n := w.trim(); n != 0 {
			t.Fatalf("%d messages were trimmed that a cursor has not passed", n)
		}
		if lease, err := w.log.Acquire(t.Context(), outbox.Claim{Cursor: "replica", Force: true}); err != nil {
			t.Fatal(lease, err)
		}
		removed := w.recover("pager")
		if slices.Sort(removed); !slices.Equal(removed, []string{"chat", "gone"}) {
			t.Errorf("removed %v", removed)
		}
		if got := w.cursors(); !slices.Equal(got, []string{"destination/pager", "replica"}) {
			t.Errorf("cursors: %v", got)
		}
		for _, d := range w.deliveries() {
			want := domain.Undelivered
			switch {
			case d.Kind == domain.BecameFiring:
				want = domain.Delivered
			case d.Destination == "chat":
				want = domain.Abandoned
			}
			if d.State != want {
				t.Errorf("%s to %s is %s, want %s", d.Kind, d.Destination, d.State, want)
			}
			if d.State == domain.Abandoned && (!d.LastAt.Equal(at(20)) || d.LastAnswer == "") {
				t.Errorf("abandoned without a word: %+v", d)
			}
		}
		if err := w.log.Drop(t.Context(), "replica"); err != nil {
			t.Fatal(err)
		}
		if n := w.trim(); n != 4 {
			t.Errorf("%d messages were trimmed, want 4: the removed destination holds them", n)
		}
	})
}

func TestRecoveryIsCompletedByAnotherTry(t *testing.T) {
	faults{
		parts: true,
		prepare: func(w *world) {
			withRemoved(w)
			w.put(domain.Attempt{ID: "x/1", Destination: "chat", Number: 1, StartedAt: at(5)})
		},
		act: func(w *world) error {
			_, err := w.recovery("pager").Run(context.Background())
			return err
		},
		again: func(w *world, _ bool) error {
			w.recover("pager")
			if got := w.cursors(); !slices.Equal(got, []string{"destination/pager"}) {
				return fmt.Errorf("cursors: %v", got)
			}
			if removed := w.recover("pager"); len(removed) != 0 {
				return fmt.Errorf("the second recovery removed %v", removed)
			}
			return nil
		},
	}.run(t)
}

func TestRecoveryOfManyDeliveries(t *testing.T) {
	w := newWorld(t)
	var many []string
	for i := range 1100 { // more than two batches
		many = append(many, fmt.Sprint("a", i))
	}
	w.eval(0, down(many...))
	w.read("chat", 0)
	w.recover("pager")
	abandoned := 0
	for _, d := range w.deliveries() {
		if d.Destination == "chat" && d.State == domain.Abandoned {
			abandoned++
		}
		if d.Destination == "pager" && d.State != domain.Undelivered {
			t.Fatalf("pager's %+v", d)
		}
	}
	if abandoned != len(many) {
		t.Errorf("%d deliveries were abandoned, want %d", abandoned, len(many))
	}
}

// A cursor that was dropped begins at the start of the log when its destination
// is configured again.
func TestT7_ADestinationThatComesBackIsNotToldAgain(t *testing.T) {
	w := newWorld(t)
	w.eval(0, down("a"))
	sent := 0
	d := &application.Delivery{
		DB: w.db, State: w.state, Destination: "chat", Clock: func() time.Time { return w.now },
		Sender: senderFunc(func(context.Context, domain.Notification, int) application.Answer {
			sent++
			return application.Answer{Outcome: domain.OutcomeDelivered, Status: 200}
		}),
	}
	deliver := func() {
		for _, m := range w.messages() {
			if m.Topic == application.Topic("chat") {
				if got := d.Deliver(t.Context(), m); got.Outcome != domain.OutcomeDelivered {
					t.Errorf("answer = %+v", got)
				}
			}
		}
	}
	w.read("chat", 0)
	deliver()
	w.recover("pager")
	before := w.dump()
	deliver()
	if sent != 1 {
		t.Errorf("told %d times", sent)
	}
	if got := w.dump(); got != before {
		t.Errorf("the ledger: %s", difference(got, before))
	}
}
