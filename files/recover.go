package files

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/uow-go/uow/driver"
	"github.com/uow-go/uow/internal/mvcc"
)

// load reads and checks everything but the rows, without a change. Then it
// finishes what a crash has interrupted.
func load(options Options, d disk) (*keeper, []driver.Message, error) {
	w := &writer{disk: d}
	if err := checkFormat(w); err != nil {
		return nil, nil, err
	}
	k := &keeper{options: options, disk: w}
	var err error
	if k.state, err = readState(d); err != nil {
		return nil, nil, err
	}
	messages, err := k.state.readMessages(d)
	if err != nil {
		return nil, nil, err
	}
	if k.units, err = readUnits(d); err != nil {
		return nil, nil, err
	}
	journals, err := readJournals(d)
	if err != nil {
		return nil, nil, err
	}
	records, raw, err := chain(journals, k.state.applied)
	if err != nil {
		return nil, nil, err
	}
	if err := k.clean(); err != nil {
		return nil, nil, err
	}
	if err := k.restart(journals, raw); err != nil {
		return nil, nil, err
	}
	return k, k.replay(records, messages), k.apply()
}

// clean removes what was left of files that were not finished.
func (k *keeper) clean() error {
	if err := k.disk.SyncDir("."); err != nil { // who has made it may not have lived to
		return wrap("sync the directory", err)
	}
	entries, err := k.disk.List(temporary)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if err := k.disk.Remove(temporary + "/" + entry.Name()); err != nil {
			return err
		}
	}
	if entries, err = k.disk.List(log); err != nil {
		return err
	}
	return k.state.removeStray(k.disk, entries)
}

// restart writes the records that are not applied to a journal of its own, and goes
// on in it. The old ones can't be trusted to be on the disk: they may have been
// read from memory, after a sync that failed or never ran.
func (k *keeper) restart(old []*read, raw [][]byte) error {
	number := old[len(old)-1].number + 1
	content := encodeHead(k.state.applied + 1)
	for _, payload := range raw {
		content = appendLine(content, payload)
	}
	name := journalName(number)
	if err := k.disk.replace(name, content); err != nil {
		return err
	}
	if err := k.disk.SyncDir(journals); err != nil {
		return wrap("sync "+journals, err)
	}
	f, err := k.disk.Append(name, int64(len(content)))
	if err != nil {
		return wrap("open "+name, err)
	}
	k.journal = &journal{
		disk:   k.disk,
		file:   f,
		name:   name,
		number: number,
		size:   int64(len(content)),
		last:   k.state.applied + int64(len(raw)),
	}
	for _, j := range old {
		k.pending.journals = append(k.pending.journals, j.name)
	}
	return nil
}

// replay notes what records change, and returns the messages that there are then.
func (k *keeper) replay(records []*record, messages []driver.Message) []driver.Message {
	all := mvcc.Log{Messages: messages, End: k.state.log.End, Cursors: newLog().Cursors}
	for _, r := range records {
		for i := range r.entries {
			all.Apply(&r.entries[i].log)
			k.add(&r.entries[i])
		}
	}
	k.pending.changed = k.pending.changed || len(k.pending.journals) > 1
	return all.Messages
}

// readCollection reads all rows of a collection.
func readCollection(ctx context.Context, w *writer, desc driver.Collection) (rows []mvcc.Row, err error) {
	live := map[string]bool{}
	for _, kind := range []string{collections, removed} {
		dir := kind + "/" + desc.Name
		entries, err := w.List(dir)
		if err != nil {
			return nil, err
		}
		for _, entry := range entries {
			if err := errors.Join(ctx.Err(), checkForeign(dir, entry, strings.HasSuffix(entry.Name(), suffix))); err != nil {
				return nil, err
			}
			if entry.Name()[0] == '.' {
				continue
			}
			name := dir + "/" + entry.Name()
			row, err := readRow(w, name, desc, kind == removed)
			if err == nil && live[row.ID] {
				err = fmt.Errorf("%w: %s: the row is also in %s", ErrDamaged, name, collections)
			}
			if err != nil {
				return nil, err
			}
			live[row.ID] = !row.Deleted
			rows = append(rows, row)
		}
	}
	return rows, nil
}

// readRow reads the file of a row.
func readRow(d disk, name string, desc driver.Collection, isRemoved bool) (mvcc.Row, error) {
	content, err := d.Read(name)
	if err != nil {
		return mvcc.Row{}, err
	}
	r, err := decode(content)
	if err != nil {
		return mvcc.Row{}, fmt.Errorf("%s: %w", name, err)
	}
	want := place(r.key())
	if r.removed {
		want = gone(r.key())
	}
	if want != name || r.removed != isRemoved {
		return mvcc.Row{}, fmt.Errorf("%w: %s: its row belongs to %s", ErrForeign, name, want)
	}
	row, err := r.row(desc)
	if err != nil {
		return mvcc.Row{}, fmt.Errorf("%w: %s: %w", ErrMismatch, name, err)
	}
	return row, nil
}

// makeCollections makes the directories of collections where they are missing, for
// good. Those that are there may have been made by a process that did not live to
// sync them.
func makeCollections(w *writer, descs []driver.Collection) error {
	for _, kind := range []string{collections, removed} {
		for _, desc := range descs {
			if err := w.Mkdir(kind + "/" + desc.Name); err != nil {
				return err
			}
		}
		if err := w.SyncDir(kind); err != nil {
			return wrap("sync "+kind, err)
		}
	}
	return nil
}
