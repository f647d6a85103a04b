package files

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/uow-go/uow/driver"
	"github.com/uow-go/uow/internal/mvcc"
)

// keeper makes changes durable: it writes them to the journal at once, and to the
// files in batches. It is the mvcc.Journal of a store.
type keeper struct {
	options Options
	disk    *writer
	units   *units
	descs   map[string]driver.Collection // set by Register, then never changed

	// applying is held by the one who writes files.
	applying sync.Mutex

	mu      sync.Mutex
	journal *journal
	state   *state // with everything that is in the journal
	pending batch
	timer   *time.Timer
	closed  bool
	failing bool // files could not be written the last time
}

// batch is what is in the journal and not in the files.
type batch struct {
	rows     map[key]*image
	messages []driver.Message
	trimmed  []int64
	changed  bool
	// journals are the files that are not needed any more once the batch is in the
	// files.
	journals []string
}

// Admit implements mvcc.Journal.
func (k *keeper) Admit(unit string) error { return k.units.admit(unit) }

// Write implements mvcc.Journal.
func (k *keeper) Write(changes []*mvcc.Change) error {
	entries := make([]entry, len(changes))
	for i, c := range changes {
		var err error
		if entries[i], err = k.entry(c); err != nil {
			return err
		}
	}
	if k.behind() {
		k.background()
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.journal.write(entries); err != nil {
		return err
	}
	for i := range entries {
		k.add(&entries[i])
	}
	k.schedule()
	return nil
}

func (k *keeper) entry(c *mvcc.Change) (entry, error) {
	e := entry{unit: c.Unit, rows: make([]*image, len(c.Rows)), log: *c}
	e.log.Rows = nil
	for i := range c.Rows {
		var err error
		if e.rows[i], err = newImage(k.descs[c.Rows[i].Collection], &c.Rows[i]); err != nil {
			return entry{}, err
		}
	}
	return e, nil
}

// add notes what is in the journal now. mu is held.
func (k *keeper) add(e *entry) {
	p := &k.pending
	if p.rows == nil {
		p.rows = map[key]*image{}
	}
	for _, r := range e.rows {
		p.rows[r.key()] = r
	}
	k.units.add(e.unit)
	end := k.state.log.End
	for _, m := range e.log.Messages {
		if m.Position > end {
			p.messages = append(p.messages, m)
		}
	}
	k.state.log.Apply(&e.log)
	k.state.log.Messages = nil
	p.trimmed = append(p.trimmed, e.log.Trimmed...)
	p.changed = true
}

// behind reports whether writing files can't keep up with commits, so that they had
// better help.
func (k *keeper) behind() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.journal.size > 4*k.options.JournalSize && !k.failing
}

// schedule has the files written some time later, or soon when the journal is
// large. mu is held.
func (k *keeper) schedule() {
	switch {
	case k.closed:
	case k.timer == nil:
		k.timer = time.AfterFunc(k.options.Delay, k.background)
	case k.journal.size > k.options.JournalSize:
		k.timer.Reset(0)
	}
}

// background writes files where nobody waits for it, and tries again later when it
// fails: until then the journal has what the files lack.
func (k *keeper) background() {
	err := k.apply()
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.timer != nil {
		k.timer.Stop()
		k.timer = nil
	}
	k.failing = err != nil
	if err != nil && !k.closed {
		k.options.Logger.Error("files: writing files failed; the journal has what they lack", slog.Any("error", err))
	}
	if k.pending.changed && k.journal.broken == nil {
		k.schedule()
	}
}

// apply writes everything that is in the journal so far to the files, and drops the
// journal's files that are not needed any more.
func (k *keeper) apply() error {
	k.applying.Lock()
	defer k.applying.Unlock()
	b, s, err := k.take()
	if err != nil || !b.changed {
		return err
	}
	if err := k.applyBatch(b, s); err != nil {
		k.putBack(b)
		return err
	}
	return nil
}

