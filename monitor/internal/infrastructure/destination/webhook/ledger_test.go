package webhook_test

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/memory"
	"github.com/uow-go/uow/outbox"

	"github.com/uow-go/uow/monitor/internal/application"
	"github.com/uow-go/uow/monitor/internal/domain"
	"github.com/uow-go/uow/monitor/internal/infrastructure/destination/webhook"
)

// line is what the tests look at of a line of the ledger.
type line struct {
	number  int
	outcome domain.Outcome
	status  int
	ended   bool
}

// endToEnd is a use case, a store and a receiver.
type endToEnd struct {
	t        *testing.T
	db       *uow.DB
	state    *application.State
	receiver *receiver
	delivery *application.Delivery
	message  outbox.Message
}

func newEndToEnd(t *testing.T, cfg webhook.Config) *endToEnd {
	t.Helper()
	e := &endToEnd{t: t, state: application.NewState(), receiver: newReceiver(t)}
	var err error
	if e.db, err = memory.Open(t.Context(), uow.Config{Collections: e.state.Collections()}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.db.Close() })
	cfg.URL = e.receiver.URL
	e.delivery = &application.Delivery{DB: e.db, State: e.state, Destination: "pager", Sender: newSender(t, cfg), Clock: time.Now}
	n := notification(domain.BecameFiring)
	payload, err := json.Marshal(n)
	if err != nil {
		t.Fatal(err)
	}
	e.message = outbox.Message{ID: n.ID, Key: n.Transition.Alert, Payload: payload}
	return e
}

// lines returns the ledger of the notification, as a person would see it now.
func (e *endToEnd) lines() (out []line) {
	err := e.db.Do(context.Background(), func(ctx context.Context, u *uow.Unit) error {
		found, err := e.state.Attempts.In(u).Find(ctx, uow.Query{Where: []uow.Condition{uow.Equal("alert", e.message.Key)}})
		out = nil
		for _, a := range found {
			out = append(out, line{a.Number, a.Outcome, a.Status, !a.FinishedAt.IsZero()})
		}
		return err
	})
	if err != nil {
		e.t.Error(err)
	}
	slices.SortFunc(out, func(a, b line) int { return a.number - b.number })
	return out
}

func (e *endToEnd) check(when string, want ...line) {
	e.t.Helper()
	if got := e.lines(); !slices.Equal(got, want) {
		e.t.Errorf("%s the ledger has %+v, want %+v", when, got, want)
	}
}

func TestLedgerOfAReceiverThatFailsFirst(t *testing.T) {
	e := newEndToEnd(t, webhook.Config{})
	failed := line{1, domain.OutcomeRetry, 500, true}
	e.receiver.answer = func(w http.ResponseWriter, r *http.Request) {
		switch r.Header.Get("Tocsin-Attempt") {
		case "1":
			e.check("during the first request", line{number: 1})
			w.WriteHeader(http.StatusInternalServerError)
		case "2":
			e.check("during the second request", failed, line{number: 2})
		}
	}
	if got := e.delivery.Deliver(t.Context(), e.message); got.Outcome != domain.OutcomeRetry {
		t.Errorf("first answer = %+v", got)
	}
	e.check("between the attempts", failed)
	if got := e.delivery.Deliver(t.Context(), e.message); got.Outcome != domain.OutcomeDelivered {
		t.Errorf("second answer = %+v", got)
	}
	e.check("at the end", failed, line{2, domain.OutcomeDelivered, 200, true})
	if n := e.receiver.count(); n != 2 {
		t.Errorf("%d requests", n)
	}
	for _, r := range e.receiver.requests {
		if r.Header.Get("Idempotency-Key") != e.message.ID {
			t.Errorf("Idempotency-Key = %q", r.Header.Get("Idempotency-Key"))
		}
	}
}

// The process ends while the receiver has the request: a copy of the use case
// stands for the process that comes after it.
func TestLedgerOfAnInterruptedAttempt(t *testing.T) {
	e := newEndToEnd(t, webhook.Config{})
	arrived, stop := make(chan struct{}), make(chan struct{})
	e.receiver.answer = func(_ http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Tocsin-Attempt") == "1" {
			close(arrived)
			<-stop
		}
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		e.delivery.Deliver(t.Context(), e.message)
	}()
	<-arrived
	e.check("during the first request", line{number: 1})
	if got := e.delivery.Deliver(t.Context(), e.message); got.Outcome != domain.OutcomeDelivered {
		t.Errorf("answer = %+v", got)
	}
	e.check("afterwards", line{1, domain.OutcomeInterrupted, 0, true}, line{2, domain.OutcomeDelivered, 200, true})
	close(stop)
	<-ended
}

func TestLedgerOfWhatTheFormatCanNotTell(t *testing.T) {
	e := newEndToEnd(t, webhook.Config{Format: webhook.Alertmanager})
	payload, err := json.Marshal(notification(domain.BecameHeld))
	if err != nil {
		t.Fatal(err)
	}
	e.message.Payload = payload
	if got := e.delivery.Deliver(t.Context(), e.message); got.Outcome != domain.OutcomeDelivered {
		t.Errorf("answer = %+v", got)
	}
	e.check("afterwards", line{1, domain.OutcomeDelivered, 0, true})
	if n := e.receiver.count(); n != 0 {
		t.Errorf("%d requests", n)
	}
}
