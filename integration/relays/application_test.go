package relays_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/outbox"
)

// counter is a row that an application counts up: each number that it ever had is a
// message, which is appended by the same unit, and an event.
type counter struct {
	uow.Events
	ID string
	N  int
}

// counted is the event, whose payload is the number as that of the message is.
type counted int

// streamOf is the key of a counter's events.
func streamOf(counter string) string { return "counters/" + counter }

func newCounters() *uow.Collection[counter] { return uow.NewCollection[counter]("counters") }

const (
	// applications is how many there are, each with keys of its own.
	applications = 3
	// keys is how many keys an application has.
	keys = 4
	// ahead is how many units an application may be ahead of what has arrived: in the
	// end a relay that does not get on stops it.
	ahead = 3
)

func keyOf(application, k int) string { return fmt.Sprintf("key %d of %d", k, application) }

// beApplication is what a child does, until it is told to stop: each unit counts all of
// its keys up, records an event and appends a message of each, and one without a key.
func beApplication(args []string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	counters := newCounters()
	db, err := open(ctx, args[0], args[1], counters)
	if err != nil {
		return err
	}
	defer db.Close()
	me, err := strconv.Atoi(args[3])
	if err != nil {
		return err
	}
	n := 0
	for {
		if err := room(ctx, args[2], me, n); ctx.Err() != nil {
			return nil
		} else if err != nil {
			return err
		}
		// A relay that is stopped while it writes keeps SQLite's lock.
		counted, err := count(context.WithoutCancel(ctx), db, counters, me)
		if err != nil && !errors.Is(err, uow.ErrRetryable) {
			return err
		}
		n = max(n, counted)
		pause(ctx, 5*time.Millisecond)
	}
}

// count is one unit of an application.
func count(ctx context.Context, db *uow.DB, counters *uow.Collection[counter], me int) (n int, err error) {
	err = db.Do(ctx, func(ctx context.Context, u *uow.Unit) error {
		messages := []outbox.Message{{Type: "t", Payload: []byte("0")}}
		for k := range keys {
			c, err := counters.In(u).Get(ctx, keyOf(me, k))
			if errors.Is(err, uow.ErrNotFound) {
				c = &counter{ID: keyOf(me, k)}
				err = counters.In(u).Add(c)
			}
			if err != nil {
				return err
			}
			c.N++
			n = c.N
			c.Record(counted(n))
			messages = append(messages, outbox.Message{Type: "t", Key: c.ID, Payload: strconv.AppendInt(nil, int64(n), 10)})
		}
		return outbox.Append(u, messages...)
	})
	if err != nil {
		return 0, err
	}
	return n, nil
}

// room asks the receiver, which answers when so many units are not too far ahead.
func room(ctx context.Context, url string, me, n int) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("%s/?application=%d&n=%d", url, me, n), http.NoBody)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	return response.Body.Close()
}
