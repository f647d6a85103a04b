package crash_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/uow-go/uow/integration/internal/tocsintest"
)

// disk is a small file system in memory.
type disk struct{ dir string }

// newDisk mounts one of so many megabytes, or skips: containers and users who
// are not root may not mount, whatever is installed.
func newDisk(t *testing.T, megabytes int) disk {
	t.Helper()
	dir := t.TempDir()
	err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%dm,mode=0700", megabytes))
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EACCES) {
		t.Skipf("a file system cannot be mounted here: run the test as root, outside of a container without CAP_SYS_ADMIN (%v)", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // after the processes' own cleanups
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return disk{dir}
}

// fill writes until nothing more fits.
func (d disk) fill(t *testing.T) {
	t.Helper()
	f, err := os.Create(filepath.Join(d.dir, "filler"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, size := range []int{1 << 20, 1 << 12, 1} {
		block := make([]byte, size)
		for {
			if _, err = f.Write(block); err != nil {
				break
			}
		}
		if !errors.Is(err, syscall.ENOSPC) {
			t.Fatal(err)
		}
	}
}

func (d disk) free(t *testing.T) {
	t.Helper()
	if err := os.Remove(filepath.Join(d.dir, "filler")); err != nil {
		t.Fatal(err)
	}
}

// TestDiskFull fills the disk of the database and the samples while alerts come
// and go: once tocsin lives through it, once it is killed while the disk is full.
// It tells nothing that it could not commit, and goes on where it was when there
// is room again.
func TestDiskFull(t *testing.T) {
	for name, killed := range map[string]bool{"and it lives on": false, "and it is killed": true} {
		t.Run(name, func(t *testing.T) {
			d := newDisk(t, 64)
			w := newWorld(t, &tocsintest.Home{Dir: d.dir}, newChance(t))
			p := w.home.Start(t)
			stop := w.flap(t)
			w.home.WaitSlots(t, 15)
			w.full(t, d, p)
			if killed {
				p.Kill()
			}
			d.free(t)
			if killed {
				p = w.home.Start(t)
			}
			w.home.WaitSlots(t, 15)
			stop()
			w.heal()
			w.settle(t)
			if !p.Running() {
				t.Fatal("tocsin ended by itself")
			}
			p.Stop(t)
			w.check(t)
		})
	}
}

// full fills the disk, and finds that only what needs it is concerned.
func (w *world) full(t *testing.T, d disk, p *tocsintest.Process) {
	t.Helper()
	d.fill(t)
	d.notice(t, p)
	for _, e := range w.exporters { // scraping goes on
		e.WaitScraped(t)
	}
	if status, body := p.Get(t, "/api/v1/alerts"); status != 200 {
		t.Errorf("with a full disk, /api/v1/alerts answers %d: %s", status, body)
	}
}

// notice waits until a slot could not be committed, again and again.
func (d disk) notice(t *testing.T, p *tocsintest.Process) {
	t.Helper()
	const message, times = "evaluation failed, and will be tried again", 8
	before := strings.Count(p.Logs(), message)
	tocsintest.Eventually(t, "tocsin notices", func() error {
		if n := strings.Count(p.Logs(), message) - before; n < times {
			return fmt.Errorf("%d messages of a slot that could not be committed, want %d", n, times)
		}
		return nil
	})
	if !strings.Contains(p.Logs(), "full") {
		t.Error("no message says that the disk is full")
	}
}
