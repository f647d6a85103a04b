package inbox_test

import (
	"context"
	"fmt"
	"reflect"
	"testing"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/inbox"
	"github.com/uow-go/uow/outbox"
)

// What a handler appends and records tells what it comes from.
func TestCausation(t *testing.T) {
	w := newWorld(t, nil)
	in := w.inbox(inbox.Config{Consumer: "c"})
	log, err := outbox.Of(w.db)
	if err != nil {
		t.Fatal(err)
	}
	last := func() outbox.Message {
		t.Helper()
		messages, _, err := log.Scan(t.Context(), outbox.Query{Limit: 10})
		if err != nil {
			t.Fatal(err)
		}
		return messages[len(messages)-1]
	}
	next := inbox.Message{ID: "request"}
	for step, want := range []map[string]string{
		{inbox.CausationHeader: "request", inbox.CorrelationHeader: "request"},
		{inbox.CausationHeader: "answer 0", inbox.CorrelationHeader: "request"},
		{inbox.CausationHeader: "answer 1", inbox.CorrelationHeader: "request"},
	} {
		_, err := in.Handle(t.Context(), next, func(_ context.Context, u *uow.Unit) error {
			return outbox.Append(u, outbox.Message{ID: fmt.Sprint("answer ", step), Type: "Answer"})
		})
		if err != nil {
			t.Fatal(err)
		}
		if got := last().Headers; !reflect.DeepEqual(got, want) {
			t.Errorf("step %d: headers %v, want %v", step, got, want)
		}
		next = inbox.FromOutbox("", last())
	}
}
