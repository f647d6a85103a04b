package application_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/driver"
	"github.com/uow-go/uow/memory"
	"github.com/uow-go/uow/outbox"
	"github.com/uow-go/uow/sqlite"

	"github.com/uow-go/uow/monitor/internal/application"
	"github.com/uow-go/uow/monitor/internal/domain"
)

// origin is the slot 0 of the tests.
var origin = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

func at(seconds int) time.Time { return origin.Add(time.Duration(seconds) * time.Second) }

var errBroken = errors.New("the store is broken on purpose")

// probe is a store that remembers what is done with it, and can be made to fail.
type probe struct {
	driver.Store
	outbox.Log

	mu      sync.Mutex
	open    int
	steps   []string
	commits []driver.ChangeSet
	// fault, when set, is called around each step, such as "before commit" and
	// "after find alerts". Its error is the step's.
	fault func(step string) error
}

// step runs one step of the store with the faults around it.
func (p *probe) step(name string, do func() error) error {
	if err := p.at("before " + name); err != nil {
		return err
	}
	if err := do(); err != nil {
		return err
	}
	return p.at("after " + name)
}

func (p *probe) at(step string) error {
	p.mu.Lock()
	p.steps = append(p.steps, step)
	fault := p.fault
	p.mu.Unlock()
	if fault == nil {
		return nil
	}
	return fault(step)
}

// inject makes the next steps go through fault, and forgets what was remembered.
func (p *probe) inject(fault func(step string) error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fault, p.steps, p.commits = fault, nil, nil
}

func (p *probe) transactions() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.open
}

func (p *probe) change(by int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open += by
}

// Begin implements driver.Store.
func (p *probe) Begin(ctx context.Context, options driver.TxOptions) (driver.Tx, error) {
	var tx driver.Tx
	err := p.step("begin", func() (err error) {
		tx, err = p.Store.Begin(ctx, options)
		return err
	})
	if err != nil {
		if tx != nil {
			err = errors.Join(err, tx.Rollback())
		}
		return nil, err
	}
	p.change(1)
	return &probeTx{Tx: tx, probe: p, ended: sync.OnceFunc(func() { p.change(-1) })}, nil
}

type probeTx struct {
	driver.Tx
	probe *probe
	ended func()
}

func (t *probeTx) Get(ctx context.Context, collection string, ids []string) (rows []driver.Row, err error) {
	err = t.probe.step("get "+collection, func() (err error) {
		rows, err = t.Tx.Get(ctx, collection, ids)
		return err
	})
	return rows, err
}

func (t *probeTx) Find(ctx context.Context, collection string, q driver.Query) (rows []driver.Row, err error) {
	err = t.probe.step("find "+collection, func() (err error) {
		rows, err = t.Tx.Find(ctx, collection, q)
		return err
	})
	return rows, err
}

func (t *probeTx) Commit(ctx context.Context, cs *driver.ChangeSet) error {
	t.probe.mu.Lock()
	t.probe.commits = append(t.probe.commits, *cs)
	t.probe.mu.Unlock()
	defer t.ended()
	err := t.probe.step("commit", func() error { return t.Tx.Commit(ctx, cs) })
	return errors.Join(err, t.Tx.Rollback()) // does nothing after Commit
}

func (t *probeTx) Rollback() error {
	defer t.ended()
	return t.Tx.Rollback()
}

// world is a database with an evaluator and a group of two rules: Down fires at
// once, and Slow after a minute.
type world struct {
	*ledger
	probe     *probe
	log       outbox.Log
	evaluator *application.Evaluator
	group     application.Group
	// now is the clock of everything; an evaluation sets it to its slot.
	now time.Time
	// reopen opens the database anew.
	reopen func() *world
}

// eachStore runs a test on each store. open makes a new, empty world.
func eachStore(t *testing.T, test func(t *testing.T, open func(t *testing.T) *world)) {
	t.Run("memory", func(t *testing.T) { test(t, newWorld) })
	t.Run("sqlite", func(t *testing.T) {
		test(t, func(t *testing.T) *world { return newSQLiteWorld(t, filepath.Join(t.TempDir(), "tocsin.db")) })
	})
}

