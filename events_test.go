package uow_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/memory"
	"github.com/uow-go/uow/outbox"
)

type named struct{}

func (named) EventType() string { return "note.named" }

func TestEventsOfManyAggregatesKeepTheirOrder(t *testing.T) {
	d := newDesk(t, uow.Config{})
	d.add("a", "b")
	d.do(func(ctx context.Context, _ *uow.Unit, notes *uow.Repository[note]) error {
		b, err := notes.Get(ctx, "b")
		if err != nil {
			return err
		}
		a, err := notes.Get(ctx, "a")
		if err != nil {
			return err
		}
		n := &note{ID: "n"}
		n.write("1, before it was added")
		b.write("2, although b comes after a")
		if err := notes.Add(n); err != nil {
			return err
		}
		a.write("3")
		n.write("4")
		b.write("5")
		return notes.Remove(b)
	})
	want := []string{
		`{"Text":"2, although b comes after a"} notes/b 1`, `{"Text":"1, before it was added"} notes/n 1`,
		`{"Text":"3"} notes/a 1`, `{"Text":"4"} notes/n 2`, `{"Text":"5"} notes/b 2`,
	}
	for i, m := range d.log() {
		if got := fmt.Sprint(string(m.Payload), " ", m.Key, " ", m.Sequence); got != want[i] {
			t.Errorf("message %d is %s, want %s", i, got, want[i])
		}
	}
	if n := len(d.log()); n != len(want) {
		t.Errorf("there are %d messages, want %d", n, len(want))
	}
}

func TestEventTypes(t *testing.T) {
	d := newDesk(t, uow.Config{})
	d.do(func(_ context.Context, _ *uow.Unit, notes *uow.Repository[note]) error {
		n := &note{ID: "n"}
		n.Record(written{})
		n.Record(&written{})
		n.Record(named{})
		n.Record(&named{})
		return notes.Add(n)
	})
	for i, want := range []string{"written", "written", "note.named", "note.named"} {
		if got := d.log()[i].Type; got != want {
			t.Errorf("event %d has the type %s, want %s", i, got, want)
		}
	}
}

func TestEventsThatCanNotBeStored(t *testing.T) {
	for says, event := range map[string]any{
		"has no name":       struct{ X int }{},
		"<nil> has no name": nil,
		"event unencodable": unencodable{},
	} {
		d := newDesk(t, uow.Config{})
		err := d.try(func(_ context.Context, _ *uow.Unit, notes *uow.Repository[note]) error {
			n := &note{ID: "n"}
			err := notes.Add(n)
			n.Record(event)
			return err
		})
		wantError(t, err, nil, says)
		if got := d.log(); len(got) != 0 {
			t.Errorf("%s: there are messages: %v", says, got)
		}
	}
}

type unencodable struct{ F func() }

func TestEventsOfWhatNeverExisted(t *testing.T) {
	d := newDesk(t, uow.Config{})
	d.do(func(ctx context.Context, u *uow.Unit, notes *uow.Repository[note]) error {
		n := &note{ID: "n"}
		n.write("of what is removed before it is stored")
		if err := errors.Join(notes.Add(n), notes.Remove(n), u.Flush(ctx)); err != nil {
			return err
		}
		again := &note{ID: "n"}
		again.write("real")
		return notes.Add(again)
	})
	if got := d.log(); len(got) != 1 || got[0].Sequence != 1 || string(got[0].Payload) != `{"Text":"real"}` {
		t.Errorf("got %v, want the one event of the note that exists, with sequence 1", got)
	}
	d.do(func(ctx context.Context, _ *uow.Unit, notes *uow.Repository[note]) error {
		n, err := notes.Get(ctx, "n")
		if err == nil {
			n.write("next")
		}
		return err
	})
	if got := d.log(); len(got) != 2 || got[1].Sequence != 2 {
		t.Errorf("got %v, want the next event with sequence 2", got)
	}
}

// keeper records events without embedding.
type keeper struct {
	ID     string
	events uow.Events
}

func (k *keeper) RecordedEvents() *uow.Events { return &k.events }

func TestRecorderThatDoesNotEmbed(t *testing.T) {
	keepers := uow.NewCollection[keeper]("keepers")
	db, err := memory.Open(t.Context(), uow.Config{Collections: []uow.AnyCollection{keepers}})
	if err != nil {
		t.Fatal(err)
	}
	d := &desk{T: t, db: db}
	err = db.Do(t.Context(), func(_ context.Context, u *uow.Unit) error {
		k := &keeper{ID: "k"}
		k.events.Record(written{Text: "x"})
		return keepers.In(u).Add(k)
	})
	if got := d.log(); err != nil || len(got) != 1 || got[0].Key != "keepers/k" {
		t.Errorf("got %v, %v, want the event", got, err)
	}
}

