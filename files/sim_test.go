package files

import (
	"bytes"
	"io/fs"
	"maps"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"sync"
	"time"
)

// simDisk is a disk that knows what a power loss could leave of it. It assumes
// nothing but what Sync and SyncDir promise: of what was not synced, any part may
// be there, in any order.
type simDisk struct {
	mu   sync.Mutex // one operation at a time: a commit makes several at once
	root *simNode
	ops  int
	// before is called before each operation.
	before func()
	// fail, when set, makes operations fail: it gets the operation and the name.
	fail func(op, name string) error
}

// simNode is a file or a directory: as it is now, as it is on the disk for sure,
// and what lies between.
type simNode struct {
	dir bool

	data, synced []byte
	writes       []simWrite
	// dropped says that a sync has failed: the system has dropped what it could not
	// write, and says of later syncs that they went well.
	dropped bool

	entries, kept map[string]*simNode
	changes       []simChange
	// scratch says that changes of the directory do not matter one by one.
	scratch bool
}

// simWrite puts data at a place, or cuts the file there.
type simWrite struct {
	at   int64
	data []byte
	cut  bool
}

// simChange makes a name stand for a node, or for nothing.
type simChange struct {
	name string
	node *simNode
}

func newSimDir() *simNode {
	return &simNode{dir: true, entries: map[string]*simNode{}, kept: map[string]*simNode{}}
}

func newSimDisk() *simDisk { return &simDisk{root: newSimDir()} }

func (d *simDisk) step(op, name string) error {
	d.ops++
	if d.before != nil {
		d.before()
	}
	if d.fail != nil {
		if err := d.fail(op, name); err != nil {
			return &fs.PathError{Op: op, Path: name, Err: err}
		}
	}
	return nil
}

// find returns what a name stands for.
func (d *simDisk) find(name string) (*simNode, error) {
	n := d.root
	for part := range strings.SplitSeq(name, "/") {
		if part == "." {
			continue
		}
		n = n.entries[part]
		if n == nil {
			return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
		}
	}
	return n, nil
}

func (d *simDisk) set(name string, n *simNode) error {
	parent, err := d.find(path.Dir(name))
	if err != nil {
		return err
	}
	base := path.Base(name)
	if n == nil {
		delete(parent.entries, base)
	} else {
		parent.entries[base] = n
	}
	parent.changes = append(parent.changes, simChange{base, n})
	return nil
}

func (d *simDisk) Mkdir(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.step("mkdir", name); err != nil {
		return err
	}
	if _, err := d.find(name); err == nil {
		return nil
	}
	n := newSimDir()
	n.scratch = name == temporary // it is never synced
	return d.set(name, n)
}

type simEntry struct {
	name string
	dir  bool
}

func (e simEntry) Name() string               { return e.name }
func (e simEntry) IsDir() bool                { return e.dir }
func (e simEntry) Type() fs.FileMode          { return 0 }
func (e simEntry) Info() (fs.FileInfo, error) { return nil, fs.ErrInvalid }
func (e simEntry) String() string             { return e.name }
func (e simEntry) ModTime() time.Time         { return time.Time{} }

func (d *simDisk) List(dir string) ([]fs.DirEntry, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, err := d.find(dir)
	if err != nil {
		return nil, err
	}
	var all []fs.DirEntry
	for _, name := range slices.Sorted(maps.Keys(n.entries)) {
		all = append(all, simEntry{name, n.entries[name].dir})
	}
	return all, nil
}

func (d *simDisk) Read(name string) ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.fail != nil {
		if err := d.fail("read", name); err != nil {
			return nil, &fs.PathError{Op: "read", Path: name, Err: err}
		}
	}
	n, err := d.find(name)
	if err != nil {
		return nil, err
	}
	return bytes.Clone(n.data), nil
}

func (d *simDisk) Create(name string) (file, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.step("create", name); err != nil {
		return nil, err
	}
	if _, err := d.find(name); err == nil {
		return nil, &fs.PathError{Op: "create", Path: name, Err: fs.ErrExist}
	}
	n := &simNode{}
	return &simFile{d, n, name, 0}, d.set(name, n)
}

