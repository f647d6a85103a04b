package chaos_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/integration/internal/faultproxy"
	"github.com/uow-go/uow/integration/internal/stores"
	"github.com/uow-go/uow/outbox"
)

// thing remembers which unit changed it last, and how many did.
type thing struct {
	uow.Events
	ID, Unit string
	Count    int64
}

type touched struct{ Unit string }

func (a *thing) touch(unit string) {
	a.Unit = unit
	a.Count++
	a.Record(touched{unit})
}

// state is what the model knows of a thing.
type state struct {
	Unit  string
	Count int64
}

// model is what the database must have.
type model struct {
	things   map[string]state
	messages map[string]int // how many of each unit
	notes    map[string]int
}

func newModel() *model {
	return &model{things: map[string]state{}, messages: map[string]int{}, notes: map[string]int{}}
}

// touch is what thing.touch does.
func (m *model) touch(id, unit string) {
	m.things[id] = state{Unit: unit, Count: m.things[id].Count + 1}
	m.messages[unit]++
}

// world is a database that is used through a proxy, looked at directly, and compared
// with a model.
type world struct {
	*testing.T
	proxy  *faultproxy.Proxy
	things *uow.Collection[thing]
	db     *stores.Database // through the proxy
	hasty  *stores.Database // so too, with little patience
	direct *stores.Database
	// variant says that the server may refuse units of which several run at once.
	variant bool

	mu    sync.Mutex
	model *model
	seen  map[string]int // messages in the log, by unit
	next  int64          // where the log goes on
}

// maxConns is how many connections go through the proxy.
const maxConns = 6

// patience is how long hasty units in trouble wait: for the answer to a commit, and
// for the database to come back.
const patience = 60 * time.Millisecond

