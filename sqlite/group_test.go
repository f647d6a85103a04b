package sqlite

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/driver"
	"github.com/uow-go/uow/outbox"
)

// openDocuments opens a database with a collection of documents.
func openDocuments(t testing.TB, path string, o Options) (*uow.DB, *Store, *uow.Collection[document]) {
	t.Helper()
	documents := uow.Define(uow.CollectionConfig[document]{
		Name: "documents",
		Indexes: []uow.Index[document]{
			{Name: "note", Kind: uow.String, Value: func(d *document) any {
				if d.Note == "" {
					return nil
				}
				return d.Note
			}, Unique: true},
		},
	})
	db, err := o.Open(t.Context(), path, uow.Config{Collections: []uow.AnyCollection{documents}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db, db.Store().(*Store), documents
}

func temporary(t testing.TB) string { return filepath.Join(t.TempDir(), "test.db") }

// hold takes the writer, so that commits queue, until the returned function is
// called.
func holdWriter(t *testing.T, s *Store) (release func()) {
	t.Helper()
	if _, err := s.writer.enter(t.Context(), &request{}); err != nil {
		t.Fatal(err)
	}
	return s.writer.leave
}

// waitQueued waits until a number of requests wait for the writer.
func waitQueued(t *testing.T, s *Store, n int) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		s.writer.mu.Lock()
		queued := len(s.writer.queue)
		s.writer.mu.Unlock()
		if queued == n {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d requests wait, want %d", queued, n)
		}
	}
}

func insert(id string) *driver.ChangeSet {
	return &driver.ChangeSet{
		Writes:   []driver.Write{{Op: driver.Insert, Collection: "documents", ID: id, Version: 1, Sequence: 1, Body: []byte(`{}`), Indexes: []driver.Value{nil}}},
		Messages: []driver.Message{{ID: id, Type: "Added", Write: 1, Sequence: 1, AggregateType: "documents", AggregateID: id, CreatedAt: time.Now()}},
	}
}

func commitAll(t *testing.T, s *Store, sets []*driver.ChangeSet) []error {
	t.Helper()
	errs := make([]error, len(sets))
	release := holdWriter(t, s)
	var wg sync.WaitGroup
	for i, cs := range sets {
		wg.Go(func() {
			tx, err := s.Begin(t.Context(), driver.TxOptions{})
			if err == nil {
				err = tx.Commit(t.Context(), cs)
			}
			errs[i] = err
		})
		waitQueued(t, s, i+1) // so that they queue in order
	}
	release()
	wg.Wait()
	return errs
}

func log(t *testing.T, s *Store) (ids []string) {
	t.Helper()
	messages, _, err := s.Scan(t.Context(), outbox.Query{Limit: 10000})
	if err != nil {
		t.Fatal(err)
	}
	for i, m := range messages {
		if m.Position != int64(i+1) {
			t.Errorf("message %d is at position %d", i+1, m.Position)
		}
		ids = append(ids, m.ID)
	}
	return ids
}

func rows(t *testing.T, s *Store, ids ...string) int {
	t.Helper()
	tx, err := s.Begin(t.Context(), driver.TxOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	found, err := tx.Get(t.Context(), "documents", ids)
	if err != nil {
		t.Fatal(err)
	}
	return len(found)
}

func TestGroupSharesOneTransaction(t *testing.T) {
	_, s, _ := openDocuments(t, temporary(t), Options{})
	var sets []*driver.ChangeSet
	var want []string
	for i := range 40 {
		sets = append(sets, insert(fmt.Sprint("d", i)))
		want = append(want, fmt.Sprint("d", i))
	}
	before := s.writer.committed.Load()
	for i, err := range commitAll(t, s, sets) {
		if err != nil {
			t.Errorf("unit %d: %v", i, err)
		}
	}
	if n := s.writer.committed.Load() - before; n != 1 {
		t.Errorf("40 waiting units took %d transactions, want 1", n)
	}
	if got := log(t, s); strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("the log has %v, want the order in which the units came", got)
	}
}

