package files

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/outbox"
)

// filled returns a directory with two documents, one removed, and a message.
func filled(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "filled")
	db, _, docs := opened(t, Options{}, dir)
	err := db.Do(t.Context(), func(_ context.Context, u *uow.Unit) error {
		return errors.Join(
			docs.In(u).Add(&document{ID: "alice", Note: "first"}),
			docs.In(u).Add(&document{ID: "Bob/2", Note: "second", Count: 2}),
			docs.In(u).Add(&document{ID: "gone"}),
			outbox.Append(u, outbox.Message{ID: "m1", Type: "Filled", Key: "k", Payload: []byte(`{"by":1}`)}))
	})
	if err != nil {
		t.Fatal(err)
	}
	err = db.Do(t.Context(), func(ctx context.Context, u *uow.Unit) error {
		d, err := docs.In(u).Get(ctx, "gone")
		return errors.Join(err, docs.In(u).Remove(d))
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	return dir
}

func tryOpen(dir string, cfg uow.Config) error {
	if cfg.Collections == nil {
		cfg.Collections = []uow.AnyCollection{newDocuments()}
	}
	db, err := Open(context.Background(), dir, cfg)
	if err != nil {
		return err
	}
	return db.Close()
}

// contents returns all files but the lock, which says who had it.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() == lockFile {
			return err
		}
		content, err := os.ReadFile(path)
		all[strings.TrimPrefix(path, dir+"/")] = string(content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestFilesAreForPeople: what the documentation shows is what is there.
func TestFilesAreForPeople(t *testing.T) {
	all := contents(t, filled(t))
	for name, want := range map[string]string{
		"collections/documents/alice.json": `{"uow":{"collection":"documents","id":"alice","version":1,"sequence":0,"indexes":{"note":"first","count":0},"size":39,"crc32c":"a04002bf"},
"body":
{"ID":"alice","Note":"first","Count":0}
}
`,
		"collections/documents/!bob%2f2.json": `{"uow":{"collection":"documents","id":"Bob/2","version":1,"sequence":0,"indexes":{"note":"second","count":2},"size":40,"crc32c":"8a01158f"},
"body":
{"ID":"Bob/2","Note":"second","Count":2}
}
`,
		"removed/documents/gone.json": `{"uow":{"collection":"documents","id":"gone","version":2,"sequence":0,"removed":true,"size":0,"crc32c":"1b003fd2"}
}
`,
		"README.md": readme,
		"uow.json":  "{\"format\":2}\n",
	} {
		if all[name] != want {
			t.Errorf("%s is\n%s\nwant\n%s", name, all[name], want)
		}
	}
	if m := all[segmentName(1)]; !strings.Contains(m, `{"position":1,"id":"m1","key":"k","type":"Filled"`) || !strings.Contains(m, `"payload":{"by":1}`) {
		t.Errorf("the message is %s", m)
	}
	if _, there := all["collections/documents/gone.json"]; there || len(all) != 9 {
		t.Errorf("there are %d files, want 9", len(all))
	}
}

func TestRefusals(t *testing.T) {
	alice := place(key{"documents", "alice"})
	write := func(name, content string) func(dir string) error {
		return func(dir string) error { return os.WriteFile(filepath.Join(dir, name), []byte(content), 0o666) }
	}
	change := func(name, from, to string) func(dir string) error {
		return func(dir string) error {
			content, err := os.ReadFile(filepath.Join(dir, name))
			if err == nil && !strings.Contains(string(content), from) {
				err = fmt.Errorf("%s has no %s", name, from)
			}
			return errors.Join(err, write(name, strings.Replace(string(content), from, to, 1))(dir))
		}
	}
	for what, c := range map[string]struct {
		do   func(dir string) error
		want error
		says string
	}{
		"something of somebody's in the directory": {write("notes.txt", ""), ErrForeign, "notes.txt"},
		"something of somebody's in a collection":  {write("collections/documents/alice.json~", ""), ErrForeign, "alice.json~"},
		"something of somebody's in the journal":   {write("journal/mine", ""), ErrForeign, "journal/mine"},
		"a row that was edited":                    {change(alice, "first", "third"), ErrDamaged, alice},
		"a row whose header was edited":            {change(alice, `"version":1`, `"version":2`), ErrDamaged, alice},
		"a row that was formatted":                 {change(alice, ",\"Note\"", ", \"Note\""), ErrDamaged, alice},
		"a row that is empty":                      {write(alice, ""), ErrDamaged, alice},
		"a row under another name": {func(dir string) error {
			return os.Rename(filepath.Join(dir, alice), filepath.Join(dir, "collections/documents/carol.json"))
		}, ErrForeign, "carol.json"},
		"a row that is removed and is not": {func(dir string) error {
			return copyFile(dir, gone(key{"documents", "gone"}), place(key{"documents", "gone"}))
		}, ErrForeign, "gone.json"},
		"a newer format":                     {write(formatFile, `{"format":3}`), ErrFormat, "it is 3, this program knows 2"},
		"a format that is none":              {write(formatFile, `x`), ErrDamaged, formatFile},
		"no format, and data":                {func(dir string) error { return os.Remove(filepath.Join(dir, formatFile)) }, ErrDamaged, formatFile},
		"a state that was edited":            {change(stateFile, `"end": 1`, `"end": 2`), ErrDamaged, stateFile},
		"no state":                           {func(dir string) error { return os.Remove(filepath.Join(dir, stateFile)) }, fs.ErrNotExist, stateFile},
		"a message that was edited":          {change(segmentName(1), "m1", "m2"), ErrDamaged, segmentName(1) + ": the line at byte 0"},
		"a message that is cut off":          {write(segmentName(1), "12"), ErrDamaged, segmentName(1)},
		"no journal":                         {func(dir string) error { return os.RemoveAll(filepath.Join(dir, journals)) }, fs.ErrNotExist, journals},
		"a journal without its files":        {func(dir string) error { return removeJournals(dir) }, ErrDamaged, "no journal"},
		"a file in the place of a directory": {func(dir string) error { return errors.Join(os.RemoveAll(dir), os.WriteFile(dir, nil, 0o666)) }, nil, "filled"},
		"a directory in the place of a row":  {func(dir string) error { return os.Mkdir(filepath.Join(dir, "collections/documents/dir.json"), 0o777) }, nil, "dir.json"},
		"a directory that is somebody's altogether": {func(dir string) error {
			return errors.Join(os.RemoveAll(dir), os.Mkdir(dir, 0o777), write("thesis.doc", "")(dir))
		}, ErrForeign, "thesis.doc"},
	} {
		t.Run(what, func(t *testing.T) {
			dir := filled(t)
			if err := c.do(dir); err != nil {
				t.Fatal(err)
			}
			before := map[string]string{}
			if info, err := os.Stat(dir); err == nil && info.IsDir() {
				before = contents(t, dir)
			}
			err := tryOpen(dir, uow.Config{})
			if err == nil || c.want != nil && !errors.Is(err, c.want) || !strings.HasPrefix(err.Error(), "files: ") || !strings.Contains(err.Error(), c.says) {
				t.Fatalf("got %v, want %v that says %q", err, c.want, c.says)
			}
			for name, content := range before {
				if after, err := os.ReadFile(filepath.Join(dir, name)); (err != nil || string(after) != content) && !strings.HasPrefix(name, journals) {
					t.Errorf("%s was changed by an Open that failed", name)
				}
			}
			if err := tryOpen(dir, uow.Config{}); err == nil {
				t.Error("the second Open went well")
			}
		})
	}
}

func copyFile(dir, from, to string) error {
	content, err := os.ReadFile(filepath.Join(dir, from))
	return errors.Join(err, os.WriteFile(filepath.Join(dir, to), content, 0o666))
}

func removeJournals(dir string) error {
	names, err := filepath.Glob(filepath.Join(dir, journals, "*.log"))
	for _, name := range names {
		err = errors.Join(err, os.Remove(name))
	}
	return err
}

// TestDamagedJournalChangesNothing: a record that was damaged in front of others is
// an error, which names the file and the place; the directory stays as it was.
func TestDamagedJournalChangesNothing(t *testing.T) {
	w, d := newWorld(), newSimDisk()
	s := simOpened(t, w, d)
	if err := errors.Join(adding("a")(s), adding("b")(s), adding("c")(s)); err != nil {
		t.Fatal(err)
	}
	n, err := d.find(journalName(2))
	if err != nil {
		t.Fatal(err)
	}
	n.data[len(encodeHead(1))+30] ^= 1
	before := d.names()
	_, err = w.open(d)
	if want := fmt.Sprintf("%s: the line at byte %d ", journalName(2), len(encodeHead(1))); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), want) {
		t.Fatalf("got %v, want ErrDamaged that says %q", err, want)
	}
	if after := d.names(); !equal(before, after) {
		t.Errorf("the directory was changed: before %q, after %q", before, after)
	}
}

