package uow

import (
	"log/slog"
	"testing"

	"github.com/uow-go/uow/driver"
)

// What a DB without observers pays in each unit is the calls below.
func TestWatchingWithoutObserversAllocatesNothing(t *testing.T) {
	db, u, cs := new(DB), new(Unit), new(driver.ChangeSet)
	if n := testing.AllocsPerRun(100, func() { watchAll(t, db, u, cs) }); n != 0 {
		t.Errorf("without observers, watching a unit allocates %v times", n)
	}
	db.cfg.Observers = []Observer{LogObserver{Logger: slog.New(slog.DiscardHandler)}}
	if n := testing.AllocsPerRun(100, func() { watchAll(t, db, u, cs) }); n == 0 {
		t.Error("with an observer, watching a unit allocates nothing: the test does not see what it measures")
	}
}

func watchAll(t *testing.T, db *DB, u *Unit, cs *driver.ChangeSet) {
	ctx, w := db.watchDo(t.Context(), false)
	defer w.unitEnded()
	u.watch = w.attempted(u)
	w.started(ctx)
	at := w.now()
	w.called(at)
	w.flushed(at, cs)
	w.nested(true, w.changes())
	w.address(nil)
	w.hookFailed()
	w.doubted()
	w.committed(at, cs)
	w.well()
	_ = w.closed(ctx, u, w.attemptEnded(nil))
}
