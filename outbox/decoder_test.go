package outbox_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/memory"
	"github.com/uow-go/uow/outbox"
)

// moved was {"To": "Bern"} at first, then {"City": "Bern"}, and has a country since.
type moved struct{ City, Country string }

func (moved) EventVersion() int { return 2 }

func movedBefore() []uow.Upcaster {
	return []uow.Upcaster{
		func(doc map[string]json.RawMessage) error {
			to, ok := doc["To"]
			if !ok {
				return errors.New("it has no To")
			}
			doc["City"] = to
			delete(doc, "To")
			return nil
		},
		func(doc map[string]json.RawMessage) error {
			doc["Country"] = json.RawMessage(`"CH"`)
			return nil
		},
	}
}

func TestDecoderOfOldEvents(t *testing.T) {
	decode, err := outbox.Decoder(outbox.Versioned{Event: moved{}, Upcasters: movedBefore()})
	if err != nil {
		t.Fatal(err)
	}
	message := func(version, payload string) outbox.Message {
		m := outbox.Message{Type: "moved", Payload: []byte(payload)}
		if version != "" {
			m.Headers = map[string]string{uow.EventVersionHeader: version}
		}
		return m
	}
	for _, old := range []outbox.Message{
		message("", `{"To":"Bern"}`), message("0", `{"To":"Bern"}`), message("1", `{"City":"Bern"}`), message("2", `{"City":"Bern","Country":"CH"}`),
	} {
		got, err := decode(old)
		if want := (moved{"Bern", "CH"}); err != nil || got != want {
			t.Errorf("%v %s: got %v, %v, want %v", old.Headers, old.Payload, got, err, want)
		}
	}
	if _, err := decode(message("3", `{}`)); !errors.Is(err, outbox.ErrNewerEvent) {
		t.Errorf("a newer version: got %v, want ErrNewerEvent", err)
	}
	for says, m := range map[string]outbox.Message{
		"no version": message("one", `{}`), "from version 0 to 1: it has no To": message("", `{}`), "unexpected end": message("", `{"To":`),
		"invalid character": message("2", `x`),
	} {
		if _, err := decode(m); err == nil || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), "event moved") {
			t.Errorf("%v %s: got %v, want an error that says %q", m.Headers, m.Payload, err, says)
		}
	}
	if got, err := decode(outbox.Message{Type: "stranger"}); got != nil || err != nil {
		t.Errorf("a type without an example: got %v, %v, want nothing", got, err)
	}
}

func TestDecoderIsChecked(t *testing.T) {
	for name, example := range map[string]any{
		"no upcasters":  moved{},
		"too few":       outbox.Versioned{Event: &moved{}, Upcasters: movedBefore()[:1]},
		"too many":      outbox.Versioned{Event: struct2{}, Upcasters: movedBefore()},
		"without names": map[string]int{},
	} {
		if _, err := outbox.Decoder(example); err == nil {
			t.Errorf("%s: there is no error", name)
		}
	}
}

type struct2 struct{}

// mover records events.
type mover struct {
	uow.Events
	ID string
}

// What a program records tells its version, and what another one decodes is the same.
func TestVersionsOfEventsTravel(t *testing.T) {
	movers := uow.NewCollection[mover]("movers")
	db, err := memory.Open(t.Context(), uow.Config{Collections: []uow.AnyCollection{movers}})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	err = db.WithHeaders(map[string]string{"tenant": "acme"}).Do(t.Context(), func(_ context.Context, u *uow.Unit) error {
		m := &mover{ID: "m"}
		m.Record(&moved{"Bern", "CH"})
		m.Record(struct2{})
		return movers.In(u).Add(m)
	})
	if err != nil {
		t.Fatal(err)
	}
	log, err := outbox.Of(db)
	if err != nil {
		t.Fatal(err)
	}
	messages, _, err := log.Scan(t.Context(), outbox.Query{Limit: 10})
	if err != nil || len(messages) != 2 {
		t.Fatal(messages, err)
	}
	want := map[string]string{"content-type": "application/json", "tenant": "acme", uow.EventVersionHeader: "2"}
	if !reflect.DeepEqual(messages[0].Headers, want) {
		t.Errorf("headers %v, want %v", messages[0].Headers, want)
	}
	delete(want, uow.EventVersionHeader)
	if !reflect.DeepEqual(messages[1].Headers, want) {
		t.Errorf("without a version: headers %v, want %v", messages[1].Headers, want)
	}
	decode, err := outbox.Decoder(outbox.Versioned{Event: &moved{}, Upcasters: movedBefore()})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := decode(messages[0]); err != nil || fmt.Sprint(got) != fmt.Sprint(&moved{"Bern", "CH"}) {
		t.Errorf("got %v, %v", got, err)
	}
}