func equal(a, b []string) bool { return strings.Join(a, "\n") == strings.Join(b, "\n") }

func TestOneProcessAtATime(t *testing.T) {
	dir := filled(t)
	db, _, _ := opened(t, Options{}, dir)
	err := tryOpen(dir, uow.Config{})
	if want := fmt.Sprintf("process %d has the lock on", os.Getpid()); !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), filepath.Join(dir, lockFile)) {
		t.Errorf("got %v, want ErrLocked with the process and the file", err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if err := tryOpen(dir, uow.Config{}); err != nil {
		t.Errorf("after Close: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, lockFile), []byte("process 1\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(tryOpen(dir, uow.Config{}), db.Close()); err != nil {
		t.Errorf("with a lock file that was left: %v", err)
	}
}

// TestMismatches: rows are read by the collections that a program has now.
func TestMismatches(t *testing.T) {
	define := func(indexes ...uow.Index[document]) uow.Config {
		return uow.Config{Collections: []uow.AnyCollection{uow.Define(uow.CollectionConfig[document]{Name: "documents", Indexes: indexes})}}
	}
	note := uow.Index[document]{Name: "note", Kind: uow.String, Value: func(d *document) any { return d.Note }}
	unique, number, other := note, note, note
	unique.Name, unique.Kind, unique.Unique = "count", uow.Int, true
	unique.Value = func(d *document) any { return d.Count }
	number.Kind, other.Name = uow.Int, "other"
	for what, c := range map[string]struct {
		cfg  uow.Config
		says string // empty when it goes well
	}{
		"no index":         {define(), ""},
		"one index":        {define(note), ""},
		"a unique one":     {define(note, unique), ""},
		"a new index":      {define(note, other), "it has no value of index other"},
		"another kind":     {define(number), "value of index note is of another kind"},
		"no collection":    {uow.Config{Collections: []uow.AnyCollection{uow.NewCollection[document]("others")}}, ""},
		"the usual config": {uow.Config{}, ""},
	} {
		err := tryOpen(filled(t), c.cfg)
		if (err == nil) != (c.says == "") || err != nil && (!errors.Is(err, ErrMismatch) || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%s: got %v, want %q", what, err, c.says)
		}
	}
	dir := filled(t)
	db, _, docs := opened(t, Options{}, dir)
	if err := errors.Join(add(t.Context(), db, docs, document{ID: "same", Note: "other", Count: 2}), db.Close()); err != nil {
		t.Fatal(err)
	}
	if err := tryOpen(dir, define(note, unique)); !errors.Is(err, ErrMismatch) || !errors.Is(err, uow.ErrDuplicate) {
		t.Errorf("a unique index over the same value: got %v, want ErrMismatch and ErrDuplicate", err)
	}
}

// TestFilesFollow: files are written in the background, soon after the commits, and
// rows that change again and again are written once.
func TestFilesFollow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		db, s, docs := opened(t, Options{Delay: time.Minute}, dir)
		if err := add(t.Context(), db, docs, document{ID: "a"}); err != nil {
			t.Fatal(err)
		}
		name := filepath.Join(dir, place(key{"documents", "a"}))
		time.Sleep(time.Minute - time.Second)
		synctest.Wait()
		if _, err := os.Stat(name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the file is there before its time: %v", err)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if _, err := os.Stat(name); err != nil {
			t.Error(err)
		}
		made := s.keeper.disk.made.Load()
		for range 10 {
			err := db.Do(t.Context(), func(ctx context.Context, u *uow.Unit) error {
				d, err := docs.In(u).Get(ctx, "a")
				if err == nil {
					d.Count++
				}
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := s.keeper.disk.made.Load() - made; n != 3 { // the row, the state and the units
			t.Errorf("%d files were written for ten changes of a row, want 3", n)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// TestFilesThatCanNotBeWritten: commits go on, somebody is told, and the files
// follow when it is possible again.
func TestFilesThatCanNotBeWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		sim := newSimDisk()
		k, engine, err := openKeeper(Options{Delay: time.Minute, Logger: slog.New(slog.NewTextHandler(&out, nil))}.withDefaults(), sim)
		if err != nil {
			t.Fatal(err)
		}
		docs := newDocuments()
		db, err := uow.Open(t.Context(), &Store{Store: engine, keeper: k}, uow.Config{Collections: []uow.AnyCollection{docs}})
		if err != nil {
			t.Fatal(err)
		}
		sim.fail = failing(1, fs.ErrPermission, on("rename", "collections"))
		if err := add(t.Context(), db, docs, document{ID: "a"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if !strings.Contains(out.String(), "writing files failed") || !strings.Contains(out.String(), "collections/documents/a.json") {
			t.Errorf("nobody was told: %q", out.String())
		}
		if err := add(t.Context(), db, docs, document{ID: "b"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		for _, id := range []string{"a", "b"} {
			if _, err := sim.find(place(key{"documents", id})); err != nil {
				t.Error(err)
			}
		}
		if err := errors.Join(engine.Close(), k.close()); err != nil {
			t.Error(err)
		}
	})
}

// TestALargeJournalIsNotAwaited: files are written at once when the journal is as
// large as it may be, by commits themselves where nothing else helps.
func TestALargeJournalIsNotAwaited(t *testing.T) {
	dir := t.TempDir()
	db, s, docs := opened(t, Options{Delay: time.Hour, JournalSize: 100}, dir)
	for i := range 20 {
		if err := add(t.Context(), db, docs, document{ID: fmt.Sprint(i), Note: strings.Repeat("x", 500)}); err != nil {
			t.Fatal(err)
		}
	}
	if entries, err := s.keeper.disk.List("collections/documents"); err != nil || len(entries) < 10 {
		t.Errorf("%d files are written, %v, want 10 at least", len(entries), err)
	}
}

func TestNames(t *testing.T) {
	long := strings.Repeat("x", 300)
	seen := map[string]string{}
	for id, want := range map[string]string{
		"alice":    "alice",
		"Alice":    "!alice",
		"!alice":   "%21alice",
		"a/../b":   "a%2f..%2fb",
		".":        "%2e",
		"..":       "%2e.",
		".git":     "%2egit",
		"é":        "%c3%a9",
		"":         "",
		"a%2f":     "a%252f",
		"\x00\xff": "%00%ff",
		long:       "",
		long + "y": "",
		long + "z": "",
	} {
		got := escape(id)
		if want != "" && got != want {
			t.Errorf("%q is %s, want %s", id, got, want)
		}
		if other, taken := seen[got]; taken || len(got) > longest || strings.ContainsAny(got, "/ABCXYZ") {
			t.Errorf("%q is %s, as %q, or no name", id, got, other)
		}
		seen[got] = id
	}
	if len(seen) != 14 {
		t.Errorf("%d names, want 14", len(seen))
	}
}
