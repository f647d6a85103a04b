package inbox_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/inbox"
)

// deliveries are those that an observer was told of.
type deliveries struct {
	mu   sync.Mutex
	list []string
}

func (d *deliveries) Handled(_ context.Context, one inbox.Delivery) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.list = append(d.list, fmt.Sprint(one.Consumer, " ", one.Message.ID, " ", one.Outcome(), " ", one.Receipt.Gap, " ", one.Duration >= 0))
}

func TestObserver(t *testing.T) {
	w, seen := newWorld(t, nil), &deliveries{}
	in := w.inbox(inbox.Config{Consumer: "c", Order: inbox.RefuseDisorder, Observer: seen})
	broken := errors.New("broken")
	for _, d := range []struct {
		m   inbox.Message
		err error
	}{
		{inbox.Message{}, nil},
		{inbox.Message{ID: "1", Stream: "s", Sequence: 1}, nil},
		{inbox.Message{ID: "1", Stream: "s", Sequence: 1}, nil},
		{inbox.Message{ID: "3", Stream: "s", Sequence: 3}, nil},
		{inbox.Message{ID: "0", Stream: "s", Sequence: 1}, nil},
		{inbox.Message{ID: "x"}, broken},
	} {
		_, _ = in.Handle(t.Context(), d.m, func(context.Context, *uow.Unit) error { return d.err })
	}
	func() {
		defer func() { _ = recover() }()
		_, _ = in.Handle(t.Context(), inbox.Message{ID: "y"}, func(context.Context, *uow.Unit) error { panic("of the handler") })
	}()
	want := []string{"c  invalid {0 0} true", "c 1 handled {0 0} true", "c 1 duplicate {0 0} true", "c 3 gap {0 0} true", "c 0 late {0 0} true", "c x failed {0 0} true", "c y failed {0 0} true"}
	if !slices.Equal(seen.list, want) {
		t.Errorf("got %q, want %q", seen.list, want)
	}
}