func TestEventIsRecordedOnceThoughItIsFlushed(t *testing.T) {
	d := newDesk(t, uow.Config{})
	d.do(func(ctx context.Context, u *uow.Unit, notes *uow.Repository[note]) error {
		n := &note{ID: "n"}
		n.write("1")
		err := errors.Join(notes.Add(n), u.Flush(ctx))
		n.write("2")
		return errors.Join(err, u.Flush(ctx), u.Flush(ctx))
	})
	if got, want := d.payloads(), `{"Text":"1"} {"Text":"2"}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestAppendDemandsAType(t *testing.T) {
	d := newDesk(t, uow.Config{})
	err := d.try(func(_ context.Context, u *uow.Unit, _ *uow.Repository[note]) error {
		err := outbox.Append(u, outbox.Message{Type: "t"}, outbox.Message{Topic: "x"})
		if err == nil || err.Error() != "outbox: message 2 of 2 has no Type" {
			t.Errorf("got %v, want an error that names the message", err)
		}
		return outbox.Append(u)
	})
	if got := d.log(); err != nil || len(got) != 0 {
		t.Errorf("got %v, %v, want no message", got, err)
	}
	d.fail(&failing{})
	if _, err := outbox.Of(d.db); !errors.Is(err, outbox.ErrUnsupported) {
		t.Errorf("a store that is no log: got %v, want ErrUnsupported", err)
	}
}

func TestHeadersOfUnits(t *testing.T) {
	d := newDesk(t, uow.Config{})
	own := map[string]string{"tenant": "of the message"}
	db := d.db.WithHeaders(map[string]string{"tenant": "acme", "region": "eu"}).With(uow.UnitOptions{Name: "n"}).
		WithHeaders(map[string]string{"region": "us"})
	err := db.Do(t.Context(), func(_ context.Context, u *uow.Unit) error {
		n := &note{ID: "n"}
		n.write("text")
		return errors.Join(d.notes.In(u).Add(n),
			outbox.Append(u, outbox.Message{Type: "Plain"}, outbox.Message{Type: "Own", Headers: own}))
	})
	if err != nil {
		t.Fatal(err)
	}
	d.add("without")
	var got []string
	for _, m := range d.log() {
		got = append(got, fmt.Sprint(m.Type, m.Headers))
	}
	want := []string{
		"written" + fmt.Sprint(map[string]string{"tenant": "acme", "region": "us", "content-type": "application/json"}),
		"Plain" + fmt.Sprint(map[string]string{"tenant": "acme", "region": "us"}),
		"Own" + fmt.Sprint(map[string]string{"tenant": "of the message", "region": "us"}),
	}
	if !slices.Equal(got[:len(want)], want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if len(own) != 1 {
		t.Errorf("the caller's map was changed: %v", own)
	}
}

func TestPayloadsThatAreTooLarge(t *testing.T) {
	if _, err := memory.Open(t.Context(), uow.Config{MaxPayload: -1}); !errors.Is(err, uow.ErrConfig) {
		t.Errorf("a negative limit: got %v, want ErrConfig", err)
	}
	d := newDesk(t, uow.Config{MaxPayload: 20})
	fits, over := make([]byte, 20), make([]byte, 21)
	err := d.db.Do(t.Context(), func(_ context.Context, u *uow.Unit) error {
		err := outbox.Append(u, outbox.Message{Type: "First", Payload: fits}, outbox.Message{Type: "Big", Payload: over})
		if !errors.Is(err, uow.ErrTooLarge) || !strings.Contains(err.Error(), "2 of 2, of type Big: the payload has 21 bytes") || !strings.Contains(err.Error(), "is 20") {
			t.Errorf("got %v, want ErrTooLarge that names the message, its size and the limit", err)
		}
		return outbox.Append(u, outbox.Message{Type: "Alone", Payload: fits})
	})
	if err != nil {
		t.Fatal(err)
	}
	err = d.db.Do(t.Context(), func(_ context.Context, u *uow.Unit) error {
		n := &note{ID: "n"}
		n.write("a text of more than twenty bytes")
		return d.notes.In(u).Add(n)
	})
	if !errors.Is(err, uow.ErrTooLarge) || !strings.Contains(err.Error(), "notes/n") {
		t.Errorf("an event: got %v, want ErrTooLarge that names the aggregate", err)
	}
	if log := d.log(); len(log) != 1 || log[0].Type != "Alone" {
		t.Errorf("the log has %v, want the message that was appended alone", log)
	}
}