// take begins a new file of the journal and returns what is in the old ones, with
// the state to write.
func (k *keeper) take() (batch, *state, error) {
	k.mu.Lock()
	idle, broken, last := !k.pending.changed, k.journal.broken, k.journal.last
	k.mu.Unlock()
	if idle || broken != nil {
		return batch{}, nil, broken
	}
	next, err := k.journal.prepare(last) // its name and number change only here
	if err != nil {
		return batch{}, nil, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.journal.broken != nil {
		_ = next.file.Close() // nothing was written to it
		return batch{}, nil, k.journal.broken
	}
	_ = k.journal.file.Close() // all of it is synced
	b := k.pending
	b.journals = append(b.journals, k.journal.name)
	next.last, k.journal, k.pending = k.journal.last, next, batch{}
	k.state.applied = next.last
	return b, k.state.clone(), nil
}

// putBack keeps a batch that failed for the next attempt, in which it comes before
// what has come since. What was written to the last segment is not trusted.
func (k *keeper) putBack(b batch) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for key, r := range k.pending.rows {
		b.rows[key] = r
	}
	k.pending.rows, k.pending.changed = b.rows, true
	k.pending.messages = append(b.messages, k.pending.messages...)
	k.pending.trimmed = append(b.trimmed, k.pending.trimmed...)
	k.pending.journals = append(b.journals, k.pending.journals...)
	if n := len(k.state.segments); n > 0 {
		k.state.segments[n-1].sealed = true
	}
}

// applyBatch writes a batch. Until the state is written, the journal counts; after
// that, the files do.
func (k *keeper) applyBatch(b batch, s *state) error {
	dirs := map[string]bool{}
	for id := range b.rows {
		dirs[collections+"/"+id.collection], dirs[removed+"/"+id.collection] = true, true
	}
	if err := k.applyRows(b.rows); err != nil {
		return err
	}
	if err := s.store(k.disk, b.messages, k.options.SegmentSize); err != nil {
		return err
	}
	s.trim(b.trimmed)
	unneeded := append(s.shed(), b.journals...)
	if err := k.applyUnits(); err != nil {
		return err
	}
	dirs[log], dirs[journals] = true, true
	if err := k.disk.syncDirs(dirs); err != nil {
		return err
	}
	if err := writeState(k.disk, s); err != nil {
		return err
	}
	k.mu.Lock()
	k.state.segments, k.state.trimmed = s.segments, s.trimmed
	k.mu.Unlock()
	for _, name := range unneeded { // what stays is removed by the next Open
		if err := k.disk.Remove(name); err != nil {
			k.options.Logger.Warn("files: a file that is not needed any more could not be removed", slog.Any("error", err))
		}
	}
	return nil
}

func writeState(w *writer, s *state) error {
	content, err := s.encode()
	if err != nil {
		return err
	}
	if err := w.replace(stateFile, content); err != nil {
		return err
	}
	return wrapNil("sync "+log, w.SyncDir(log))
}

func (k *keeper) applyUnits() error {
	content, err := k.units.encode()
	if err != nil {
		return err
	}
	return k.disk.replace(unitsFile, content)
}

// applyRows writes the files of rows, some at the same time. It ends with the first
// error.
func (k *keeper) applyRows(rows map[key]*image) error {
	if len(rows) == 0 {
		return nil
	}
	images := slices.Collect(maps.Values(rows))
	var next atomic.Int64
	errs := make([]error, min(k.options.writers, len(images)))
	var wg sync.WaitGroup
	work := func(err *error) {
		for *err == nil {
			i := next.Add(1) - 1
			if i >= int64(len(images)) {
				return
			}
			*err = k.applyRow(images[i])
		}
		next.Store(int64(len(images))) // the others stop too
	}
	for i := range errs[1:] {
		wg.Go(func() { work(&errs[i+1]) })
	}
	work(&errs[0])
	wg.Wait()
	return errors.Join(errs...)
}

// applyRow writes the file of a row, and removes the one that it replaces.
func (k *keeper) applyRow(r *image) error {
	id := r.key()
	to, from := place(id), gone(id)
	if r.removed {
		to, from = from, to
	}
	if r.forgotten {
		if err := k.disk.Remove(to); err != nil {
			return wrap("remove "+to, err)
		}
	} else if err := k.disk.replace(to, r.encode()); err != nil {
		return err
	}
	return wrapNil("remove "+from, k.disk.Remove(from))
}

// close writes everything to the files.
func (k *keeper) close() error {
	k.mu.Lock()
	k.closed = true
	if k.timer != nil {
		k.timer.Stop()
	}
	k.mu.Unlock()
	err := k.apply()
	k.applying.Lock() // one that runs in the background has ended
	defer k.applying.Unlock()
	k.mu.Lock()
	defer k.mu.Unlock()
	_ = k.journal.file.Close() // all of it is synced, or broken
	if err != nil {
		return fmt.Errorf("files: close: %w", err)
	}
	return nil
}

// failed returns why nothing can be committed any more.
func (k *keeper) failed() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.journal.broken
}
