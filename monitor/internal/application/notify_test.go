package application_test

import (
	"errors"
	"testing"

	"github.com/uow-go/uow/monitor/internal/application"
	"github.com/uow-go/uow/monitor/internal/domain"
)

func TestT5_TheMessageAndTheDeliveryHaveOneStableID(t *testing.T) {
	eachStore(t, func(t *testing.T, open func(t *testing.T) *world) {
		w := open(t)
		beforeTheSlot(w)
		if err := theSlot(w); err != nil {
			t.Fatal(err)
		}
		want := map[string]bool{}
		for _, tr := range w.transitions() {
			if tr.Notifies() {
				for _, destination := range w.evaluator.Destinations {
					want[domain.NotificationID(tr.ID, destination)] = true
				}
			}
		}
		deliveries := map[string]domain.Delivery{}
		for _, d := range w.deliveries() {
			deliveries[d.ID] = d
		}
		messages := w.messages()
		if len(messages) != len(want) || len(deliveries) != len(want) {
			t.Fatalf("%d messages, %d deliveries, want %d", len(messages), len(deliveries), len(want))
		}
		for _, m := range messages {
			n, d := notification(t, m), deliveries[m.ID]
			if !want[m.ID] || d.ID != m.ID || n.ID != m.ID || n.ID != domain.NotificationID(n.Transition.ID, n.Destination) {
				t.Errorf("message %s, notification %s, delivery %q: not one id", m.ID, n.ID, d.ID)
			}
			delete(want, m.ID)
			if m.Topic != application.Topic(n.Destination) || m.Key != n.Transition.Alert || m.Type != "tocsin.alert."+string(n.Transition.Kind) ||
				m.Headers["content-type"] != "application/json" || n.ExternalURL != "http://tocsin" {
				t.Errorf("message %+v", m)
			}
			if d.Transition != n.Transition.ID || d.Alert != n.Transition.Alert || d.Destination != n.Destination || d.Kind != n.Transition.Kind ||
				d.Number != n.Transition.Number || !d.Slot.Equal(n.Transition.Slot) || d.State != domain.Undelivered || d.CreatedAt.IsZero() {
				t.Errorf("delivery %+v of %+v", d, n)
			}
		}
	})
}

func TestT1_MessagesOfAnAlertAreInTheOrderOfItsTransitions(t *testing.T) {
	eachStore(t, func(t *testing.T, open func(t *testing.T) *world) {
		w := open(t)
		failing := domain.Result{Err: errors.New("no such function")}
		for i, result := range []domain.Result{
			down("a", "b"), down("b"), down("a"), failing, down("a", "b"), down(), down("b", "a"),
		} {
			w.eval(10*i, result)
		}
		last := map[string]int64{}
		told := map[string]string{}
		for _, m := range w.messages() {
			n := notification(t, m)
			stream := m.Topic + " " + n.Transition.Labels["instance"]
			if n.Transition.Number <= last[stream] {
				t.Errorf("%s: transition %d after %d", stream, n.Transition.Number, last[stream])
			}
			last[stream] = n.Transition.Number
			told[stream] += " " + string(n.Transition.Kind)
		}
		for stream, want := range map[string]string{
			"destination/pager a": " firing resolved firing held hold_ended resolved firing",
			"destination/chat a":  " firing resolved firing held hold_ended resolved firing",
			"destination/pager b": " firing resolved firing resolved firing",
			"destination/chat b":  " firing resolved firing resolved firing",
		} {
			if told[stream] != want {
				t.Errorf("%s was told%s, want%s", stream, told[stream], want)
			}
		}
	})
}

func TestTransitionsForTheRecordHaveNoMessage(t *testing.T) {
	w := newWorld(t)
	w.eval(0, down(), slow("p"))
	w.eval(10, down(), domain.Result{Err: errors.New("broken")})
	w.eval(20, down(), slow("p"))
	w.eval(30)
	if got, want := w.story(), "p:pending p:held p:hold_ended p:inactive"; got != want {
		t.Errorf("transitions: %s, want %s", got, want)
	}
	if d, m := w.deliveries(), w.messages(); len(d) != 0 || len(m) != 0 {
		t.Errorf("deliveries %+v, messages %+v", d, m)
	}
}
