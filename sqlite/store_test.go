package sqlite

import (
	"context"
	sqldriver "database/sql/driver"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/driver"
)

func TestOpenRefusesWhatIsNoFile(t *testing.T) {
	for path, want := range map[string]string{
		":memory:":                   "package memory",
		"file::memory:?cache=shared": "package memory",
		"":                           "empty",
		"file:x.db":                  "URI",
	} {
		if _, err := Open(t.Context(), path, uow.Config{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("path %q: got %v, want an error with %q", path, err, want)
		}
	}
}

func TestOpenTakesOddPaths(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a b?c#d%20e.db")
	openDocuments(t, path, Options{})
	if found, err := filepath.Glob(filepath.Join(filepath.Dir(path), "a b[?]c#d%20e.db")); err != nil || len(found) != 1 {
		t.Errorf("found %v, %v, want the file under its name", found, err)
	}
}

func TestSettings(t *testing.T) {
	_, s, _ := openDocuments(t, temporary(t), Options{})
	for pragma, want := range map[string]int64{"synchronous": 2, "wal_autocheckpoint": 10000, "foreign_keys": 1, "busy_timeout": 5000, "query_only": 0} {
		if got, _, err := s.writer.conn.integer("PRAGMA " + pragma); got != want || err != nil {
			t.Errorf("writer: %s is %d, %v, want %d", pragma, got, err, want)
		}
	}
	err := s.reading(t.Context(), func(c *conn) error {
		_, err := c.exec("DELETE FROM documents")
		return err
	})
	if err == nil {
		t.Error("a reader could write")
	}
	_, s, _ = openDocuments(t, temporary(t), Options{Synchronous: Normal, CheckpointPages: 7})
	for pragma, want := range map[string]int64{"synchronous": 1, "wal_autocheckpoint": 7} {
		if got, _, err := s.writer.conn.integer("PRAGMA " + pragma); got != want || err != nil {
			t.Errorf("%s is %d, %v, want %d", pragma, got, err, want)
		}
	}
}

func TestNewerSchemaIsRefused(t *testing.T) {
	path := temporary(t)
	db, s, _ := openDocuments(t, path, Options{})
	script(t, s, `INSERT INTO uow_schema VALUES (99, 'from the future', 0)`)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	_, err := Open(t.Context(), path, uow.Config{})
	if !errors.Is(err, ErrSchema) || !strings.Contains(err.Error(), "99") {
		t.Errorf("got %v, want ErrSchema that names the version", err)
	}
}

func TestManyOpenOneNewFile(t *testing.T) {
	path := temporary(t)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			db, err := Open(t.Context(), path, uow.Config{Collections: []uow.AnyCollection{uow.NewCollection[document]("documents")}})
			if err != nil {
				t.Errorf("open %d: %v", i, err)
				return
			}
			if err := db.Close(); err != nil {
				t.Errorf("close %d: %v", i, err)
			}
		})
	}
	wg.Wait()
}

