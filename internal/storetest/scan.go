package storetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"

	"github.com/uow-go/uow/driver"
	"github.com/uow-go/uow/internal/groupcommit/grouptest"
	"github.com/uow-go/uow/outbox"
)

// ScanUnderWriters has many writers whose commits overtake each other, some of which roll
// back, as a whole or in a nested part, and scanners at different paces: each gets every
// message that was committed, once, by growing positions, and each writer's in their order.
func (f *Fixture) ScanUnderWriters(writers, units int) {
	committed := make([][]string, writers)
	stop := make(chan struct{})
	var writing, scanning sync.WaitGroup
	for w := range writers {
		writing.Go(func() { committed[w] = f.write(w, units) })
	}
	got := make([][]outbox.Message, 3)
	for i := range got {
		scanning.Go(func() { got[i] = f.follow(stop, 1+i*10, i == 2) })
	}
	writing.Wait()
	close(stop)
	scanning.Wait()
	want := slices.Concat(committed...)
	slices.Sort(want)
	for i := range got {
		f.wantScanned(i, got[i], want)
	}
	f.Logf("%d messages of %d were committed", len(want), 2*writers*units)
}

func (f *Fixture) wantScanned(scanner int, got []outbox.Message, want []string) {
	last, ids, next := int64(0), []string{}, map[string]int{}
	for _, m := range got {
		if m.Position <= last {
			f.Errorf("scanner %d: position %d after %d", scanner, m.Position, last)
		}
		last = m.Position
		ids = append(ids, m.ID)
		var n int
		if _, err := fmt.Sscan(m.Type, &n); err != nil || n < next[m.Key] {
			f.Errorf("scanner %d: message %s of writer %s came after %d", scanner, m.Type, m.Key, next[m.Key])
		}
		next[m.Key] = n
	}
	slices.Sort(ids)
	if !slices.Equal(ids, want) {
		f.Errorf("scanner %d: got %d messages, want %d", scanner, len(ids), len(want))
	}
}

// write runs units with two messages each, one of them flushed early, and returns
// the ids of those that were committed.
func (f *Fixture) write(w, units int) (committed []string) {
	random := rand.New(rand.NewPCG(uint64(w), 3))
	for i := range units {
		cs := func(part string) []string { return []string{fmt.Sprintf("%d-%d-%s", w, i, part)} }
		unit := fmt.Sprintf("%d %d", w, i)
		early, late := grouptest.Appending(unit, cs("early")...), grouptest.Appending(unit, cs("late")...)
		early.Messages[0].Key, late.Messages[0].Key = fmt.Sprint(w), fmt.Sprint(w)
		early.Messages[0].Type, late.Messages[0].Type = fmt.Sprint(2*i), fmt.Sprint(2*i+1)
		tx := f.Tx()
		if err := tx.Flush(context.Background(), early); err != nil {
			f.Error(err)
			return committed
		}
		if random.IntN(3) == 0 {
			f.dead(tx, unit)
		}
		for range random.IntN(200) {
			runtime.Gosched()
		}
		if random.IntN(3) == 0 {
			_ = tx.Rollback()
			continue
		}
		if err := tx.Commit(context.Background(), late); err != nil {
			f.Error(err)
			return committed
		}
		committed = append(committed, early.Messages[0].ID, late.Messages[0].ID)
	}
	return committed
}

// dead appends a message in a nested part that is undone.
func (f *Fixture) dead(tx driver.Tx, unit string) {
	err := errors.Join(tx.(driver.Nester).Nest(context.Background()), tx.Flush(context.Background(), grouptest.Appending(unit, "dead")),
		tx.(driver.Nester).Unnest(false))
	if err != nil {
		f.Error(err)
	}
}

// follow scans until stop is closed and the end is reached.
func (f *Fixture) follow(stop <-chan struct{}, limit int, topics bool) (all []outbox.Message) {
	var some []string
	if topics {
		some = []string{"", "other"}
	}
	for after := int64(0); ; {
		stopping := false
		select {
		case <-stop:
			stopping = true
		default:
		}
		messages, next, err := f.Store.Scan(context.Background(), outbox.Query{After: after, Limit: limit, Topics: some})
		if err != nil {
			f.Error(err)
			return all
		}
		all = append(all, messages...)
		if stopping && next == after {
			return all
		}
		after = next
	}
}

// ScanOfTopics demands that a scan of some topics fills its batch, and says how far it has
// looked.
func (f *Fixture) ScanOfTopics() {
	cs := grouptest.Appending("1", Names("m", 30)...)
	for i := range cs.Messages {
		cs.Messages[i].Topic = []string{"a", "b", "c"}[i%3]
	}
	f.Must(f.Tx().Commit(f.Context(), cs))
	got, next, err := f.Store.Scan(f.Context(), outbox.Query{Limit: 4, Topics: []string{"b"}})
	f.Must(err)
	if len(got) != 4 || got[3].ID != "m010" || next != got[3].Position {
		f.Errorf("got %v, up to %d", got, next)
	}
	if _, next, err := f.Store.Scan(f.Context(), outbox.Query{Limit: 4, Topics: []string{"none"}}); err != nil || next != 30 {
		f.Errorf("a topic without messages: looked up to %d, %v, want 30", next, err)
	}
}