func (d *simDisk) Append(name string, size int64) (file, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.step("append", name); err != nil {
		return nil, err
	}
	n, err := d.find(name)
	if err != nil {
		return nil, err
	}
	f := &simFile{d, n, name, 0}
	return f, f.cut(size)
}

func (d *simDisk) Rename(from, to string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.step("rename", to); err != nil {
		return err
	}
	n, err := d.find(from)
	if err != nil {
		return err
	}
	if err := d.set(to, n); err != nil {
		return err
	}
	return d.set(from, nil)
}

func (d *simDisk) Remove(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.step("remove", name); err != nil {
		return err
	}
	if _, missing := d.find(name); missing != nil {
		return nil // it is gone already
	}
	return d.set(name, nil)
}

func (d *simDisk) SyncDir(dir string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.step("syncdir", dir); err != nil {
		return err
	}
	n, err := d.find(dir)
	if err != nil {
		return err
	}
	n.kept, n.changes = maps.Clone(n.entries), nil
	return nil
}

type simFile struct {
	disk *simDisk
	node *simNode
	name string
	at   int64
}

func (f *simFile) Write(p []byte) (int, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if err := f.disk.step("write", f.name); err != nil {
		half := simWrite{at: f.at, data: bytes.Clone(p[:len(p)/2])}
		f.node.writes, f.node.data = append(f.node.writes, half), half.apply(f.node.data)
		f.at += int64(len(half.data))
		return len(p) / 2, err
	}
	w := simWrite{at: f.at, data: bytes.Clone(p)}
	f.node.writes, f.node.data = append(f.node.writes, w), w.apply(f.node.data)
	f.at += int64(len(p))
	return len(p), nil
}

func (f *simFile) Sync() error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if err := f.disk.step("sync", f.name); err != nil {
		f.node.dropped = true
		return err
	}
	if f.node.dropped {
		return nil
	}
	f.node.synced, f.node.writes = bytes.Clone(f.node.data), nil
	return nil
}

func (f *simFile) Cut(size int64) error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if err := f.disk.step("cut", f.name); err != nil {
		return err
	}
	return f.cut(size)
}

func (f *simFile) cut(size int64) error {
	w := simWrite{at: size, cut: true}
	f.node.writes, f.node.data, f.at = append(f.node.writes, w), w.apply(f.node.data), size
	return nil
}

func (f *simFile) Close() error { return nil }

func (w simWrite) apply(data []byte) []byte {
	data = bytes.Clone(data)
	if w.cut {
		if int64(len(data)) > w.at {
			data = data[:w.at]
		}
		return data
	}
	if end := w.at + int64(len(w.data)); int64(len(data)) < end {
		data = append(data, make([]byte, end-int64(len(data)))...)
	}
	copy(data[w.at:], w.data)
	return data
}

// fate decides what a power loss leaves of what was not synced. It is asked for
// each change in turn.
type fate interface {
	// change reports whether the change of a directory is there.
	change(i int) bool
	// write returns what is there of a write: nothing, all, or a part.
	write(i int, w simWrite) []simWrite
}

// crash returns the disk that a power loss leaves, and how many changes were not
// synced.
func (d *simDisk) crash(f fate) (*simDisk, int) {
	pending, seen := 0, map[*simNode]*simNode{}
	var visit func(n *simNode) *simNode
	visit = func(n *simNode) *simNode {
		if out, ok := seen[n]; ok {
			return out
		}
		out := &simNode{dir: n.dir, scratch: n.scratch}
		seen[n] = out
		if !n.dir {
			data := bytes.Clone(n.synced)
			for _, w := range n.writes {
				for _, part := range f.write(pending, w) {
					data = part.apply(data)
				}
				pending++
			}
			out.data, out.synced = data, bytes.Clone(data)
			return out
		}
		names := maps.Clone(n.kept)
		for _, c := range n.changes {
			i := pending
			if n.scratch {
				i = -1
			} else {
				pending++
			}
			if !f.change(i) {
				continue
			}
			if delete(names, c.name); c.node != nil {
				names[c.name] = c.node
			}
		}
		out.entries = map[string]*simNode{}
		for _, name := range slices.Sorted(maps.Keys(names)) {
			out.entries[name] = visit(names[name])
		}
		out.kept = maps.Clone(out.entries)
		return out
	}
	return &simDisk{root: visit(d.root)}, pending
}

