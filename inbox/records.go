package inbox

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/uow-go/uow"
)

// Records are what inboxes keep in a database: the marks of messages that were
// handled, the places of streams, and how far each consumer has forgotten. They are one
// collection, "inbox_records", which is kept by units as any other, so that every store
// has inboxes.
//
// A program makes them once, lists their Collections in uow.Config, and gives them to
// its inboxes. They may be used with many databases and from many goroutines.
type Records struct{ all *uow.Collection[record] }

// NewRecords makes the records of a program.
func NewRecords() *Records {
	return &Records{all: uow.Define(uow.CollectionConfig[record]{
		Name: "inbox_records",
		Indexes: []uow.Index[record]{
			{Name: "kept", Kind: uow.String, Value: func(r *record) any { return r.kept() }},
		},
		Disposable: true,
	})}
}

// Collections returns what is to be listed in uow.Config.Collections.
func (r *Records) Collections() []uow.AnyCollection { return []uow.AnyCollection{r.all} }

// record is one of three, so that a delivery asks the database once for all that it
// must know.
type record struct {
	ID       string
	Mark     *Mark          `json:",omitempty"`
	Stream   *place         `json:",omitempty"`
	Consumer *consumerState `json:",omitempty"`
}

// Mark says that a consumer has handled a message.
type Mark struct {
	Consumer string
	Message  Message
	// HandledAt is the time of the unit that handled the message, and Unit its id.
	HandledAt time.Time
	Unit      string
	// Result is what HandleResult has kept; nil for none.
	Result json.RawMessage `json:",omitempty"`
}

// mark returns the mark of a record that must be one.
func (r *record) mark() (*Mark, error) {
	if r.Mark == nil {
		return nil, fmt.Errorf("inbox: the record %q is no mark", r.ID)
	}
	return r.Mark, nil
}

// place is how far a consumer has come in a stream.
type place struct {
	Source, Stream string
	Last           int64
}

// consumerState is what a consumer has forgotten.
type consumerState struct {
	// Forgotten is the time of the newest message whose mark was deleted.
	Forgotten time.Time
	// Trims counts them, so that of two at once one fails.
	Trims int64
}

// kept is the order of marks: by consumer, and then by the time from which on they are
// kept for the horizon; nil for other records.
func (r *record) kept() any {
	if r.Mark == nil {
		return nil
	}
	from := r.Mark.HandledAt
	if created := r.Mark.Message.Time; created.After(from) { // by another clock
		from = created
	}
	return keptFrom(r.Mark.Consumer, from)
}

// keptFrom sorts as text, as long as years have four digits.
func keptFrom(consumer string, from time.Time) string {
	return consumer + " " + from.UTC().Format("2006-01-02T15:04:05.000000Z")
}
