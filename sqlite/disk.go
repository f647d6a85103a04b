package sqlite

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
)

// disk knows how much of the log survives a power loss. SQLite shows what was committed
// with synchronous = FULL only after it has synced the write-ahead log, and what was
// committed with NORMAL before.
type disk struct {
	wal  string // the file
	sync func(path string) error
	// reached is a position up to which everything is there.
	reached atomic.Int64
}

// reach notes that everything up to a position is on the disk.
func (d *disk) reach(position int64) {
	for {
		before := d.reached.Load()
		if before >= position || d.reached.CompareAndSwap(before, position) {
			return
		}
	}
}

// await returns when everything up to a position, which was read before, is on the disk.
// What was read is in the write-ahead log, or SQLite has moved it into the database,
// which it syncs.
func (d *disk) await(position int64) error {
	if d.reached.Load() >= position {
		return nil
	}
	if err := d.sync(d.wal); err != nil {
		return fmt.Errorf("sqlite: scan: the messages are not on the disk: %w", err)
	}
	d.reach(position)
	return nil
}

// syncFile syncs a file, and the folder that it may be new in. A file that is not there
// is one that SQLite has done with.
func syncFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil || runtime.GOOS == "windows" { // which syncs no folders
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