// copy returns the disk as it is, with what is not synced: what another process
// finds after this one was killed.
func (d *simDisk) copy() *simDisk {
	seen := map[*simNode]*simNode{}
	var visit func(n *simNode) *simNode
	all := func(names map[string]*simNode) map[string]*simNode {
		if names == nil {
			return nil
		}
		out := make(map[string]*simNode, len(names))
		for name, n := range names {
			out[name] = visit(n)
		}
		return out
	}
	visit = func(n *simNode) *simNode {
		if out, ok := seen[n]; ok || n == nil {
			return out
		}
		out := &simNode{dir: n.dir, scratch: n.scratch, data: bytes.Clone(n.data), synced: bytes.Clone(n.synced), writes: slices.Clone(n.writes), dropped: n.dropped}
		seen[n] = out
		out.entries, out.kept = all(n.entries), all(n.kept)
		for _, c := range n.changes {
			out.changes = append(out.changes, simChange{c.name, visit(c.node)})
		}
		return out
	}
	return &simDisk{root: visit(d.root)}
}

// subset keeps what it says.
type subset func(i int) bool

func (s subset) change(i int) bool { return s(i) }
func (s subset) write(i int, w simWrite) []simWrite {
	if s(i) {
		return []simWrite{w}
	}
	return nil
}

// torn keeps everything, but of each write only a part: the bytes that it says, and
// zeros in the place of the others where long is set.
type torn struct {
	keep func(n int) (from, to int)
	long bool
}

func (t torn) change(int) bool { return true }
func (t torn) write(_ int, w simWrite) []simWrite {
	if w.cut {
		return []simWrite{w}
	}
	from, to := t.keep(len(w.data))
	part := simWrite{at: w.at + int64(from), data: w.data[from:to]}
	if t.long {
		return []simWrite{{at: w.at, data: make([]byte, len(w.data))}, part}
	}
	return []simWrite{part}
}

// chance keeps each change or not, and tears writes.
type chance struct{ *rand.Rand }

func (c chance) change(int) bool { return c.IntN(2) == 0 }
func (c chance) write(_ int, w simWrite) []simWrite {
	switch c.IntN(4) {
	case 0:
		return nil
	case 1:
		return []simWrite{w}
	}
	if w.cut || len(w.data) == 0 {
		return nil
	}
	from := c.IntN(len(w.data))
	to := from + c.IntN(len(w.data)-from) + 1
	return torn{keep: func(int) (int, int) { return from, to }, long: c.IntN(2) == 0}.write(0, w)
}

// fates returns what is tried at each moment, for as many changes as are pending.
func fates(pending int, r *rand.Rand) []fate {
	all := []fate{
		subset(func(int) bool { return false }),
		subset(func(int) bool { return true }),
		torn{keep: func(int) (int, int) { return 0, 0 }, long: true},
		torn{keep: func(n int) (int, int) { return 0, min(1, n) }},
		torn{keep: func(n int) (int, int) { return 0, n / 2 }},
		torn{keep: func(n int) (int, int) { return 0, n / 2 }, long: true},
		torn{keep: func(n int) (int, int) { return n / 2, n }, long: true},
		torn{keep: func(n int) (int, int) { return 0, max(0, n-1) }},
		chance{r}, chance{r}, chance{r}, chance{r},
	}
	for i := range pending {
		all = append(all,
			subset(func(j int) bool { return j == i }),
			subset(func(j int) bool { return j != i }),
			subset(func(j int) bool { return j <= i }))
	}
	return all
}