func TestGroupFailsOneAlone(t *testing.T) {
	_, s, _ := openDocuments(t, temporary(t), Options{})
	one, two, three := insert("a"), insert("b"), insert("c")
	// The second writes a row, and then one that has a version nobody knows.
	two.Writes = append(two.Writes, driver.Write{Op: driver.Update, Collection: "documents", ID: "a", Expected: 7, Version: 8, Body: []byte(`{}`), Indexes: []driver.Value{nil}})
	before := s.writer.committed.Load()
	errs := commitAll(t, s, []*driver.ChangeSet{one, two, three})
	var conflict *driver.ConflictError
	if errs[0] != nil || errs[2] != nil || !errors.As(errs[1], &conflict) {
		t.Fatalf("got %v, want a conflict of the second alone", errs)
	}
	if want := (driver.ConflictError{Collection: "documents", ID: "a", Expected: 7, Found: 1}); *conflict != want {
		t.Errorf("got %+v, want %+v", *conflict, want)
	}
	if n := s.writer.committed.Load() - before; n != 1 {
		t.Errorf("took %d transactions, want 1", n)
	}
	if n := rows(t, s, "a", "b", "c"); n != 2 {
		t.Errorf("%d rows, want those of the first and the third", n)
	}
	if got := log(t, s); strings.Join(got, " ") != "a c" {
		t.Errorf("the log has %v, want a c", got)
	}
}

func TestGroupSurvivesTheLossOfItsTransaction(t *testing.T) {
	_, s, _ := openDocuments(t, temporary(t), Options{})
	script(t, s, `CREATE TRIGGER fatal BEFORE INSERT ON documents WHEN NEW.id = 'b' BEGIN SELECT RAISE(ROLLBACK, 'fatal'); END`)
	errs := commitAll(t, s, []*driver.ChangeSet{insert("a"), insert("b"), insert("c")})
	if errs[0] != nil || errs[1] == nil || errs[2] != nil {
		t.Fatalf("got %v, want a failure of the second alone", errs)
	}
	if n := rows(t, s, "a", "b", "c"); n != 2 {
		t.Errorf("%d rows, want 2", n)
	}
	if got := log(t, s); strings.Join(got, " ") != "a c" {
		t.Errorf("the log has %v, want a c", got)
	}
}

func TestGroupWithABrokenDeferredConstraint(t *testing.T) {
	_, s, _ := openDocuments(t, temporary(t), Options{})
	script(t, s, `CREATE TABLE child (parent TEXT REFERENCES documents (id) DEFERRABLE INITIALLY DEFERRED);
		CREATE TRIGGER orphan AFTER INSERT ON documents WHEN NEW.id = 'b' BEGIN INSERT INTO child VALUES ('nobody'); END`)
	errs := commitAll(t, s, []*driver.ChangeSet{insert("a"), insert("b"), insert("c")})
	if errs[0] != nil || errs[1] == nil || errs[2] != nil {
		t.Fatalf("got %v, want a failure of the second alone", errs)
	}
	if got := log(t, s); strings.Join(got, " ") != "a c" {
		t.Errorf("the log has %v, want a c", got)
	}
}

func TestGroupReinsertsAfterTheLossOfItsTransaction(t *testing.T) {
	_, s, _ := openDocuments(t, temporary(t), Options{})
	first := commitAll(t, s, []*driver.ChangeSet{insert("a")})
	gone := &driver.ChangeSet{Writes: []driver.Write{{Op: driver.Delete, Collection: "documents", ID: "a", Expected: 1, Version: 2, Sequence: 5}}}
	if errs := append(first, commitAll(t, s, []*driver.ChangeSet{gone})...); errors.Join(errs...) != nil {
		t.Fatal(errs)
	}
	script(t, s, `CREATE TRIGGER fatal BEFORE INSERT ON documents WHEN NEW.id = 'b' BEGIN SELECT RAISE(ROLLBACK, 'fatal'); END`)
	again := insert("a")
	errs := commitAll(t, s, []*driver.ChangeSet{again, insert("b")})
	if errs[0] != nil || errs[1] == nil {
		t.Fatalf("got %v, want a failure of the second alone", errs)
	}
	if w, m := again.Writes[0], again.Messages[0]; w.Version != 3 || w.Sequence != 6 || m.Sequence != 6 {
		t.Errorf("got version %d, sequence %d, message %d; want 3, 6, 6", w.Version, w.Sequence, m.Sequence)
	}
}

