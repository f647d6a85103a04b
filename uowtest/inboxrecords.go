package uowtest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/inbox"
)

// The checks of what an inbox remembers.

func gapsAndReorders(k *kit) {
	number := func(stream string, n int64) inbox.Message {
		return inbox.Message{Source: "s", ID: fmt.Sprint(stream, n), Stream: stream, Sequence: n}
	}
	report := k.consumer(k.db, k.records, inbox.Config{Consumer: "reports", Order: inbox.ReportDisorder})
	for _, step := range []struct {
		sequence int64
		gap      inbox.Gap
		late     bool
	}{{7, inbox.Gap{}, false}, {8, inbox.Gap{}, false}, {11, inbox.Gap{From: 9, To: 10}, false}, {9, inbox.Gap{}, true}, {12, inbox.Gap{}, false}} {
		r := report.handled(number("x", step.sequence), noEffect)
		if r.Gap != step.gap || r.Late != step.late {
			k.broken("message %d should have the gap %v, and be late: %v; got %v, %v", step.sequence, step.gap, step.late, r.Gap, r.Late)
		}
		report.duplicate(number("x", step.sequence))
	}
	if r := report.handled(number("y", 3), noEffect); r.Gap != (inbox.Gap{}) || r.Late {
		k.broken("another stream has a place of its own; got %+v", r)
	}

	strict := k.consumer(k.db, k.records, inbox.Config{Consumer: "strict", Order: inbox.RefuseDisorder, FromFirst: true})
	strict.refused(number("x", 2), inbox.ErrGap)
	strict.handled(number("x", 1), noEffect)
	strict.refused(number("x", 3), inbox.ErrGap)
	_, err := strict.Handle(k.Context(), number("x", 2), func(context.Context, *uow.Unit) error { return errBoom })
	if !errors.Is(err, errBoom) {
		k.broken("Handle should return the handler's error; got %v", err)
	}
	strict.refused(number("x", 3), inbox.ErrGap) // 2 was rolled back
	strict.handled(number("x", 2), noEffect)
	strict.handled(number("x", 3), noEffect)
	strict.duplicate(number("x", 2))
	k.must("Skip", strict.Skip(k.Context(), "s", "x", 5))
	strict.refused(number("x", 4), inbox.ErrLate)
	strict.refused(number("x", 7), inbox.ErrGap)
	strict.handled(number("x", 6), noEffect)
	strict.handled(inbox.Message{ID: "in no stream"}, noEffect)

	db, records := k.process(nil, nil)
	other := k.consumer(db, records, inbox.Config{Consumer: "strict", Order: inbox.RefuseDisorder, FromFirst: true})
	other.refused(number("x", 8), inbox.ErrGap)
	other.handled(number("x", 7), noEffect)
	strict.handled(number("x", 8), noEffect)
}

func forgottenMessages(k *kit) {
	const day = 24 * time.Hour
	c := k.consumer(k.db, k.records, inbox.Config{Consumer: "c", Horizon: day})
	other := k.consumer(k.db, k.records, inbox.Config{Consumer: "b", Horizon: day})
	at := func(id string, created time.Duration) inbox.Message {
		return inbox.Message{ID: id, Time: k.clock.Now().Add(created)}
	}
	old := []inbox.Message{at("1", -3*time.Hour), at("2", -2*time.Hour), at("3", -time.Hour), {ID: "timeless"}}
	forgotten := at("never came", -time.Hour) // as old as the newest of them
	ahead := at("of a clock that is ahead", 2*time.Hour)
	for _, m := range append(slices.Clone(old), ahead) {
		c.handled(m, noEffect)
	}
	other.handled(old[0], noEffect)
	k.clock.advance(12 * time.Hour)
	fresh, waiting := at("fresh", -time.Minute), at("waiting", 0)
	c.handled(fresh, noEffect)
	k.wantTrims(c, 0)
	k.clock.advance(12*time.Hour + time.Second)
	k.wantTrims(c, 3, 1, 0)

	for _, m := range append(slices.Clone(old[:3]), forgotten) {
		c.refused(m, inbox.ErrTooOld)
	}
	c.duplicate(ahead)
	c.duplicate(fresh)
	other.duplicate(old[0])
	c.handled(waiting, noEffect)
	c.handled(old[3], noEffect) // nothing tells its age
	k.clock.advance(2 * day)
	k.wantTrims(c, 3, 1, 0)
	c.refused(waiting, inbox.ErrTooOld)
	k.wantTrims(other, 1, 0)
	if _, err := c.Trim(k.Context(), 0); !errors.Is(err, uow.ErrConfig) {
		k.broken("a limit of 0 should be refused; got %v", err)
	}
}