func newWorld(t *testing.T) *world {
	t.Helper()
	inner, err := memory.Open(t.Context(), uow.Config{})
	if err != nil {
		t.Fatal(err)
	}
	return openWorld(t, inner.Store())
}

func newSQLiteWorld(t *testing.T, path string) *world {
	t.Helper()
	store, err := sqlite.OpenStore(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	w := openWorld(t, store)
	w.reopen = func() *world {
		t.Helper()
		if err := w.db.Close(); err != nil {
			t.Fatal(err)
		}
		return newSQLiteWorld(t, path)
	}
	return w
}

func openWorld(t *testing.T, store driver.Store) *world {
	t.Helper()
	log, ok := store.(outbox.Log)
	if !ok {
		t.Fatalf("%T has no outbox", store)
	}
	w := &world{probe: &probe{Store: store, Log: log}, now: origin}
	state := application.NewState()
	db, err := uow.Open(t.Context(), w.probe, uow.Config{Collections: state.Collections(), Now: func() time.Time { return w.now }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	w.ledger = &ledger{t: t, db: db, state: state}
	w.log = w.probe
	w.evaluator = &application.Evaluator{
		DB: db, State: state, Destinations: []string{"pager", "chat"},
		OnGap: domain.GapShift, ExternalURL: "http://tocsin", Clock: func() time.Time { return w.now },
	}
	w.group = groupNamed("g")
	return w
}

func groupNamed(id string) application.Group {
	return application.Group{Group: domain.Group{ID: id, Interval: 10 * time.Second, Rules: []domain.Rule{
		{UID: "down", Name: "Down"},
		{UID: "slow", Name: "Slow", For: time.Minute},
	}}}
}

// values is a result with a sample for each instance.
func values(name string, instances ...string) (r domain.Result) {
	for _, instance := range instances {
		r.Samples = append(r.Samples, domain.Sample{
			Labels:      map[string]string{"alertname": name, "instance": instance},
			Annotations: map[string]string{"summary": instance + " is bad"},
			Value:       1,
		})
	}
	return r
}

func down(instances ...string) domain.Result { return values("Down", instances...) }

func slow(instances ...string) domain.Result { return values("Slow", instances...) }

// try evaluates a slot of the group. Rules without a result have none.
func (w *world) try(slot time.Time, results ...domain.Result) error {
	g := w.group
	for len(results) < len(g.Rules) {
		results = append(results, domain.Result{})
	}
	g.Query = func(context.Context, time.Time) ([]domain.Result, error) { return results, nil }
	w.now = slot
	return w.evaluator.Evaluate(context.Background(), g, slot)
}

// eval evaluates a slot, so many seconds after the origin.
func (w *world) eval(seconds int, results ...domain.Result) {
	w.t.Helper()
	if err := w.try(at(seconds), results...); err != nil {
		w.t.Fatalf("slot %d: %v", seconds, err)
	}
}

// transitions returns the history, oldest first.
func (w *world) transitions() []domain.Transition {
	w.t.Helper()
	all := found(w, w.state.Transitions)
	slices.SortStableFunc(all, func(a, b domain.Transition) int {
		return cmp.Or(a.Slot.Compare(b.Slot), strings.Compare(a.Alert, b.Alert), cmp.Compare(a.Number, b.Number))
	})
	return all
}

// story returns the history of all alerts, as "a:firing a:resolved".
func (w *world) story() string {
	w.t.Helper()
	var all []string
	for _, t := range w.transitions() {
		all = append(all, t.Labels["instance"]+":"+string(t.Kind))
	}
	return strings.Join(all, " ")
}

func (w *world) deliveries() []domain.Delivery { w.t.Helper(); return found(w, w.state.Deliveries) }

func (w *world) alerts() []domain.Alert { w.t.Helper(); return found(w, w.state.Alerts) }

// alert returns the only alert of an instance.
func (w *world) alert(instance string) domain.Alert {
	w.t.Helper()
	var of []domain.Alert
	for _, a := range w.alerts() {
		if a.Labels["instance"] == instance {
			of = append(of, a)
		}
	}
	if len(of) != 1 {
		w.t.Fatalf("%d alerts of %s, want 1", len(of), instance)
	}
	return of[0]
}

func found[T any](w *world, c *uow.Collection[T]) (out []T) {
	w.t.Helper()
	w.do(func(ctx context.Context, u *uow.Unit) error {
		all, err := c.In(u).Find(ctx, uow.Query{})
		out = nil
		for _, v := range all {
			out = append(out, *v)
		}
		return err
	})
	return out
}

// messages returns the outbox, in commit order.
func (w *world) messages() []outbox.Message {
	w.t.Helper()
	all, _, err := w.log.Scan(context.Background(), outbox.Query{Limit: 100_000})
	if err != nil {
		w.t.Fatal(err)
	}
	return all
}

func notification(t *testing.T, m outbox.Message) (n domain.Notification) {
	t.Helper()
	if err := json.Unmarshal(m.Payload, &n); err != nil {
		t.Fatalf("message %s: %v", m.ID, err)
	}
	return n
}

// dump returns everything that is stored, in a text that is the same when the
// same is stored.
func (w *world) dump() string {
	w.t.Helper()
	messages := w.messages()
	for i := range messages {
		messages[i].Position = 0 // a commit that failed may have used one up
	}
	text, err := json.MarshalIndent(map[string]any{
		"alerts": w.alerts(), "evaluations": found(w, w.state.Evaluations), "transitions": w.transitions(),
		"deliveries": w.deliveries(), "attempts": found(w, w.state.Attempts), "gaps": found(w, w.state.Gaps),
		"messages": messages,
	}, "", " ")
	if err != nil {
		w.t.Fatal(err)
	}
	return string(text)
}

// difference shows where two dumps begin to differ.
func difference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	i := 0
	for i < min(len(g), len(w)) && g[i] == w[i] {
		i++
	}
	part := func(lines []string) string { return strings.Join(lines[max(0, i-8):min(len(lines), i+8)], "\n") }
	return fmt.Sprintf("from line %d on\n%s\nwant\n%s", i, part(g), part(w))
}

// faults is a test of what act leaves behind when the store fails.
type faults struct {
	// prepare makes what is there before.
	prepare func(w *world)
	act     func(w *world) error
	// again is what comes after a failure; committed says that the store has
	// committed and lost the answer. Default: act.
	again func(w *world, committed bool) error
	// parts says that act is more than one unit, of which some may be there after
	// a failure.
	parts bool
}

// run runs act once for each step that it makes of the store, each time in a new
// world in which that step fails. After it either nothing of act or all of it
// must be stored; and after another try all of it, once.
func (f faults) run(t *testing.T) {
	if f.again == nil {
		f.again = func(w *world, _ bool) error { return f.act(w) }
	}
	eachStore(t, func(t *testing.T, open func(t *testing.T) *world) {
		w := open(t)
		f.prepare(w)
		nothing := w.dump()
		w.probe.inject(nil)
		if err := f.act(w); err != nil {
			t.Fatalf("without a fault: %v", err)
		}
		steps := slices.Clone(w.probe.steps)
		all := w.dump()
		if all == nothing || !slices.Contains(steps, "after commit") {
			t.Fatalf("nothing was done in the steps %v", steps)
		}
		for i, step := range steps {
			t.Run(fmt.Sprint(i, " ", step), func(t *testing.T) { f.fail(open(t), i, step, nothing, all) })
		}
	})
}

// fail lets one step fail.
func (f faults) fail(w *world, broken int, step, nothing, all string) {
	t := w.t
	f.prepare(w)
	n := -1
	w.probe.inject(func(string) error {
		if n++; n == broken {
			return errBroken
		}
		return nil
	})
	if err := f.act(w); !errors.Is(err, errBroken) {
		t.Fatalf("err = %v", err)
	}
	if open := w.probe.transactions(); open != 0 {
		t.Errorf("%d transactions were left open", open)
	}
	committed := step == "after commit" && !w.probe.commits[len(w.probe.commits)-1].Empty()
	w.probe.inject(nil)
	want := nothing
	if committed {
		want = all
	}
	if got := w.dump(); !f.parts && got != want {
		t.Errorf("after the failure, stored: %s", difference(got, want))
	}
	if err := f.again(w, committed); err != nil {
		t.Errorf("another try: %v", err)
	}
	if got := w.dump(); got != all {
		t.Errorf("after another try, stored: %s", difference(got, all))
	}
}
