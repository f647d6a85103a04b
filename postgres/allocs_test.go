package postgres

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"testing"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/internal/storetest"
)

// maxAllocs is how many allocations a unit that loads, changes and saves a document
// with one event may make, those of the codec and of encoding the event aside.
const maxAllocs = 40

// TestAllocations counts them, of all layers, and of what runs beside. The race
// detector allocates too, so that with it the test is run once more, without.
func TestAllocations(t *testing.T) {
	if raceEnabled {
		withoutRace(t)
		return
	}
	f := open(t, needServer(t), Options{MaxConns: 1})
	f.Insert("a")
	f.quiet()
	unit := func() {
		err := f.DB.Do(t.Context(), func(ctx context.Context, u *uow.Unit) error {
			d, err := f.Documents.In(u).Get(ctx, "a")
			if err == nil {
				d.Add(1)
			}
			return err
		})
		f.Must(err)
	}
	for range 10 {
		unit()
	}
	d, event := &document{ID: "a", Count: 12345}, any(storetest.Recounted{To: 12345})
	body, err := json.Marshal(d)
	f.Must(err)
	codec := testing.AllocsPerRun(200, func() {
		_ = json.Unmarshal(body, new(document))
		_, _ = json.Marshal(d)
		_, _ = json.Marshal(event)
	})
	got := testing.AllocsPerRun(500, unit) - codec
	t.Logf("%v allocations, beside the codec's %v", got, codec)
	if got > maxAllocs {
		t.Errorf("a unit makes %v allocations beside the codec's, want at most %d", got, maxAllocs)
	}
}

// withoutRace runs the test in a process of its own that is built without the race
// detector.
func withoutRace(t *testing.T) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "test", "-race=false", "-run", "^"+t.Name()+"$", "-count=1", "-v", ".") //nolint:gosec // the test's own name
	cmd.Env = append(os.Environ(), "POSTGRES_URL="+needServer(t))
	out, err := cmd.CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("--- PASS: "+t.Name())) {
		t.Errorf("without the race detector: %v\n%s", err, out)
	}
}
