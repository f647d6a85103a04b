package application_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/memory"
	"github.com/uow-go/uow/outbox"

	"github.com/uow-go/uow/monitor/internal/application"
	"github.com/uow-go/uow/monitor/internal/domain"
)

// ledger is a database with tocsin's collections.
type ledger struct {
	t     *testing.T
	db    *uow.DB
	state *application.State
}

func newLedger(t *testing.T) *ledger {
	t.Helper()
	state := application.NewState()
	db, err := memory.Open(t.Context(), uow.Config{Collections: state.Collections()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return &ledger{t: t, db: db, state: state}
}

func (l *ledger) do(fn func(ctx context.Context, u *uow.Unit) error) {
	l.t.Helper()
	if err := l.db.Do(context.Background(), fn); err != nil {
		l.t.Fatal(err)
	}
}

// attempts returns the ledger's lines, oldest first.
func (l *ledger) attempts() (out []domain.Attempt) {
	l.t.Helper()
	l.do(func(ctx context.Context, u *uow.Unit) error {
		out = nil
		found, err := l.state.Attempts.In(u).Find(ctx, uow.Query{Order: []uow.Order{uow.Ascending("started_at")}})
		for _, a := range found {
			out = append(out, *a)
		}
		return err
	})
	return out
}

func (l *ledger) delivery(id string) (out domain.Delivery) {
	l.t.Helper()
	l.do(func(ctx context.Context, u *uow.Unit) error {
		d, err := l.state.Deliveries.In(u).Get(ctx, id)
		if err == nil {
			out = *d
		}
		return err
	})
	return out
}

// notify makes the delivery and the message of a notification, as an evaluation
// does.
func (l *ledger) notify() outbox.Message {
	l.t.Helper()
	n := domain.Notification{ID: "n1", Destination: "pager", Transition: domain.Transition{
		ID: "a1#1", Alert: "a1", Kind: domain.BecameFiring, Number: 1, Slot: time.Now().UTC(),
	}}
	l.do(func(_ context.Context, u *uow.Unit) error {
		return l.state.Deliveries.In(u).Add(&domain.Delivery{
			ID: n.ID, Transition: n.Transition.ID, Alert: n.Transition.Alert, Destination: n.Destination,
			Kind: n.Transition.Kind, Number: 1, CreatedAt: u.Now(), State: domain.Undelivered,
		})
	})
	return message(l.t, n)
}

func message(t *testing.T, n domain.Notification) outbox.Message {
	t.Helper()
	payload, err := json.Marshal(n)
	if err != nil {
		t.Fatal(err)
	}
	return outbox.Message{ID: n.ID, Payload: payload}
}

type senderFunc func(ctx context.Context, n domain.Notification, number int) application.Answer

func (f senderFunc) Send(ctx context.Context, n domain.Notification, number int) application.Answer {
	return f(ctx, n, number)
}

// clock goes on by a second with each look.
func clock() application.Clock {
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	return func() time.Time {
		now = now.Add(time.Second)
		return now
	}
}

func (l *ledger) deliverer(send senderFunc) *application.Delivery {
	return &application.Delivery{DB: l.db, State: l.state, Destination: "pager", Sender: send, Clock: clock()}
}

func TestEachAttemptIsALine(t *testing.T) {
	l := newLedger(t)
	m := l.notify()
	answers := []application.Answer{
		{Outcome: domain.OutcomeRetry, Status: 500, Detail: "later", After: time.Minute},
		{Outcome: domain.OutcomeUnknown, Detail: "no answer"},
		{Outcome: domain.OutcomeDelivered, Status: 200},
	}
	changes := 0
	d := l.deliverer(func(_ context.Context, _ domain.Notification, number int) application.Answer {
		lines := l.attempts()
		last := lines[len(lines)-1]
		if len(lines) != number || last.Number != number || last.Outcome != "" || !last.FinishedAt.IsZero() || last.Duration() != 0 {
			t.Errorf("during attempt %d the ledger has %+v", number, lines)
		}
		if got := l.delivery("n1"); got.Attempts != number || got.State != domain.Undelivered || got.LastAnswer != "" {
			t.Errorf("during attempt %d the delivery is %+v", number, got)
		}
		return answers[number-1]
	})
	d.Changed = func() { changes++ }
	for _, want := range answers {
		if got := d.Deliver(t.Context(), m); got != want {
			t.Errorf("answer = %+v, want %+v", got, want)
		}
	}
	for i, line := range l.attempts() {
		if line.ID != "n1/"+string(rune('1'+i)) || line.Outcome != answers[i].Outcome || line.Status != answers[i].Status ||
			line.Detail != answers[i].Detail || line.Duration() != time.Second {
			t.Errorf("line %d = %+v", i, line)
		}
		if line.Alert != "a1" || line.Transition != "a1#1" || line.Notification != "n1" || line.Destination != "pager" {
			t.Errorf("line %d = %+v", i, line)
		}
	}
	if got := l.delivery("n1"); got.State != domain.Delivered || got.Attempts != 3 || got.LastAnswer != "delivered: 200" || got.DeliveredAt.IsZero() {
		t.Errorf("delivery = %+v", got)
	}
	if changes != 6 {
		t.Errorf("Changed was called %d times", changes)
	}
}

func TestRefusalIsFinal(t *testing.T) {
	l := newLedger(t)
	d := l.deliverer(func(context.Context, domain.Notification, int) application.Answer {
		return application.Answer{Outcome: domain.OutcomeRefused, Status: 422, Detail: "bad"}
	})
	d.Deliver(t.Context(), l.notify())
	if got := l.delivery("n1"); got.State != domain.Refused || got.LastAnswer != "refused: 422: bad" {
		t.Errorf("delivery = %+v", got)
	}
}

// An earlier run of tocsin, or an earlier attempt that could not write its end,
// leaves a line open.
func TestInterruptedAttemptIsClosed(t *testing.T) {
	l := newLedger(t)
	m := l.notify()
	panicking := l.deliverer(func(context.Context, domain.Notification, int) application.Answer { panic("killed") })
	func() {
		defer func() { _ = recover() }()
		panicking.Deliver(t.Context(), m)
	}()
	if got := l.attempts(); len(got) != 1 || got[0].Outcome != "" {
		t.Fatalf("after the interruption: %+v", got)
	}
	d := l.deliverer(func(_ context.Context, _ domain.Notification, number int) application.Answer {
		if number != 2 {
			t.Errorf("number = %d", number)
		}
		if got := l.attempts(); len(got) != 2 || got[0].Outcome != domain.OutcomeInterrupted || got[0].FinishedAt.IsZero() {
			t.Errorf("during the next attempt: %+v", got)
		}
		return application.Answer{Outcome: domain.OutcomeDelivered}
	})
	if got := d.Deliver(t.Context(), m); got.Outcome != domain.OutcomeDelivered {
		t.Errorf("answer = %+v", got)
	}
}

func TestDeliveryWhoseRecordIsGone(t *testing.T) {
	l := newLedger(t)
	m := message(t, domain.Notification{ID: "n9", Destination: "pager", Transition: domain.Transition{ID: "a1#7", Alert: "a1", Number: 7}})
	d := l.deliverer(func(context.Context, domain.Notification, int) application.Answer {
		return application.Answer{Outcome: domain.OutcomeDelivered}
	})
	if got := d.Deliver(t.Context(), m); got.Outcome != domain.OutcomeDelivered {
		t.Errorf("answer = %+v", got)
	}
	if got := l.delivery("n9"); got.State != domain.Delivered || got.Number != 7 || got.Attempts != 1 {
		t.Errorf("delivery = %+v", got)
	}
}

func TestNothingIsSentThatCanNotBeRecorded(t *testing.T) {
	l := newLedger(t)
	m := l.notify()
	sent := 0
	d := l.deliverer(func(context.Context, domain.Notification, int) application.Answer {
		sent++
		return application.Answer{Outcome: domain.OutcomeDelivered}
	})
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if got := d.Deliver(ended, m); got.Outcome != domain.OutcomeRetry || sent != 0 {
		t.Errorf("%+v, %d sent", got, sent)
	}
	if got := d.Deliver(t.Context(), outbox.Message{ID: "x", Payload: []byte("{")}); got.Outcome != domain.OutcomeRefused || sent != 0 {
		t.Errorf("%+v, %d sent", got, sent)
	}
	l.db.Close()
	got := d.Deliver(t.Context(), m)
	if got.Outcome != domain.OutcomeRetry || sent != 0 || !strings.Contains(got.Detail, "could not be recorded") {
		t.Errorf("%+v, %d sent", got, sent)
	}
}

func TestOutcomeThatCanNotBeRecordedIsUnknown(t *testing.T) {
	l := newLedger(t)
	m := l.notify()
	d := l.deliverer(func(context.Context, domain.Notification, int) application.Answer {
		l.db.Close()
		return application.Answer{Outcome: domain.OutcomeDelivered}
	})
	if got := d.Deliver(t.Context(), m); got.Outcome != domain.OutcomeUnknown {
		t.Errorf("answer = %+v", got)
	}
}

func TestOutcomeIsRecordedAfterTheCallerIsGone(t *testing.T) {
	l := newLedger(t)
	ctx, cancel := context.WithCancel(t.Context())
	d := l.deliverer(func(context.Context, domain.Notification, int) application.Answer {
		cancel()
		return application.Answer{Outcome: domain.OutcomeUnknown, Detail: "interrupted"}
	})
	d.Deliver(ctx, l.notify())
	if got := l.attempts(); len(got) != 1 || got[0].Outcome != domain.OutcomeUnknown {
		t.Errorf("ledger = %+v", got)
	}
}
