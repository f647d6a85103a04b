package sqlite

import (
	"runtime"
	"slices"
	"time"

	"github.com/uow-go/uow/driver"
	sqlite3 "modernc.org/sqlite/lib"
)

// maxGroup bounds how many units share a transaction, and so how long the first
// of them waits for the last.
const maxGroup = 512

// patience is how long, and patienceRounds how often, a leader lets other
// goroutines run without anybody coming. The clock alone would run out while the
// operating system runs something else.
const (
	patience       = 20 * time.Microsecond
	patienceRounds = 16
)

// lead writes a request and those that wait, and passes the writer on. The caller
// owns the writer.
func (w *writer) lead(r *request) {
	requests := w.gather(r)
	w.recent = true
	w.run(requests)
	w.expect(len(requests))
	if slices.ContainsFunc(requests, (*request).appended) {
		w.store.subscribers.Wake(w.recent)
	}
	others := requests[1:]
	for i, other := range others {
		others[i] = nil
		other.wake <- settled
	}
	w.leave()
}

// expect notes how many may come next: those whose outcome is known now, who may
// have more to do, and those who came meanwhile.
func (w *writer) expect(settled int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.expected = settled + len(w.queue)
}

// gather takes who waits, up to the first that wants the connection. While others
// are about to come, as the size of the last group tells, it lets them run first:
// they would otherwise wait for a sync of their own. One who is alone never
// waits.
func (w *writer) gather(r *request) []*request {
	w.await()
	w.group = append(w.group[:0], r)
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for n < len(w.queue) && n < maxGroup-1 && !w.queue[n].exclusive {
		n++
	}
	w.group = append(w.group, w.queue[:n]...)
	w.queue = slices.Delete(w.queue, 0, n)
	return w.group
}

// await lets others run until as many wait as may come, or none comes any more.
func (w *writer) await() {
	if w.expected <= 1 {
		return
	}
	seen, since, rounds := 0, time.Now(), 0
	for rounds < patienceRounds || time.Since(since) < patience {
		w.mu.Lock()
		n := len(w.queue)
		w.mu.Unlock()
		if n+1 >= w.expected {
			return
		}
		if n > seen {
			seen, since, rounds = n, time.Now(), 0
		}
		rounds++
		runtime.Gosched()
	}
}

// run gives each request its outcome.
func (w *writer) run(requests []*request) {
	if len(requests) == 1 {
		requests[0].err = w.runAlone(requests[0])
		return
	}
	if w.runTogether(requests) {
		return
	}
	// One of them failed in a way that may have taken the transaction with it.
	// Each gets its own, which makes every outcome its own.
	for _, r := range requests {
		r.err = w.runAlone(r)
	}
}

// runAlone writes a request in a transaction of its own, which needs no
// savepoint.
func (w *writer) runAlone(r *request) error {
	if err := w.begin(); err != nil {
		return wrap("begin", err)
	}
	w.batch = w.batch[:0]
	err := w.write(r)
	if err == nil {
		err = w.insertBatch()
	}
	if err != nil {
		w.rollback()
		return err
	}
	return w.end([]*request{r})
}

// runTogether writes the requests in one transaction. It returns false, with
// nothing written, when that can't be done and each must be written alone.
func (w *writer) runTogether(requests []*request) bool {
	if err := w.begin(); err != nil {
		fail(requests, wrap("begin", err))
		return true
	}
	w.batch = w.batch[:0]
	good := 0
	for _, r := range requests {
		r.err = w.writeWithin(r)
		switch {
		case r.err == nil:
			good++
		case !isOwn(r.err) || !w.conn.inTx:
			w.rollback()
			return false
		}
	}
	if good == 0 {
		w.rollback()
		return true
	}
	if err := w.insertBatch(); err != nil {
		w.rollback()
		return false
	}
	err := w.end(requests)
	if code(err)&0xff == sqlite3.SQLITE_CONSTRAINT {
		return false // a deferred constraint of the user's: one of them broke it
	}
	if err != nil {
		// Conflicts among them are void too: what they conflicted with is gone.
		fail(requests, err)
	}
	return true
}

// end commits what the requests wrote.
func (w *writer) end(requests []*request) error {
	if err := w.conn.commit(); err != nil {
		w.rollback()
		return wrap("commit", err)
	}
	w.ended()
	for _, r := range requests {
		if r.err == nil {
			r.adjust()
		}
	}
	w.keepRecent()
	return nil
}

// writeWithin writes one request of a group, so that it leaves nothing behind
// when it fails by itself. A single row needs no savepoint for that: a statement
// that fails has no effect.
func (w *writer) writeWithin(r *request) error {
	if r.single() {
		return w.write(r)
	}
	if _, err := w.conn.exec("SAVEPOINT unit"); err != nil {
		return err
	}
	batch := len(w.batch)
	failed := w.write(r)
	if failed != nil {
		w.batch = w.batch[:batch]
		if !isOwn(failed) {
			return failed
		}
		if _, err := w.conn.exec("ROLLBACK TO unit"); err != nil {
			return err
		}
	}
	if _, err := w.conn.exec("RELEASE unit"); err != nil {
		return err
	}
	return failed
}

func (w *writer) write(r *request) error {
	if r.work != nil {
		return r.work(w.conn)
	}
	return w.apply(r)
}

// single reports whether a request changes one row at most, messages aside.
func (r *request) single() bool {
	return r.cs != nil && (len(r.cs.Writes) == 0 ||
		len(r.cs.Writes) == 1 && r.cs.Writes[0].Op != driver.Delete)
}

// appended reports whether a settled request has added messages.
func (r *request) appended() bool {
	return r.err == nil && r.cs != nil && len(r.cs.Messages) > 0
}

func fail(requests []*request, err error) {
	for _, r := range requests {
		r.err = err
	}
}
