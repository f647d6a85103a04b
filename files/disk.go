package files

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"sync/atomic"
)

// disk is what the store does with its directory. Names are relative to it, with
// slashes. What is written is durable after Sync; that a name stands for it, after
// the SyncDir of its directory.
type disk interface {
	// Mkdir makes a directory where there is none.
	Mkdir(name string) error
	List(dir string) ([]fs.DirEntry, error)
	Read(name string) ([]byte, error)
	// Create makes a file that must not exist.
	Create(name string) (file, error)
	// Append opens a file to write behind its first bytes, and cuts off the rest.
	Append(name string, size int64) (file, error)
	Rename(from, to string) error
	// Remove removes a file that may be missing.
	Remove(name string) error
	SyncDir(dir string) error
}

// file is a file to write to its end.
type file interface {
	io.Writer
	Sync() error
	// Cut shortens the file; writing goes on there.
	Cut(size int64) error
	Close() error
}

// directory is the disk of the operating system.
type directory struct{ root *os.Root }

// Mkdir implements disk.
func (d directory) Mkdir(name string) error {
	if err := d.root.Mkdir(name, 0o777); !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

// List implements disk.
func (d directory) List(dir string) ([]fs.DirEntry, error) {
	f, err := d.root.Open(dir)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // it was only read
	return f.ReadDir(-1)
}

// Read implements disk.
func (d directory) Read(name string) ([]byte, error) { return d.root.ReadFile(name) }

// Create implements disk.
func (d directory) Create(name string) (file, error) {
	f, err := d.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

// Append implements disk.
func (d directory) Append(name string, size int64) (file, error) {
	f, err := d.root.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		return nil, err
	}
	if err := (osFile{f}).Cut(size); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return osFile{f}, nil
}

// Rename implements disk.
func (d directory) Rename(from, to string) error { return d.root.Rename(from, to) }

// Remove implements disk.
func (d directory) Remove(name string) error {
	if err := d.root.Remove(name); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// SyncDir implements disk.
func (d directory) SyncDir(dir string) error {
	f, err := d.root.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

type osFile struct{ *os.File }

// Cut implements file.
func (f osFile) Cut(size int64) error {
	if err := f.Truncate(size); err != nil {
		return err
	}
	_, err := f.Seek(size, io.SeekStart)
	return err
}

// writer writes whole files so that each is there as it was or as it is to be.
type writer struct {
	disk
	made atomic.Int64
}

// replace writes a file under another name, syncs it and renames it. The caller
// syncs its directory.
func (w *writer) replace(name string, content []byte) error {
	temp := temporary + "/" + strconv.FormatInt(w.made.Add(1), 10)
	err := w.write(temp, content)
	if err == nil {
		err = w.Rename(temp, name)
	}
	if err != nil {
		_ = w.Remove(temp) // the next Open does it otherwise
		return wrap("write "+name, err)
	}
	return nil
}

// write makes a file that is on the disk afterwards.
func (w *writer) write(name string, content []byte) error {
	f, err := w.Create(name)
	if err != nil {
		return err
	}
	if _, err := f.Write(content); err != nil {
		return errors.Join(err, f.Close())
	}
	return errors.Join(f.Sync(), f.Close())
}

// syncDirs syncs directories, each once.
func (w *writer) syncDirs(dirs map[string]bool) error {
	for dir := range dirs {
		if err := w.SyncDir(dir); err != nil {
			return wrap("sync "+dir, err)
		}
	}
	return nil
}

// checkForeign refuses what is none of the names, but for hidden files, which are
// those of other tools.
func checkForeign(dir string, entry fs.DirEntry, known bool) error {
	if known || entry.Name()[0] == '.' {
		return nil
	}
	return fmt.Errorf("%w: %s/%s: move it out of the directory", ErrForeign, dir, entry.Name())
}
