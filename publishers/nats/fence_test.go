package nats_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/uow-go/uow/outbox"
	"github.com/uow-go/uow/publishers/nats"
	"github.com/uow-go/uow/relay"
)

// TestP21_PausedPublisherIsFenced lets a second publisher take over, as a relay does when
// the lease of the first has expired, and then the first one wake up.
func TestP21_PausedPublisherIsFenced(t *testing.T) {
	s := embeddedServer(t)
	js := connect(t, "", s.InProcess())
	for _, atomic := range []bool{true, false} {
		t.Run(fmt.Sprint("atomic ", atomic), func(t *testing.T) {
			name := newStream(t, js, func(c *jetstream.StreamConfig) { c.AllowAtomicPublish = atomic })
			open := func() *nats.Publisher {
				cfg := config(name, s.Address())
				cfg.Fence = true
				p, err := nats.New(t.Context(), cfg)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = p.Close() })
				return p
			}
			paused, next := open(), open()
			publish := func(p *nats.Publisher, want relay.Outcome, fenced bool, first, n int) {
				t.Helper()
				var batch []outbox.Message
				for i := range n {
					batch = append(batch, outbox.Message{ID: fmt.Sprint("m", first+i), Topic: "t", Key: fmt.Sprint("k", i%3), Type: "T", Payload: []byte("x")})
				}
				for i, r := range p.Publish(t.Context(), batch) {
					if r.Outcome != want || errors.Is(r.Err, nats.ErrFenced) != fenced {
						t.Errorf("%s is %v (%v), want %v, fenced %v", batch[i].ID, r.Outcome, r.Err, want, fenced)
					}
				}
			}
			publish(paused, relay.Stored, false, 0, 5)
			publish(next, relay.Unavailable, true, 5, 5) // it does not know of the five yet
			publish(next, relay.Unavailable, false, 5, 5)
			publish(next, relay.Duplicate, false, 0, 1)
			publish(next, relay.Stored, false, 5, 5)
			publish(paused, relay.Unavailable, true, 10, 3)
			publish(next, relay.Stored, false, 10, 1)
			all, err := stored(t.Context(), js, name)
			var ids, want []string
			for i, m := range all {
				ids, want = append(ids, m.ID), append(want, fmt.Sprint("m", i))
			}
			if err != nil || len(ids) != 11 || !slices.Equal(ids, want) {
				t.Errorf("the stream has %v (%v)", ids, err)
			}
		})
	}
}

// Messages that the stream knows already, or does not take, are passed by those behind
// them, in the order of the batch.
func TestFencePassesWhatIsNotStored(t *testing.T) {
	s := embeddedServer(t)
	js := connect(t, "", s.InProcess())
	name := newStream(t, js, func(c *jetstream.StreamConfig) { c.MaxMsgSize = 2000 })
	cfg := config(name, s.Address())
	cfg.Fence, cfg.Concurrency = true, 4
	p, err := nats.New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	var batch []outbox.Message
	var want []relay.Outcome
	for i := range 20 {
		m := outbox.Message{ID: fmt.Sprint("m", i), Topic: "t", Key: fmt.Sprint("k", i), Type: "T", Payload: []byte("x")}
		outcome := relay.Stored
		switch i % 5 {
		case 1:
			m.Payload, outcome = make([]byte, 3000), relay.Refused
		case 3:
			m.ID, outcome = "m0", relay.Duplicate
		}
		batch, want = append(batch, m), append(want, outcome)
	}
	var got []relay.Outcome
	for _, r := range p.Publish(t.Context(), batch) {
		got = append(got, r.Outcome)
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	all, err := stored(t.Context(), js, name)
	var ids []string
	for _, m := range all {
		ids = append(ids, m.ID)
	}
	if order := []string{"m0", "m2", "m4", "m5", "m7", "m9", "m10", "m12", "m14", "m15", "m17", "m19"}; err != nil || !slices.Equal(ids, order) {
		t.Errorf("the stream has %v (%v), want %v", ids, err, order)
	}
}