func newWorld(t *testing.T, s stores.Store) *world {
	t.Helper()
	proxy, err := faultproxy.New(s.Server.Protocol, s.Server.Address(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(proxy.Close)
	w := &world{T: t, proxy: proxy, variant: s.Variant, model: newModel(), seen: map[string]int{}}
	w.things = uow.Define(uow.CollectionConfig[thing]{
		Name:    "things",
		Indexes: []uow.Index[thing]{{Name: "unit", Kind: uow.String, Value: func(a *thing) any { return a.Unit }}},
	})
	o := stores.Options{MaxConns: maxConns, Config: uow.Config{Collections: []uow.AnyCollection{w.things}, ResolveTimeout: time.Minute}}
	o.Config.Retry = uow.Retry{MaxAttempts: 1000} // who looks is not the one who is tested
	w.direct = s.Open(t, o)
	o.Config.Retry = uow.Retry{}
	o.Name, o.Address = w.direct.Name, proxy.Address()
	w.db = s.Open(t, o)
	o.Config.ResolveTimeout, o.CommitTimeout = patience, patience
	w.hasty = s.Open(t, o)
	return w
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// slot adds the things that the units of a worker change.
func (w *world) slot(slot string) {
	w.Helper()
	w.must(w.direct.Do(w.Context(), func(_ context.Context, u *uow.Unit) error {
		return errors.Join(w.things.In(u).Add(&thing{ID: slot + "/a"}), w.things.In(u).Add(&thing{ID: slot + "/b"}))
	}))
	w.mu.Lock()
	defer w.mu.Unlock()
	w.model.things[slot+"/a"], w.model.things[slot+"/b"] = state{}, state{}
}

// answer is what a caller was told.
type answer struct {
	unit      string // its id
	committed bool
	doubted   bool
	err       error
}

// do runs a unit in a database through the proxy. Where the answer is that nobody knows, settled is called, and the
// database is asked then.
func (w *world) do(ctx context.Context, db *stores.Database, j job, settled func()) (a answer) {
	w.Helper()
	a.err = db.Do(ctx, func(ctx context.Context, u *uow.Unit) error {
		a.unit = u.ID()
		return j.shape.run(ctx, w, u, j)
	})
	a.committed = a.err == nil
	if errors.Is(a.err, uow.ErrInDoubt) {
		a.doubted = true
		settled()
		until(w, "the unit in doubt can be asked for", func() (known bool) {
			var err error
			a.committed, err = db.Resolve(w.Context(), a.unit)
			return err == nil
		})
	}
	if a.committed {
		w.mu.Lock()
		defer w.mu.Unlock()
		j.shape.effect(w.model, j)
	}
	return a
}

// messages reads what is new in the log.
func (w *world) messages() {
	w.Helper()
	log, err := outbox.Of(w.direct.DB)
	w.must(err)
	for {
		some, next, err := log.Scan(w.Context(), outbox.Query{After: w.next, Limit: 1000})
		w.must(err)
		for _, m := range some {
			var about touched
			w.must(json.Unmarshal(m.Payload, &about))
			w.seen[about.Unit]++
		}
		if next == w.next {
			return
		}
		w.next = next
	}
}

// compare demands that the database is as the model where a unit could have left
// something.
func (w *world) compare(j job, a answer) {
	w.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	what := fmt.Sprintf("%s: the answer was committed=%v (in doubt: %v, %v)", j, a.committed, a.doubted, a.err)
	notes := map[string]int{}
	w.must(w.direct.Do(w.Context(), func(ctx context.Context, u *uow.Unit) (err error) {
		ids := append(j.mine(), j.slot+"/a", j.slot+"/b")
		got, err := w.things.In(u).GetMany(ctx, ids...)
		if err != nil {
			return err
		}
		w.sameThings(what, got, ids)
		if j.shape.sql {
			notes, err = w.direct.Notes(ctx, u, j.name)
		}
		return err
	}))
	// A statement of the user's own that arrives twice runs twice, which no store can tell.
	statement := strings.HasSuffix(j.note, "client: Execute") || strings.HasSuffix(j.note, "client: Query")
	twice := strings.HasPrefix(j.note, "duplicate ") && statement && w.model.notes[j.name] > 0 && notes[j.name] == w.model.notes[j.name]+1
	if notes[j.name] != w.model.notes[j.name] && !twice {
		w.Errorf("%s: its own SQL has left %d rows, want %d", what, notes[j.name], w.model.notes[j.name])
		w.model.notes[j.name] = notes[j.name]
	}
	w.messages()
	if w.seen[j.name] < w.model.messages[j.name] { // units beside hold the log back as long as they run
		until(w, what+": its messages can be read", func() bool {
			w.messages()
			return w.seen[j.name] >= w.model.messages[j.name]
		})
	}
	if got, want := w.seen[j.name], w.model.messages[j.name]; got != want {
		w.Errorf("%s: it has left %d messages, want %d", what, got, want)
		w.model.messages[j.name] = got
	}
	if w.direct.Mark != nil && a.unit != "" && !j.shape.reads {
		there, err := w.direct.Mark(w.Context(), a.unit)
		w.must(err)
		if there != a.committed {
			w.Errorf("%s: its marker is there: %v", what, there)
		}
	}
}

// sameThings compares things with the model's, which takes over what is there, so
// that one error is told once. The model is locked.
func (w *world) sameThings(what string, got []*thing, ids []string) {
	w.Helper()
	found := map[string]state{}
	for _, a := range got {
		found[a.ID] = state{Unit: a.Unit, Count: a.Count}
	}
	for _, id := range ids {
		want, should := w.model.things[id]
		if is, there := found[id]; there != should || is != want {
			w.Errorf("%s: %s is %+v (there: %v), want %+v (there: %v)", what, id, is, there, want, should)
			w.model.things[id] = is
			if !there {
				delete(w.model.things, id)
			}
		}
	}
}

// compareAll demands that the database is as the model, in everything.
func (w *world) compareAll() {
	w.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.must(w.direct.Do(w.Context(), func(ctx context.Context, u *uow.Unit) error {
		got, err := w.things.In(u).Find(ctx, uow.Query{})
		if err != nil {
			return err
		}
		if len(got) != len(w.model.things) {
			w.Errorf("in the end there are %d things, want %d", len(got), len(w.model.things))
		}
		ids := make([]string, 0, len(got))
		for _, a := range got {
			ids = append(ids, a.ID)
		}
		w.sameThings("in the end", got, ids)
		if w.direct.Notes == nil {
			return nil
		}
		notes, err := w.direct.Notes(ctx, u, "")
		if err == nil && !maps.Equal(notes, w.model.notes) {
			w.Errorf("in the end there are other rows of own SQL: %v, want %v", notes, w.model.notes)
		}
		return err
	}))
	w.messages()
	if !maps.Equal(w.seen, w.model.messages) {
		w.Errorf("in the end there are other messages: %v, want %v", w.seen, w.model.messages)
	}
}

// end closes what goes through the proxy, waits for the server to be done with it,
// and compares everything once more: nothing comes late.
func (w *world) end() {
	w.Helper()
	w.proxy.Watch(nil)
	w.proxy.Heal()
	w.proxy.Release()
	for _, db := range []*stores.Database{w.db, w.hasty} {
		until(w, "all connections are back in the pool", func() bool { return db.InUse() == 0 })
		w.must(db.Close())
		db.CloseAll()
	}
	w.proxy.Close()
	for _, db := range []*stores.Database{w.db, w.hasty} {
		until(w, "no session is left on the server", func() bool {
			all, _, err := db.Sessions(w.Context())
			w.must(err)
			return all == 0
		})
	}
	w.compareAll()
}
