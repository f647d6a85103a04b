package sqlite

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/outbox"
)

// image is what a power loss would leave of a database that SQLite itself does not sync:
// its files as they were when they were synced last.
type image struct {
	mu    sync.Mutex
	files map[string][]byte
	syncs int
}

// of has the store's syncs make the image.
func (im *image) of(t *testing.T, s *Store, path string) {
	im.take(t, path)
	real := s.disk.sync
	s.disk.sync = func(wal string) error {
		if err := real(wal); err != nil {
			return err
		}
		im.take(t, path)
		return nil
	}
}

func (im *image) take(t *testing.T, path string) {
	im.mu.Lock()
	defer im.mu.Unlock()
	im.syncs++
	im.files = map[string][]byte{}
	for _, suffix := range []string{"", "-wal"} {
		content, err := os.ReadFile(path + suffix)
		if err != nil {
			t.Error(err)
			return
		}
		im.files[suffix] = content
	}
}

// restart opens what the power loss has left.
func (im *image) restart(t *testing.T) *Store {
	t.Helper()
	path := filepath.Join(t.TempDir(), "after.db")
	for suffix, content := range im.files {
		if err := os.WriteFile(path+suffix, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	_, s, _ := openDocuments(t, path, Options{})
	return s
}

func appendOne(ctx context.Context, db *uow.DB, id string) error {
	return db.Do(ctx, func(_ context.Context, u *uow.Unit) error {
		return outbox.Append(u, outbox.Message{ID: id, Topic: "t", Type: "T"})
	})
}

func scanned(t *testing.T, s *Store) map[string]bool {
	t.Helper()
	messages, _, err := s.Scan(t.Context(), outbox.Query{Limit: 10_000})
	if err != nil {
		t.Fatal(err)
	}
	ids := map[string]bool{}
	for _, m := range messages {
		ids[m.ID] = true
	}
	return ids
}

// Whatever Scan has returned survives a power loss, though units commit with Normal.
func TestP20_NothingIsScannedThatAPowerLossTakesBack(t *testing.T) {
	path := temporary(t)
	db, s, _ := openDocuments(t, path, Options{Synchronous: Normal})
	var im image
	im.of(t, s, path)

	var writers sync.WaitGroup
	for range 4 {
		writers.Go(func() {
			for i := range 50 {
				if err := appendOne(t.Context(), db, fmt.Sprintf("m%d of %p", i, &i)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	seen := map[string]bool{}
	for range 20 {
		seen = scanned(t, s)
	}
	writers.Wait()
	if err := appendOne(t.Context(), db, "the last one"); err != nil {
		t.Fatal(err)
	}

	left := scanned(t, im.restart(t))
	for id := range seen {
		if !left[id] {
			t.Errorf("message %s was scanned, and lost", id)
		}
	}
	if left["the last one"] {
		t.Error("the image has what was never synced: the test shows nothing")
	}
}

// What the store has synced by committing it is not synced once more.
func TestScanSyncsWhatOthersMayNotHave(t *testing.T) {
	path := temporary(t)
	db, s, _ := openDocuments(t, path, Options{})
	other, _, _ := openDocuments(t, path, Options{Synchronous: Normal})
	var im image
	im.of(t, s, path)
	syncs := func(want int, what string) {
		t.Helper()
		scanned(t, s)
		if got := im.syncs - 1; got != want {
			t.Errorf("%s: %d syncs, want %d", what, got, want)
		}
	}
	if err := appendOne(t.Context(), db, "own"); err != nil {
		t.Fatal(err)
	}
	syncs(0, "own commit")
	if err := appendOne(t.Context(), other, "foreign"); err != nil {
		t.Fatal(err)
	}
	syncs(1, "another's commit")
	syncs(1, "again")
	if err := appendOne(t.Context(), other, "foreign 2"); err != nil {
		t.Fatal(err)
	}
	if err := appendOne(t.Context(), db, "own 2"); err != nil {
		t.Fatal(err)
	}
	syncs(1, "own commit after another's, which syncs both")
}

func TestNothingIsScannedWhenTheDiskFails(t *testing.T) {
	db, s, _ := openDocuments(t, temporary(t), Options{Synchronous: Normal})
	if err := appendOne(t.Context(), db, "m"); err != nil {
		t.Fatal(err)
	}
	broken := errors.New("the disk is gone")
	s.disk.sync = func(string) error { return broken }
	if messages, next, err := s.Scan(t.Context(), outbox.Query{Limit: 1}); !errors.Is(err, broken) || len(messages) > 0 || next != 0 {
		t.Errorf("got %d messages, next %d, %v, want the disk's error and nothing else", len(messages), next, err)
	}
}
