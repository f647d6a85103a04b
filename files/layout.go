package files

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/uow-go/uow/outbox"
)

// readme tells people what they see.
const readme = `# What this directory is

It is a database of the Go package github.com/uow-go/uow/files. Look at it, search
it, copy it and put it under version control as you like, while no program has it
open. Change nothing by hand: every file has a checksum, and a program refuses to
open a directory in which something was changed.

- collections/<collection>/<id>.json  one file for each row. "body" is the row as
                                      the program has written it, "uow" is its id,
                                      its version, how many events it has recorded,
                                      and the values by which it can be found.
- removed/<collection>/<id>.json      what is remembered of rows that were removed.
- outbox/<position>.log               messages, one in a line: length, checksum, JSON.
- outbox/state.json                   who has read how far, and what could not be
                                      delivered.
- journal/<number>.log                commits, the newest of which are not in the
                                      other files yet. Never delete one.
- journal/units.json                  the units of the newest commits.
- tmp/                                files that are being written.
- uow.json                            the version of all this.
- lock                                locked while a program has the directory open.

In the names of files a capital letter is the small one behind "!", and what is
neither letter, digit, "-", "_" nor "." is its number in hexadecimal behind "%".

Since a program writes files some time after the commit, a copy that is made while
one is running must have all of the directory at one moment (a snapshot of the file
system); else stop it before.
`

type formatJSON struct {
	Format int `json:"format"`
}

func directories() []string {
	return []string{collections, removed, journals, log, temporary}
}

// checkRoot refuses a directory that is not empty and not the store's, and one that
// has something else in it.
func checkRoot(d disk) error {
	entries, err := d.List(".")
	if err != nil {
		return err
	}
	ours := append(directories(), formatFile, readmeFile, lockFile)
	for _, entry := range entries {
		if err := checkForeign(".", entry, slices.Contains(ours, entry.Name())); err != nil {
			return err
		}
	}
	return nil
}

// checkFormat checks that the directory has the format that this package knows, and
// makes a new one.
func checkFormat(w *writer) error {
	content, err := w.Read(formatFile)
	if errors.Is(err, fs.ErrNotExist) {
		return create(w)
	}
	if err != nil {
		return err
	}
	var f formatJSON
	if err := json.Unmarshal(content, &f); err != nil || f.Format < 1 {
		return fmt.Errorf("%w: %s says no format", ErrDamaged, formatFile)
	}
	if !knownFormat(f.Format) {
		return fmt.Errorf("%w: it is %d, this program knows %d: use a newer program", ErrFormat, f.Format, format)
	}
	if f.Format == format {
		return nil
	}
	return writeFormat(w) // so that older programs leave alone what they do not understand
}

func writeFormat(w *writer) error {
	if err := w.replace(formatFile, fmt.Appendf(nil, "{\"format\":%d}\n", format)); err != nil {
		return err
	}
	return w.SyncDir(".")
}

// create makes a new directory. The file with the format is the last: without it
// nothing was ever committed, and it begins anew.
func create(w *writer) error {
	for _, dir := range directories() {
		if err := w.Mkdir(dir); err != nil {
			return err
		}
	}
	if err := checkUnused(w); err != nil {
		return err
	}
	s := &state{log: newLog()}
	s.log.ID = outbox.NewLogID()
	stateContent, err := s.encode()
	if err != nil {
		return err
	}
	unitsContent, err := newUnits().encode()
	if err != nil {
		return err
	}
	for _, f := range []struct {
		name    string
		content []byte
	}{
		{readmeFile, []byte(readme)},
		{stateFile, stateContent},
		{unitsFile, unitsContent},
		{journalName(1), encodeHead(1)},
	} {
		if err := w.replace(f.name, f.content); err != nil {
			return err
		}
	}
	if err := w.syncDirs(map[string]bool{".": true, log: true, journals: true}); err != nil {
		return err
	}
	return writeFormat(w)
}

// checkUnused makes sure that a directory without a format has no data, and removes
// what was left of an attempt to make it.
func checkUnused(w *writer) error {
	for _, dir := range []string{collections, removed, temporary, log, journals} {
		entries, err := w.List(dir)
		if err != nil {
			return err
		}
		for _, entry := range entries {
			name := dir + "/" + entry.Name()
			ours := dir == temporary || name == stateFile || name == unitsFile || name == journalName(1)
			if !ours {
				return fmt.Errorf("%w: %s is missing, and there is %s", ErrDamaged, formatFile, name)
			}
			if dir == temporary {
				if err := w.Remove(name); err != nil {
					return err
				}
			}
		}
	}
	return nil
}
