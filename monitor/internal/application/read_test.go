package application_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/outbox"

	"github.com/uow-go/uow/monitor/internal/application"
	"github.com/uow-go/uow/monitor/internal/domain"
)

func (w *world) reader(alertmanagers ...string) *application.Reader {
	return &application.Reader{
		DB: w.db, State: w.state, Log: w.log, Destinations: []string{"pager", "chat"},
		Alertmanagers: alertmanagers, Clock: func() time.Time { return w.now },
	}
}

// deliver delivers all messages of a destination that are not delivered, with one
// answer.
func (w *world) deliver(destination string, answer application.Answer) {
	w.t.Helper()
	open := map[string]bool{}
	for _, d := range w.deliveries() {
		open[d.ID] = d.State == domain.Undelivered
	}
	d := &application.Delivery{
		DB: w.db, State: w.state, Destination: destination, Clock: func() time.Time { return w.now },
		Sender: senderFunc(func(context.Context, domain.Notification, int) application.Answer { return answer }),
	}
	for _, m := range w.messages() {
		if m.Topic == application.Topic(destination) && open[m.ID] {
			d.Deliver(context.Background(), m)
		}
	}
}

var (
	delivered = application.Answer{Outcome: domain.OutcomeDelivered, Status: 200}
	later     = application.Answer{Outcome: domain.OutcomeRetry, Status: 503}
)

