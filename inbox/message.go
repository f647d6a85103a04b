package inbox

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/url"
	"time"

	"github.com/uow-go/uow/outbox"
)

// Message is what the inbox must know of a message, whichever broker brings it.
type Message struct {
	// Source says who gave the ID: two messages with the same ID and different
	// sources are two messages. It may be empty where there is one source only.
	Source string
	// ID is the same in each delivery of the message. Required.
	ID string
	// Stream and Sequence are the message's place: Sequence counts the messages of
	// the Stream, from 1 on and without gaps. They are for Config.Order; a message
	// without them (Stream "" or Sequence 0) is in no order.
	Stream   string
	Sequence int64
	// Time is when the message was created, the same in each delivery, with
	// microseconds. It is needed to refuse a message whose mark has been deleted
	// (ErrTooOld); without it such a message is handled again.
	Time time.Time
	// Correlation is the id of what set off all this, a request as a rule. Default: ID.
	// The messages that the handling appends have it as their header "correlationid",
	// and ID as "causationid".
	Correlation string
}

// The headers by which a message tells where it comes from. They are those of
// CloudEvents' extension Correlation.
const (
	CorrelationHeader = "correlationid"
	CausationHeader   = "causationid"
)

// headers are those of the messages that the handling of this one appends.
func (m Message) headers() map[string]string {
	correlation := m.Correlation
	if correlation == "" {
		correlation = m.ID
	}
	return map[string]string{CorrelationHeader: correlation, CausationHeader: m.ID}
}

// FromOutbox returns what the inbox must know of a message of an outbox. The source
// is a name for the database that the outbox is in. The stream is that of the
// aggregate that recorded the event.
func FromOutbox(source string, m outbox.Message) Message {
	in := Message{Source: source, ID: m.ID, Time: m.CreatedAt, Correlation: m.Headers[CorrelationHeader]}
	if m.Sequence > 0 {
		in.Stream, in.Sequence = m.AggregateType+"/"+m.AggregateID, m.Sequence
	}
	return in
}

// checked returns the message as it is kept.
func (m Message) checked() (Message, error) {
	invalid := func(what string) (Message, error) {
		return m, fmt.Errorf("%w: message %q of %q: %s", ErrInvalid, m.ID, m.Source, what)
	}
	if m.ID == "" {
		return invalid("it has no ID")
	}
	if m.Sequence < 0 {
		return invalid("its sequence is negative")
	}
	if m.Time.IsZero() {
		return m, nil
	}
	m.Time = m.Time.UTC().Truncate(time.Microsecond)
	if y := m.Time.Year(); y < 1 || y > 9999 {
		return invalid("the year of its time is not one of four digits")
	}
	return m, nil
}

// ordered reports whether the message has a place in a stream.
func (m Message) ordered() bool { return m.Stream != "" && m.Sequence > 0 }

// maxKey is how long keys may be: every store takes ids of 255 characters.
const maxKey = 250

// The kinds of keys. What is longer than maxKey, or is no text that every store takes,
// is escaped or hashed, so that hostile ids are ids as any other.
const (
	markKind   = "/m/"
	streamKind = "/s/"
)

// key returns the id of a record: consumer/kind/source/name.
func key(consumer, kind, source, name string) string {
	k := consumer + kind + url.PathEscape(source) + "/" + url.PathEscape(name)
	if len(k) <= maxKey {
		return k
	}
	sum := sha256.Sum256([]byte(k))
	return consumer + kind + "sha256-" + hex.EncodeToString(sum[:]) // has no slash more, as others have
}
