package crash_test

import (
	"testing"
	"time"

	"github.com/uow-go/uow/integration/internal/tocsintest"
)

// TestCrash kills tocsin at moments of chance, also while it starts. Afterwards
// nothing is missing at the receivers, nothing was invented, nothing came in the
// wrong order, and the ledger has every request.
func TestCrash(t *testing.T) {
	kills := number[int](t, "kills")
	w := newWorld(t, tocsintest.NewHome(t), newChance(t))
	stop := w.flap(t)
	started := time.Now()
	for kill := range kills {
		w.killOne(t)
		if (kill+1)%100 == 0 {
			t.Logf("%d kills in %v", kill+1, time.Since(started).Round(time.Second))
		}
	}
	stop()
	w.heal()
	p := w.home.Start(t)
	w.settle(t)
	p.Stop(t)
	t.Logf("%d kills in %v", kills, time.Since(started).Round(time.Second))
	w.check(t)
}

// killOne starts tocsin and kills it: one time of five while it starts.
func (w *world) killOne(t *testing.T) {
	t.Helper()
	p := w.home.Launch(t)
	if w.chance.below(5) == 0 {
		tocsintest.Pass(t, w.chance.between(10*time.Millisecond, 600*time.Millisecond))
	} else {
		p.WaitReady(t)
		tocsintest.Pass(t, w.chance.between(50*time.Millisecond, 1500*time.Millisecond))
	}
	if !p.Running() {
		t.Fatalf("tocsin ended by itself:\n%s", p.Logs())
	}
	p.Kill()
}
