package outbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strconv"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/internal/upcast"
)

// ErrNewerEvent is returned for an event that was recorded by a newer program than the
// one that decodes it, which must not guess what it means: handle it again later.
var ErrNewerEvent = errors.New("outbox: the event is of a newer version")

// Versioned is an example for Decoder of a type of events that has changed over time.
type Versioned struct {
	// Event is an example of the type as it is today.
	Event any
	// Upcasters bring payloads from each version to the next: the first one from
	// version 0, which is that of events without a method EventVersion() int. There are
	// as many as that method returns.
	Upcasters []uow.Upcaster
}

// Decoder returns a function that decodes JSON payloads of events into the types of the
// examples, as they are: Decoder(Opened{}, &Withdrawn{}) makes an Opened and a *Withdrawn.
// Of types that no example has it returns nil. It is for consumers, and for
// Rebuild.Decode. Payloads of older versions are upcast (Versioned), those of newer ones
// are ErrNewerEvent; which version an event was recorded in its message tells by the
// header uow.EventVersionHeader.
func Decoder(examples ...any) (func(m Message) (any, error), error) {
	types := make(map[string]eventType, len(examples))
	for _, example := range examples {
		t, err := newEventType(example)
		if err != nil {
			return nil, fmt.Errorf("outbox: decoder: %w", err)
		}
		types[t.name] = t
	}
	return func(m Message) (any, error) {
		t, ok := types[m.Type]
		if !ok {
			return nil, nil
		}
		return t.decode(m)
	}, nil
}

// eventType is a type of events, as it is today.
type eventType struct {
	name      string
	kind      reflect.Type
	upcasters []uow.Upcaster
}

func newEventType(example any) (t eventType, err error) {
	if versioned, ok := example.(Versioned); ok {
		example, t.upcasters = versioned.Event, versioned.Upcasters
	}
	if t.name, err = uow.EventType(example); err != nil {
		return t, err
	}
	t.kind = reflect.TypeOf(example)
	if version := uow.EventVersion(example); version != len(t.upcasters) {
		return t, fmt.Errorf("%w: event %s has version %d and %d upcasters", uow.ErrConfig, t.name, version, len(t.upcasters))
	}
	return t, nil
}

func (t eventType) decode(m Message) (any, error) {
	payload, err := t.upcast(m)
	if err != nil {
		return nil, fmt.Errorf("outbox: event %s: %w", m.Type, err)
	}
	kind := t.kind
	if kind.Kind() == reflect.Pointer {
		kind = kind.Elem()
	}
	event := reflect.New(kind)
	if err := json.Unmarshal(payload, event.Interface()); err != nil {
		return nil, fmt.Errorf("outbox: event %s: %w", m.Type, err)
	}
	if kind == t.kind {
		event = event.Elem()
	}
	return event.Interface(), nil
}

// upcast returns the payload as it would be recorded today.
func (t eventType) upcast(m Message) ([]byte, error) {
	version := 0
	if text, ok := m.Headers[uow.EventVersionHeader]; ok {
		var err error
		if version, err = strconv.Atoi(text); err != nil || version < 0 {
			return nil, fmt.Errorf("its header %s is %q, which is no version", uow.EventVersionHeader, text)
		}
	}
	if version > len(t.upcasters) {
		return nil, fmt.Errorf("%w: %d, and this program knows %d", ErrNewerEvent, version, len(t.upcasters))
	}
	if version == len(t.upcasters) {
		return m.Payload, nil
	}
	var doc map[string]json.RawMessage
	if err := json.Unmarshal(m.Payload, &doc); err != nil {
		return nil, err
	}
	if err := upcast.Document(doc, version, t.upcasters); err != nil {
		return nil, err
	}
	return json.Marshal(doc)
}
