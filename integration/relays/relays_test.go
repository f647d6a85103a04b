package relays_test

import (
	"syscall"
	"testing"
	"time"
)

// shortLease lets processes be stopped for longer than it without much ado. Relays that
// the machine holds up for as long lose theirs too, which must do no harm.
const shortLease = 250 * time.Millisecond

// Relays and applications die by kill -9, and relays are stopped for longer than their
// lease, by turns and under load, while the receiver refuses now and then. In the end
// database, outbox and receiver agree: nothing is lost, nothing was invented, and the
// first arrivals of each key are in order.
func TestAllDieByTurns(t *testing.T) {
	stores := []string{"postgres", "mysql", "sqlite"}
	for i, store := range stores {
		t.Run(store, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, store, shortLease)
			w.fail.Store(50)
			apps, relays := w.apply(), []*process{w.relay(), w.relay(), w.relay()}
			for round := i; round < *rounds; round += len(stores) {
				w.progress()
				switch victim := w.chance.IntN(len(relays)); round / len(stores) % 3 {
				case 0:
					relays[victim].kill()
					relays[victim] = w.relay()
				case 1:
					apps[victim].kill()
					apps[victim] = w.application(victim)
				case 2:
					relays[victim].signal(syscall.SIGSTOP)
					w.outlast()
					relays[victim].signal(syscall.SIGCONT)
				}
			}
			w.end(apps, relays)
		})
	}
}

// outlast waits until others have the partitions of a relay that is stopped. Where it may
// be stopped in a transaction, whose locks it keeps then, it waits for twice the lease.
func (w *world) outlast() {
	w.Helper()
	if w.store == "sqlite" {
		pause(w.Context(), 2*w.lease)
	} else { // a transaction of the log is one round trip
		w.progress()
	}
}

// end stops the applications, waits until all is delivered, stops the relays, and checks
// what came of it.
func (w *world) end(apps, relays []*process) {
	w.Helper()
	w.progress()
	for _, p := range apps {
		p.stop()
	}
	w.until("all is delivered", w.settled)
	for _, p := range relays {
		p.stop()
	}
	w.check()
}

// progress waits until all keys of all applications have come further than they can
// without a relay, or an application, that is dead or stopped: until others have what it
// had, after its lease.
func (w *world) progress() {
	w.Helper()
	for i := range applications {
		want := w.arrived(i) + ahead + 1
		w.until("there is progress", func() bool { return w.arrived(i) >= want })
	}
}

// A relay is stopped while a request of it is under way, and goes on long after others
// have taken over and gone far beyond. It changes nothing.
func TestStoppedRelayIsFenced(t *testing.T) {
	w := newWorld(t, "postgres", shortLease)
	apps, old := w.apply(), w.relay()
	w.progress()
	old.signal(syscall.SIGSTOP)
	newer := w.relay()
	for range 5 {
		w.progress()
	}
	newer.stop()
	old.signal(syscall.SIGCONT)
	w.progress() // it notices, and gets the partitions again, in order
	w.end(apps, []*process{old})
}

// Relays come and go in order, one after the other: nothing is repeated.
func TestRelaysThatHandOverRepeatNothing(t *testing.T) {
	w := newWorld(t, "postgres", 5*time.Second)
	apps, relays := w.apply(), []*process{w.relay(), w.relay()}
	for range 3 {
		w.progress()
		next := w.relay()
		w.progress()
		relays[0].stop()
		relays = append(relays[1:], next)
	}
	w.end(apps, relays)
	for id, n := range w.received {
		if n > 1 {
			t.Errorf("message %s was received %d times", id, n)
		}
	}
}
