package crash_test

import (
	"os/exec"
	"testing"
	"time"

	"github.com/uow-go/uow/integration/internal/tocsintest"
)

func TestZZ(t *testing.T) {
	d := newDisk(t, 96)
	w := newWorld(t, &tocsintest.Home{Dir: d.dir}, newChance(t))
	w.home.Start(t)
	stop := w.flap(t)
	defer stop()
	w.home.WaitSlots(t, 15)
	ls := func() {
		out, _ := exec.Command("sh", "-c", "ls -ls "+d.dir+"; df "+d.dir).CombinedOutput()
		t.Logf("%s", out)
	}
	ls()
	d.fill(t)
	for range 8 {
		ls()
		tocsintest.Pass(t, 1500*time.Millisecond)
	}
	ls()
}
