package uow

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"time"

	"github.com/uow-go/uow/driver"
)

// Message is an entry of the outbox; package outbox says what its fields mean.
type Message = driver.Message

// Events is what an aggregate embeds to record domain events:
//
//	type Account struct {
//		uow.Events
//		ID      string
//		Balance int
//	}
//
//	func (a *Account) Withdraw(n int) {
//		a.Balance -= n
//		a.Record(Withdrawn{Amount: n})
//	}
//
// Its zero value is ready. It adds nothing to the aggregate's JSON. The events
// are stored with the aggregate by the commit of its unit, in the order in which
// the unit's aggregates recorded them; a rollback forgets them.
type Events struct {
	pending []any
	unit    *Unit
	source  *node
}

// Record adds a domain event: any value that JSON can encode. Its type name is
// what its method EventType() string returns, else the name of its Go type.
func (e *Events) Record(event any) {
	if e.unit != nil {
		e.unit.record(e.source, event)
		return
	}
	e.pending = append(e.pending, event)
}

// RecordedEvents makes an aggregate that embeds Events a Recorder.
func (e *Events) RecordedEvents() *Events { return e }

// Recorder is an aggregate that records events. Embedding Events is the usual
// way to be one; a type that must not embed it can keep an Events elsewhere.
type Recorder interface {
	RecordedEvents() *Events
}

// attach lets a unit, which is in an operation, have the events of an aggregate.
func (e *Events) attach(u *Unit, source *node) {
	pending := e.pending
	e.pending, e.unit, e.source = nil, u, source
	for _, event := range pending {
		u.recordLocked(source, event)
	}
}

// follow sends the events to come to the unit, and forgets those that are pending.
func (e *Events) follow(u *Unit, source *node) {
	e.pending, e.unit, e.source = nil, u, source
}

func (e *Events) detach() { *e = Events{} }

// Event is a recorded domain event, as a projection gets it.
type Event struct {
	// AggregateType is the name of the aggregate's collection.
	AggregateType string
	AggregateID   string
	// Type is the event's type name.
	Type string
	// At is the unit's time.
	At time.Time
	// Value is what was given to Record.
	Value any
}

// pendingMessage is a recorded event, or a message appended by hand, that waits
// for the next flush.
type pendingMessage struct {
	source  *node // nil when appended by hand
	event   any
	message *Message // of an event, nil
}

// EventType returns the type name that an event has in its message: what its method
// EventType() string returns, else the name of its Go type.
func EventType(event any) (string, error) {
	if named, ok := event.(interface{ EventType() string }); ok {
		return named.EventType(), nil
	}
	t := reflect.TypeOf(event)
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t == nil || t.Name() == "" {
		return "", fmt.Errorf("uow: event of type %T has no name: give it a method EventType() string", event)
	}
	return t.Name(), nil
}

// EventVersionHeader is the header that tells in which version an event was recorded. An
// event without it has version 0.
const EventVersionHeader = "eventversion"

// EventVersion returns the version that an event has in its message: what its method
// EventVersion() int returns, else 0. Raise it when the payload changes in a way that old
// consumers, or new ones that read old events, must know of; outbox.Decoder brings old
// events to the version of today.
func EventVersion(event any) int {
	if versioned, ok := event.(interface{ EventVersion() int }); ok {
		return max(versioned.EventVersion(), 0)
	}
	return 0
}

// encode makes the message. The place of an event in its stream is given when the
// writes are known.
func (p *pendingMessage) encode(u *Unit, m *Message) error {
	if p.source == nil {
		*m = *p.message
		if len(u.db.headers) > 0 {
			m.Headers = withHeaders(m.Headers, u.db.headers)
		}
		return nil
	}
	name, err := EventType(p.event)
	if err != nil {
		return err
	}
	payload, err := json.Marshal(p.event)
	if err != nil {
		return fmt.Errorf("uow: event %s of %s/%s: %w", name, p.source.collection, p.source.id, err)
	}
	if err := u.db.fits(payload); err != nil {
		return fmt.Errorf("uow: event %s of %s/%s: %w", name, p.source.collection, p.source.id, err)
	}
	*m = Message{
		ID:            newID(u.now),
		Topic:         p.source.collection,
		Key:           p.source.collection + "/" + p.source.id,
		Type:          name,
		AggregateType: p.source.collection,
		AggregateID:   p.source.id,
		Payload:       payload,
		Headers:       u.db.jsonHeaders,
		CreatedAt:     u.now,
	}
	if version := EventVersion(p.event); version > 0 {
		m.Headers = withHeaders(map[string]string{EventVersionHeader: strconv.Itoa(version)}, m.Headers)
	}
	return nil
}

// fits returns an error for a payload that is too large.
func (db *DB) fits(payload []byte) error {
	if limit := db.cfg.MaxPayload; limit > 0 && len(payload) > limit {
		return fmt.Errorf("the payload has %d bytes: %w, which is %d", len(payload), ErrTooLarge, limit)
	}
	return nil
}

// contentJSON are the headers of events.
func contentJSON() map[string]string {
	return map[string]string{"content-type": "application/json"}
}