// wantTrims trims three at most, again and again.
func (k *kit) wantTrims(c *handling, want ...int) {
	k.Helper()
	for i, n := range want {
		if got, err := c.Trim(k.Context(), 3); got != n || err != nil {
			k.broken("the Trim %d of marks should delete %d; got %d, %v", i+1, n, got, err)
		}
	}
}

func marksAreListed(k *kit) {
	list := func(db *uow.DB, f inbox.Filter) (ids []string, next string) {
		marks, next, err := k.records.List(k.Context(), db, f)
		k.must("List", err)
		for _, m := range marks {
			ids = append(ids, m.Consumer+" "+m.Message.ID)
		}
		return ids, next
	}
	a := k.consumer(k.db, k.records, inbox.Config{Consumer: "a", Order: inbox.ReportDisorder})
	for _, id := range []string{"1", "2", "3"} {
		a.handled(inbox.Message{Source: "s", ID: id, Stream: "x", Sequence: 1}, noEffect)
		k.clock.advance(time.Second)
	}
	k.consumer(k.db, k.records, inbox.Config{Consumer: "ab"}).handled(inbox.Message{ID: "4"}, noEffect)
	want := func(got []string, want ...string) {
		k.Helper()
		if !slices.Equal(got, want) {
			k.broken("the list should be %q; got %q", want, got)
		}
	}
	page, next := list(k.db, inbox.Filter{Consumer: "a", Limit: 2})
	want(page, "a 3", "a 2")
	page, next = list(k.db, inbox.Filter{Consumer: "a", Limit: 2, After: next})
	want(page, "a 1")
	if next != "" {
		k.broken("there should be no further page")
	}
	all, _ := list(k.db, inbox.Filter{})
	want(all, "ab 4", "a 3", "a 2", "a 1")
	one, _ := list(k.db, inbox.Filter{Consumer: "a", Source: "s", ID: "2"})
	want(one, "a 2")
	none, _ := list(k.db, inbox.Filter{Consumer: "a", ID: "2"})
	want(none)
	marks, places, err := k.records.Count(k.Context(), k.db, "a")
	if err != nil || marks != 3 || places != 1 {
		k.broken("a consumer of 3 messages of one stream should have 3 marks and 1 stream; got %d, %d, %v", marks, places, err)
	}
	streams, next, err := k.records.Streams(k.Context(), k.db, "a", "", 10)
	if err != nil || next != "" || len(streams) != 1 || streams[0] != (inbox.Stream{Consumer: "a", Source: "s", Stream: "x", Last: 1}) {
		k.broken("the consumer should be at 1 in the stream x of s; got %+v, %q, %v", streams, next, err)
	}
}

func marksAreKept(k *kit) {
	k.save("a")
	m := inbox.Message{ID: "m", Stream: "x", Sequence: 1}
	cfg := inbox.Config{Consumer: "c", Order: inbox.RefuseDisorder}
	k.consumer(k.db, k.records, cfg).handled(m, k.pay("a"))
	k.must("Close", k.db.Close())
	k.db = k.h.Reopen(k.TB, k.config())
	c := k.consumer(k.db, k.records, cfg)
	c.duplicate(m)
	c.refused(inbox.Message{ID: "m3", Stream: "x", Sequence: 3}, inbox.ErrGap)
	k.wantBalance("a", 101, "when the database is opened again")
}