func TestAlertsHaveTheLastOfEachDestination(t *testing.T) {
	eachStore(t, func(t *testing.T, open func(t *testing.T) *world) {
		w := open(t)
		w.eval(0, down("old", "over"), slow("p"))
		w.deliver("pager", delivered)
		w.eval(10, down("old", "new"), slow("p"))
		w.deliver("pager", later)
		views, err := w.reader("am").Alerts(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var order []string
		for _, v := range views {
			order = append(order, v.Labels["instance"])
			last := map[string]application.LastDelivery{}
			for _, l := range v.Last {
				last[l.Destination] = l
			}
			if len(last) != len(v.Last) {
				t.Errorf("%s: a destination twice: %+v", v.ID, v.Last)
			}
			switch v.Labels["instance"] {
			case "old":
				if l := last["pager"]; l.State != domain.Delivered || l.Kind != domain.BecameFiring || l.Attempts != 1 || l.Answer != "delivered: 200" || !l.At.Equal(at(0)) {
					t.Errorf("old at pager: %+v", l)
				}
				if l := last["chat"]; l.State != domain.Undelivered || l.Attempts != 0 || l.Answer != "" || !l.At.Equal(at(0)) {
					t.Errorf("old at chat: %+v", l)
				}
			case "over":
				if l := last["pager"]; l.State != domain.Undelivered || l.Kind != domain.BecameResolved || l.Attempts != 1 || l.Answer != "retry: 503" || !l.At.Equal(at(10)) {
					t.Errorf("over at pager: %+v", l)
				}
			case "p":
				if len(v.Last) != 0 {
					t.Errorf("of a pending alert nobody is told: %+v", v.Last)
				}
			}
		}
		if want := []string{"new", "old", "p", "over"}; !slices.Equal(order, want) {
			t.Errorf("order %v, want %v", order, want)
		}
		known, err := w.reader().Known(t.Context())
		if err != nil || len(known) != len(views) {
			t.Fatal(known, err)
		}
		for i, a := range known {
			if !reflect.DeepEqual(a, views[i].Alert) {
				t.Errorf("Known has %+v, Alerts has %+v", a, views[i].Alert)
			}
		}
	})
}

// Two notifications of one alert can be of one slot, and so of one time.
func TestTheLastOfOneSlotIsTheNewestTransition(t *testing.T) {
	w := newWorld(t)
	for i := range 20 { // the order of the ids is by chance
		w.group = groupNamed(fmt.Sprint("g", i))
		w.eval(0, down("a"))
		w.eval(10, domain.Result{Err: errors.New("broken")})
		w.group.Rules[0].For = time.Hour
		w.eval(20, down("a"))
	}
	views, err := w.reader().Alerts(t.Context())
	if err != nil || len(views) != 20 {
		t.Fatal(len(views), err)
	}
	for _, v := range views {
		for _, l := range v.Last {
			if l.Kind != domain.FellBack {
				t.Errorf("%s: the last at %s is %s", v.ID, l.Destination, l.Kind)
			}
		}
		timeline, err := w.reader().Timeline(t.Context(), v.ID)
		if err != nil {
			t.Fatal(err)
		}
		var numbers []int64
		for _, d := range timeline.Deliveries {
			if d.Destination == "pager" {
				numbers = append(numbers, d.Number)
			}
		}
		if !slices.Equal(numbers, []int64{4, 3, 2, 1}) {
			t.Errorf("%s: deliveries in the order %v", v.ID, numbers)
		}
	}
}

func TestAlertsShowTheLastLeaseOfAnAlertmanager(t *testing.T) {
	w := newWorld(t)
	w.eval(0, down("a"))
	a := w.alert("a").ID
	w.put(
		domain.Attempt{ID: "1", Alert: a, Destination: "am", StartedAt: at(1), Outcome: domain.OutcomeDelivered, Status: 200, Detail: "firing"},
		domain.Attempt{ID: "2", Alert: a, Destination: "am", StartedAt: at(2), FinishedAt: at(3), Outcome: domain.OutcomeRetry, Status: 503, Detail: "firing"},
		domain.Attempt{ID: "3", Alert: a, Destination: "am2", StartedAt: at(2), Detail: "firing"},
		domain.Attempt{ID: "4", Alert: a, Destination: "not configured", StartedAt: at(9), Outcome: domain.OutcomeDelivered},
		domain.Attempt{ID: "5", Destination: "am", StartedAt: at(9), Outcome: domain.OutcomeDelivered, Alerts: 7},
	)
	views, err := w.reader("am", "am2").Alerts(t.Context())
	if err != nil || len(views) != 1 {
		t.Fatal(views, err)
	}
	got := map[string]application.LastDelivery{}
	for _, l := range views[0].Last {
		got[l.Destination] = l
	}
	if len(got) != 4 {
		t.Errorf("last: %+v", views[0].Last)
	}
	if l := got["am"]; l.State != domain.Undelivered || l.Answer != "retry: 503: firing" || !l.At.Equal(at(2)) {
		t.Errorf("am: %+v", l)
	}
	if l := got["am2"]; l.State != domain.Undelivered || l.Answer != "" {
		t.Errorf("while an attempt lasts there is no answer: %+v", l)
	}
}

func TestTimelineIsNewestFirst(t *testing.T) {
	eachStore(t, func(t *testing.T, open func(t *testing.T) *world) {
		w := open(t)
		w.eval(-100)
		w.eval(-50)
		w.eval(0, down("a", "other"))
		w.deliver("pager", later)
		w.eval(10, domain.Result{Err: errors.New("broken")})
		w.eval(50, down("a"))
		w.eval(60)
		w.now = at(61)
		w.deliver("pager", delivered)
		id := w.alert("a").ID
		got, err := w.reader().Timeline(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		if got.Alert == nil || got.Alert.ID != id || got.Alert.State != domain.Inactive {
			t.Errorf("alert = %+v", got.Alert)
		}
		var kinds []string
		for i, tr := range got.Transitions {
			kinds = append(kinds, string(tr.Kind))
			if tr.Alert != id || tr.Number != int64(len(got.Transitions)-i) {
				t.Errorf("transition %d = %+v", i, tr)
			}
		}
		if text, want := strings.Join(kinds, " "), "resolved hold_ended held firing"; text != want {
			t.Errorf("transitions: %s, want %s", text, want)
		}
		if len(got.Deliveries) != 8 || !slices.IsSortedFunc(got.Deliveries, func(a, b domain.Delivery) int { return b.CreatedAt.Compare(a.CreatedAt) }) {
			t.Errorf("deliveries = %+v", got.Deliveries)
		}
		if len(got.Attempts) != 5 || !slices.IsSortedFunc(got.Attempts, func(a, b domain.Attempt) int { return b.StartedAt.Compare(a.StartedAt) }) {
			t.Errorf("attempts = %+v", got.Attempts)
		}
		for _, d := range got.Deliveries {
			if d.Alert != id {
				t.Errorf("delivery of another alert: %+v", d)
			}
		}
		// The gap before the first transition, up to it, is a part of the story; the
		// one before that is not.
		var gaps []int
		for _, g := range got.Gaps {
			gaps = append(gaps, int(g.To.Sub(origin)/time.Second))
		}
		if !slices.Equal(gaps, []int{50, 0}) {
			t.Errorf("gaps end at %v", gaps)
		}
	})
}

func TestTimelineOfAForgottenAlert(t *testing.T) {
	w := newWorld(t)
	w.eval(0, down(), slow("p"))
	id := w.alert("p").ID
	w.eval(10)
	got, err := w.reader().Timeline(t.Context(), id)
	if err != nil || got.Alert != nil || len(got.Transitions) != 2 {
		t.Errorf("%+v, %v", got, err)
	}
}

// History is deleted while an alert goes on firing.
func TestTimelineOfAnAlertWhoseHistoryIsGone(t *testing.T) {
	w := newWorld(t)
	w.eval(0, down("a"))
	w.deliver("pager", delivered)
	w.deliver("chat", delivered)
	w.now = at(7200)
	if _, err := w.retain(time.Hour); err != nil {
		t.Fatal(err)
	}
	got, err := w.reader().Timeline(t.Context(), w.alert("a").ID)
	if err != nil || got.Alert == nil || len(got.Transitions)+len(got.Deliveries)+len(got.Attempts) != 0 {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestTimelineOfNothing(t *testing.T) {
	w := newWorld(t)
	w.eval(0, down("a"))
	got, err := w.reader().Timeline(t.Context(), "nobody")
	if !errors.Is(err, uow.ErrNotFound) || got.Alert != nil {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestOutboxCountsWhatIsNotDelivered(t *testing.T) {
	eachStore(t, func(t *testing.T, open func(t *testing.T) *world) {
		w := open(t)
		w.eval(0, down("a", "b"))
		w.deliver("pager", delivered)
		w.eval(10, down("a", "b", "c"))
		w.eval(20, down("b"))
		var held []outbox.Hold
		for _, m := range w.messages() {
			n := notification(t, m)
			if n.Destination != "chat" || n.Transition.Labels["instance"] != "a" {
				continue
			}
			state := outbox.Parked
			if len(held) > 0 {
				state = outbox.Waiting
			}
			held = append(held, outbox.Hold{Position: m.Position, Key: m.Key, State: state, Attempts: 3, Reason: "no"})
		}
		w.read("pager", w.end())
		w.read("chat", w.end(), held...)
		views, err := w.reader().Outbox(t.Context())
		if err != nil || len(views) != 2 {
			t.Fatal(views, err)
		}
		pager, chat := views[0], views[1]
		if pager.Destination != "pager" || pager.Undelivered != 3 || !pager.OldestAt.Equal(at(10)) || pager.Parked+pager.Waiting+pager.Retrying != 0 || len(pager.Held) != 0 {
			t.Errorf("pager = %+v", pager)
		}
		if chat.Destination != "chat" || chat.Undelivered != 5 || !chat.OldestAt.Equal(at(0)) || chat.Parked != 1 || chat.Waiting != 1 || chat.Retrying != 0 {
			t.Errorf("chat = %+v", chat)
		}
		if len(chat.Held) != 2 || chat.Held[0].State != outbox.Parked || chat.Held[0].Reason != "no" || notification(t, chat.Held[1].Message).Transition.Kind != domain.BecameResolved {
			t.Errorf("held = %+v", chat.Held)
		}
		w.deliver("pager", delivered)
		if views, err = w.reader().Outbox(t.Context()); err != nil || views[0].Undelivered != 0 || !views[0].OldestAt.IsZero() {
			t.Errorf("pager afterwards = %+v, %v", views[0], err)
		}
	})
}

func TestOutboxOfADestinationThatNobodyHasRead(t *testing.T) {
	w := newWorld(t)
	w.eval(0, down("a"))
	views, err := w.reader().Outbox(t.Context())
	if err != nil || len(views) != 2 || views[0].Undelivered != 1 || len(views[0].Held) != 0 {
		t.Errorf("%+v, %v", views, err)
	}
}

func TestAttemptsAreTheNewest(t *testing.T) {
	w := newWorld(t)
	for i := range 10 {
		w.put(domain.Attempt{ID: fmt.Sprint(i), StartedAt: at(i)})
	}
	for limit, want := range map[int]int{3: 3, 10: 10, 11: 10, 0: 10} {
		got, err := w.reader().Attempts(t.Context(), limit)
		if err != nil || len(got) != want || got[0].ID != "9" || got[len(got)-1].ID != fmt.Sprint(10-want) {
			t.Errorf("limit %d: %+v, %v", limit, got, err)
		}
	}
}

func TestEvaluationsAreByGroup(t *testing.T) {
	w := newWorld(t)
	w.eval(0, down("a"))
	w.group = groupNamed("h")
	w.eval(20, domain.Result{Err: errors.New("broken")})
	got, err := w.reader().Evaluations(t.Context())
	if err != nil || len(got) != 2 || !got["g"].Slot.Equal(at(0)) || got["h"].Rules["down"].LastError != "broken" {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestReadsReportAStoreThatFails(t *testing.T) {
	w := newWorld(t)
	w.eval(0, down("a"))
	id := w.alert("a").ID
	w.probe.inject(func(step string) error {
		if strings.HasPrefix(step, "before find") || strings.HasPrefix(step, "before get") {
			return errBroken
		}
		return nil
	})
	r := w.reader("am")
	for name, read := range map[string]func() error{
		"Alerts":      func() error { _, err := r.Alerts(t.Context()); return err },
		"Known":       func() error { _, err := r.Known(t.Context()); return err },
		"Timeline":    func() error { _, err := r.Timeline(t.Context(), id); return err },
		"Evaluations": func() error { _, err := r.Evaluations(t.Context()); return err },
		"Outbox":      func() error { _, err := r.Outbox(t.Context()); return err },
		"Attempts":    func() error { _, err := r.Attempts(t.Context(), 1); return err },
	} {
		if err := read(); !errors.Is(err, errBroken) {
			t.Errorf("%s: err = %v", name, err)
		}
	}
}