func TestTwoStoresOnOneFile(t *testing.T) {
	path := temporary(t)
	one, _, documents := openDocuments(t, path, Options{})
	two, _, same := openDocuments(t, path, Options{})
	if err := one.Do(t.Context(), func(_ context.Context, u *uow.Unit) error {
		return documents.In(u).Add(&document{ID: "a"})
	}); err != nil {
		t.Fatal(err)
	}
	count := func(db *uow.DB, c *uow.Collection[document]) error {
		for done := 0; done < 50; {
			err := db.Do(t.Context(), func(ctx context.Context, u *uow.Unit) error {
				d, err := c.In(u).Get(ctx, "a")
				if err == nil {
					d.Count++
				}
				return err
			})
			if err == nil {
				done++
			} else if !errors.Is(err, uow.ErrConflict) {
				return err
			}
		}
		return nil
	}
	var wg sync.WaitGroup
	for db, c := range map[*uow.DB]*uow.Collection[document]{one: documents, two: same} {
		wg.Go(func() {
			if err := count(db, c); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if err := one.Do(t.Context(), func(ctx context.Context, u *uow.Unit) error {
		d, err := documents.In(u).Get(ctx, "a")
		if err == nil && d.Count != 100 {
			err = fmt.Errorf("counted to %d, want 100", d.Count)
		}
		return err
	}); err != nil {
		t.Error(err)
	}
}

func TestLockedByAnotherProcess(t *testing.T) {
	path := temporary(t)
	_, other, _ := openDocuments(t, path, Options{})
	_, s, _ := openDocuments(t, path, Options{BusyTimeout: 50 * time.Millisecond})
	if err := other.writer.begin(); err != nil {
		t.Fatal(err)
	}
	tx, err := s.Begin(t.Context(), driver.TxOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := tx.Commit(t.Context(), insert("a")); !errors.Is(err, ErrBusy) {
		t.Errorf("got %v, want ErrBusy", err)
	}
	other.writer.rollback()
	if errs := commitAll(t, s, []*driver.ChangeSet{insert("a")}); errs[0] != nil {
		t.Errorf("after the lock was gone: %v", errs[0])
	}
}

func TestFullDisk(t *testing.T) {
	_, s, _ := openDocuments(t, temporary(t), Options{})
	pages, _, err := s.writer.conn.integer("PRAGMA page_count")
	if err != nil {
		t.Fatal(err)
	}
	limit := func(n int64) {
		if _, _, err := s.writer.conn.integer(fmt.Sprintf("PRAGMA max_page_count = %d", n)); err != nil {
			t.Fatal(err)
		}
	}
	limit(pages + 4)
	big := insert("big")
	big.Writes[0].Body = []byte(strings.Repeat("x", 100_000))
	errs := commitAll(t, s, []*driver.ChangeSet{insert("a"), big, insert("b")})
	if errs[0] != nil || !errors.Is(errs[1], ErrFull) || errs[2] != nil {
		t.Fatalf("got %v, want ErrFull for the second alone", errs)
	}
	message := insert("message")
	message.Messages[0].Payload = []byte(strings.Repeat("x", 100_000))
	errs = commitAll(t, s, []*driver.ChangeSet{insert("c"), message})
	if errs[0] != nil || !errors.Is(errs[1], ErrFull) {
		t.Fatalf("got %v, want ErrFull for the second alone", errs)
	}
	if n := rows(t, s, "a", "big", "b", "c", "message"); n != 3 {
		t.Errorf("%d rows, want a, b and c", n)
	}
	if got := log(t, s); strings.Join(got, " ") != "a b c" {
		t.Errorf("the log has %v, want a b c", got)
	}
	limit(1_000_000)
	if errs := commitAll(t, s, []*driver.ChangeSet{big, message}); errors.Join(errs...) != nil {
		t.Errorf("with room again: %v", errs)
	}
}

// failCommits makes the next commits fail inside COMMIT.
func failCommits(s *Store) { s.writer.conn.raw.RegisterCommitHook(func() int32 { return 1 }) }

func TestCommitThatFailsIsNoSuccess(t *testing.T) {
	_, s, _ := openDocuments(t, temporary(t), Options{})
	release := holdWriter(t, s)
	failCommits(s)
	release()
	errs := commitAll(t, s, []*driver.ChangeSet{insert("a"), insert("b")})
	if errs[0] == nil || errs[1] == nil {
		t.Fatalf("got %v, want two errors", errs)
	}
	s.writer.conn.watch()
	if n := rows(t, s, "a", "b"); n != 0 {
		t.Errorf("%d rows, want none", n)
	}
	if errs := commitAll(t, s, []*driver.ChangeSet{insert("a"), insert("b")}); errors.Join(errs...) != nil {
		t.Errorf("afterwards: %v", errs)
	}
}

func TestBrokenWriterIsReplaced(t *testing.T) {
	_, s, _ := openDocuments(t, temporary(t), Options{})
	release := holdWriter(t, s)
	if err := s.writer.closeConn(); err != nil {
		t.Fatal(err)
	}
	release()
	if errs := commitAll(t, s, []*driver.ChangeSet{insert("a"), insert("b")}); errors.Join(errs...) != nil {
		t.Errorf("on a new connection: %v", errs)
	}
}

func TestIndexOfATableThatHasRows(t *testing.T) {
	path := temporary(t)
	plain := uow.NewCollection[document]("documents")
	open := func(c uow.AnyCollection) (*uow.DB, error) {
		return Open(t.Context(), path, uow.Config{Collections: []uow.AnyCollection{c}})
	}
	indexed := func(kind uow.Kind, unique bool) uow.AnyCollection {
		return uow.Define(uow.CollectionConfig[document]{Name: "documents", Indexes: []uow.Index[document]{
			{Name: "count", Kind: kind, Unique: unique, Value: func(d *document) any { return d.Count }},
		}})
	}
	for _, step := range []struct {
		name string
		c    uow.AnyCollection
		want error
	}{
		{"new", plain, nil},
		{"an index, empty", indexed(uow.Int, false), nil},
		{"unique, empty", indexed(uow.Int, true), nil},
		{"no longer, empty", plain, nil},
	} {
		db, err := open(step.c)
		if !errors.Is(err, step.want) {
			t.Fatalf("%s: got %v, want %v", step.name, err, step.want)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
	db, err := open(plain)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Do(t.Context(), func(_ context.Context, u *uow.Unit) error {
		return plain.In(u).Add(&document{ID: "a"})
	}); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := open(indexed(uow.Int, false)); !errors.Is(err, ErrMismatch) {
		t.Errorf("an index of a table with rows: got %v, want ErrMismatch", err)
	}
}

func TestUseAfterClose(t *testing.T) {
	db, s, documents := openDocuments(t, temporary(t), Options{})
	ctx := t.Context()
	reading, own := db.Begin(), db.Begin()
	if _, err := documents.In(reading).GetMany(ctx, "a"); err != nil {
		t.Fatal(err)
	}
	if _, err := Tx(own).ExecContext(ctx, `INSERT INTO documents VALUES ('a', 1, 0, NULL, '{}')`); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if err := own.Commit(ctx); !errors.Is(err, ErrClosed) {
		t.Errorf("commit of a unit with the writer: got %v, want ErrClosed", err)
	}
	if err := reading.Close(); err != nil {
		t.Errorf("rollback: %v", err)
	}
	if err := db.Do(ctx, func(ctx context.Context, u *uow.Unit) error {
		_, err := documents.In(u).Get(ctx, "a")
		return err
	}); !errors.Is(err, ErrClosed) {
		t.Errorf("read: got %v, want ErrClosed", err)
	}
	if s.writer.conn != nil || s.readers.open != 0 {
		t.Errorf("connections were left open: writer %v, %d readers", s.writer.conn != nil, s.readers.open)
	}
}

func TestReadersWaitInTurn(t *testing.T) {
	db, s, documents := openDocuments(t, temporary(t), Options{Readers: 1})
	first := db.Begin()
	if _, err := documents.In(first).GetMany(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	second := db.Begin()
	if _, err := documents.In(second).GetMany(ctx, "a"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want the context's error", err)
	}
	got := make(chan error)
	go func() {
		_, err := documents.In(second).GetMany(t.Context(), "a")
		got <- err
	}()
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-got; err != nil {
		t.Errorf("got %v after the first was done", err)
	}
	if err := second.Close(); err != nil {
		t.Fatal(err)
	}
	if n := inUse(s); n != 0 {
		t.Errorf("%d connections in use, want none", n)
	}
}

func TestNamesThatDifferInCase(t *testing.T) {
	s, err := OpenStore(t.Context(), temporary(t))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Register(t.Context(), []driver.Collection{{Name: "a"}, {Name: "A"}}); err == nil {
		t.Error("two collections in one table")
	}
	if err := s.Register(t.Context(), []driver.Collection{{Name: "b", Indexes: []driver.Index{{Name: "ID", Kind: driver.Int}}}}); err == nil {
		t.Error("an index in the column id")
	}
}

func TestReadThatIsInterrupted(t *testing.T) {
	_, s, _ := openDocuments(t, temporary(t), Options{Readers: 1})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	err := s.reading(ctx, func(c *conn) error {
		return c.query(ctx, func([]sqldriver.Value) error { return nil },
			`WITH RECURSIVE n(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n LIMIT 1000000000) SELECT count(*) FROM n`)
	})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want the context's error", err)
	}
	if n := rows(t, s, "a"); n != 0 {
		t.Errorf("%d rows, want none", n)
	}
	if n := inUse(s); n != 0 {
		t.Errorf("%d connections in use, want none", n)
	}
}

func TestManyShapesOfQueries(t *testing.T) {
	_, s, _ := openDocuments(t, temporary(t), Options{Readers: 1})
	tx, err := s.Begin(t.Context(), driver.TxOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	for i := range 2 * maxStatements {
		var q driver.Query
		for rest := i + 1; rest > 0; rest /= 4 {
			op := driver.Less + driver.Comparison(rest%4)
			q.Where = append(q.Where, driver.Condition{Field: "note", Op: op, Values: []driver.Value{"a"}})
		}
		if _, err := tx.Find(t.Context(), "documents", q); err != nil {
			t.Fatalf("query %d: %v", i, err)
		}
	}
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	if n := len(s.readers.idle[0].stmts); n > maxStatements {
		t.Errorf("the connection keeps %d statements, want at most %d", n, maxStatements)
	}
}
