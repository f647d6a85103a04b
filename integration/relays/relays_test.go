package relays_test

import (
	"syscall"
	"testing"
)

// Relays die, or are stopped for longer than their lease, by turns, while units commit
// and the receiver refuses now and then. Nothing is lost, and the first arrivals of each
// key are in order.
func TestRelaysDieByTurns(t *testing.T) {
	for _, store := range []string{"postgres", "mysql", "sqlite"} {
		t.Run(store, func(t *testing.T) {
			w := newWorld(t, store)
			w.fail.Store(50)
			stop := w.commit()
			relays := []*process{w.start(), w.start(), w.start()}
			for round := range *rounds {
				w.progress()
				i := w.chance.IntN(len(relays))
				if p := relays[i]; round%2 == 0 {
					p.kill()
					relays[i] = w.start()
				} else {
					p.signal(syscall.SIGSTOP)
					pause(t.Context(), 2*leaseOf(w.store)) // the others have its partitions by then
					w.progress()
					p.signal(syscall.SIGCONT)
				}
			}
			w.progress()
			stop()
			w.until("all is delivered", w.settled)
			for _, p := range relays {
				p.stop()
			}
			w.check()
		})
	}
}

// progress waits until more has arrived than can without the partitions of relays that
// are dead.
func (w *world) progress() {
	w.Helper()
	want := w.arrivals() + backlog
	w.until("relays make progress", func() bool { return w.arrivals() >= want })
}

// A relay is stopped while a request of it is under way, and goes on long after others
// have taken over and gone far beyond. It changes nothing.
func TestStoppedRelayIsFenced(t *testing.T) {
	w := newWorld(t, "postgres")
	stop := w.commit()
	old := w.start()
	w.progress()
	old.signal(syscall.SIGSTOP)
	pause(t.Context(), 2*leaseOf(w.store))
	newer := w.start()
	w.progress()
	w.progress()
	newer.stop()
	old.signal(syscall.SIGCONT)
	w.progress() // it notices, and gets the partitions again, in order
	stop()
	w.until("all is delivered", w.settled)
	old.stop()
	w.check()
}

// Relays come and go in order, one after the other: nothing is repeated.
func TestRelaysThatHandOverRepeatNothing(t *testing.T) {
	w := newWorld(t, "postgres")
	stop := w.commit()
	relays := []*process{w.start(), w.start()}
	for range 3 {
		w.progress()
		next := w.start()
		w.progress()
		relays[0].stop()
		relays = append(relays[1:], next)
	}
	w.progress()
	stop()
	w.until("all is delivered", w.settled)
	for _, p := range relays {
		p.stop()
	}
	w.check()
	for id, n := range w.received {
		if n > 1 {
			t.Errorf("message %s was received %d times", id, n)
		}
	}
}