func TestQueuedCommitHeedsItsContext(t *testing.T) {
	_, s, _ := openDocuments(t, temporary(t), Options{})
	release := holdWriter(t, s)
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("changed my mind")
	failed := make(chan error)
	go func() {
		tx, err := s.Begin(ctx, driver.TxOptions{})
		if err == nil {
			err = tx.Commit(ctx, insert("a"))
		}
		failed <- err
	}()
	waitQueued(t, s, 1)
	cancel(cause)
	if err := <-failed; !errors.Is(err, cause) {
		t.Errorf("got %v, want the context's cause", err)
	}
	release()
	if n := rows(t, s, "a"); n != 0 {
		t.Error("the withdrawn unit was written")
	}
}

func TestReadsGoOnWhileTheWriterIsBusy(t *testing.T) {
	db, _, documents := openDocuments(t, temporary(t), Options{})
	ctx := t.Context()
	add := func(id string, count int) func(context.Context, *uow.Unit) error {
		return func(_ context.Context, u *uow.Unit) error {
			return documents.In(u).Add(&document{ID: id, Count: count})
		}
	}
	if err := db.Do(ctx, add("a", 1)); err != nil {
		t.Fatal(err)
	}
	reader := db.Begin()
	defer reader.Close()
	if _, err := documents.In(reader).Get(ctx, "nobody"); !errors.Is(err, uow.ErrNotFound) {
		t.Fatal(err)
	}
	writer := db.Begin()
	defer writer.Close()
	if _, err := Tx(writer).ExecContext(ctx, `UPDATE documents SET version = version + 1, body = json_set(body, '$.Count', 2)`); err != nil {
		t.Fatal(err)
	}
	look := func(u *uow.Unit, when string, want int) {
		t.Helper()
		d, err := documents.In(u).Get(ctx, "a")
		if err != nil || d.Count != want {
			t.Errorf("%s: got %+v, %v, want %d", when, d, err, want)
		}
	}
	other := db.Begin()
	defer other.Close()
	look(other, "while the writer is busy", 1)
	if err := writer.Commit(ctx); err != nil {
		t.Fatal(err)
	}
	look(reader, "in a snapshot taken before, by a read that found nothing", 1)
	fresh := db.Begin()
	defer fresh.Close()
	look(fresh, "afterwards", 2)
}

func TestSubscribersAreCalled(t *testing.T) {
	db, s, documents := openDocuments(t, temporary(t), Options{})
	calls := 0
	cancel := s.Subscribe(func(bool) { calls++ })
	do := func(fn func(ctx context.Context, u *uow.Unit) error) {
		t.Helper()
		if err := db.Do(t.Context(), fn); err != nil {
			t.Fatal(err)
		}
	}
	do(func(_ context.Context, u *uow.Unit) error { return documents.In(u).Add(&document{ID: "a"}) })
	if calls != 0 {
		t.Errorf("called %d times without a message", calls)
	}
	message := outbox.Message{Type: "Said"}
	do(func(_ context.Context, u *uow.Unit) error { return outbox.Append(u, message) })
	do(func(ctx context.Context, u *uow.Unit) error {
		return errors.Join(outbox.Append(u, message), u.Flush(ctx))
	})
	if calls != 2 {
		t.Errorf("called %d times, want 2", calls)
	}
	cancel()
	do(func(_ context.Context, u *uow.Unit) error { return outbox.Append(u, message) })
	if calls != 2 {
		t.Error("called after cancel")
	}
}
