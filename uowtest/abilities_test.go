package uowtest

import (
	"context"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/driver"
	"github.com/uow-go/uow/memory"
	"github.com/uow-go/uow/outbox"
)

// Stores and transactions with each set of abilities.
type (
	bareStore      struct{ driver.Store }
	resolvableOnly struct {
		driver.Store
		driver.Resolver
	}
	loggedOnly struct {
		driver.Store
		outbox.Log
	}
	fullStore struct {
		driver.Store
		driver.Resolver
		outbox.Log
	}
	bareTx   struct{ driver.Tx }
	nestOnly struct {
		driver.Tx
		driver.Nester
	}
	lockOnly struct {
		driver.Tx
		driver.Locker
	}
	fullTx struct {
		driver.Tx
		driver.Nester
		driver.Locker
	}
)

func TestWrappersHaveTheAbilitiesBeneath(t *testing.T) {
	has := func(v any) string {
		_, resolves := v.(driver.Resolver)
		_, logs := v.(outbox.Log)
		_, nests := v.(driver.Nester)
		_, locks := v.(driver.Locker)
		var all []string
		for name, able := range map[string]bool{"Resolver": resolves, "Log": logs, "Nester": nests, "Locker": locks} {
			if able {
				all = append(all, name)
			}
		}
		slices.Sort(all)
		return strings.Join(all, " ")
	}
	for _, store := range []driver.Store{bareStore{}, resolvableOnly{}, loggedOnly{}, fullStore{}} {
		if got := has(FaultyStore(store, Faults{})); got != has(store) {
			t.Errorf("the wrapper of %T has %q", store, got)
		}
		if got := has(FaultyStore(store, Faults{Doubt: true})); !strings.Contains(got, "Resolver") {
			t.Errorf("the wrapper of %T that may be in doubt has %q", store, got)
		}
	}
	for _, tx := range []driver.Tx{bareTx{}, nestOnly{}, lockOnly{}, fullTx{}} {
		wrapped := &faultyTx{tx: tx, store: newFaultyStore(bareStore{}, Faults{})}
		if got := has(wrapped.able()); got != has(tx) {
			t.Errorf("the wrapper of %T has %q", tx, got)
		}
	}
}

// A new ability of the seam must be forwarded, and explored.
func TestWrappersKnowTheSeam(t *testing.T) {
	known := []string{"Locker", "Nester", "Resolver", "Store", "Tx"}
	files, err := filepath.Glob("../driver/*.go")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	var found []string
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if spec, ok := n.(*ast.TypeSpec); ok {
				if _, ok := spec.Type.(*ast.InterfaceType); ok {
					found = append(found, spec.Name.Name)
				}
			}
			return true
		})
	}
	slices.Sort(found)
	if !slices.Equal(found, known) {
		t.Errorf("package driver has the interfaces %q; the wrappers know %q: forward the new ones, and add them here", found, known)
	}
}

// A store that is wrapped, and to which nothing happens, keeps every promise.
func TestStoreThroughAWrapper(t *testing.T) {
	TestStore(t, Harness{Open: func(t testing.TB, cfg uow.Config) *uow.DB {
		inner, err := memory.Open(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		db, err := uow.Open(t.Context(), FaultyStore(inner.Store(), Faults{Doubt: true}), cfg)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = db.Close() })
		return db
	}})
}

// Every call of a store can fail, before and after it, and what fails is undone.
func TestScriptedFailures(t *testing.T) {
	schema := newSchema(Capabilities{})
	for _, method := range []string{"Begin", "Get", "GetForUpdate", "Find", "Count", "Flush", "Commit", "Nest", "Unnest"} {
		for _, after := range []bool{false, true} {
			inner, err := memory.Open(t.Context(), uow.Config{Collections: schema.all()})
			if err != nil {
				t.Fatal(err)
			}
			around := Script(Failure{Method: method, Nth: 1, After: after})
			db, err := FaultyDB(t.Context(), inner, uow.Config{Collections: schema.all()}, Faults{Around: around, Doubt: true})
			if err != nil {
				t.Fatal(err)
			}
			err = db.Do(t.Context(), func(ctx context.Context, u *uow.Unit) error {
				return useEverything(ctx, u, schema)
			})
			committed := method == "Commit" && after // and the answer is found
			if failed := errors.Is(err, ErrInjected); failed == committed || err == nil != committed {
				t.Errorf("%s, after %v: got %v", method, after, err)
			}
			found := 0
			err = inner.Do(t.Context(), func(ctx context.Context, u *uow.Unit) error {
				all, err := schema.accounts.In(u).Find(ctx, uow.Query{})
				found = len(all)
				return err
			})
			if want := map[bool]int{true: 1, false: 0}[committed]; err != nil || found != want {
				t.Errorf("%s, after %v: %d rows are left, want %d: %v", method, after, found, want, err)
			}
			_ = inner.Close()
		}
	}
}

// useEverything calls each method of a transaction, and stores one account.
func useEverything(ctx context.Context, u *uow.Unit, s schema) error {
	if err := s.accounts.In(u).Add(&account{ID: "a"}); err != nil {
		return err
	}
	if _, err := s.accounts.In(u).Get(ctx, "b"); err != nil && !errors.Is(err, uow.ErrNotFound) {
		return err
	}
	if _, err := s.accounts.In(u).GetForUpdate(ctx, "c"); err != nil && !errors.Is(err, uow.ErrNotFound) {
		return err
	}
	if _, err := s.accounts.In(u).Find(ctx, uow.Query{}); err != nil {
		return err
	}
	if _, err := s.entries.In(u).Count(ctx, uow.Query{}); err != nil {
		return err
	}
	return u.Nested(ctx, func(ctx context.Context, u *uow.Unit) error { return u.Flush(ctx) })
}

// The runs of an exploration are the same each time, and reach every step in every
// way, those of a second attempt too.
func TestRunsAreDeterministic(t *testing.T) {
	list := func() (names []string) {
		schema := newSchema(Capabilities{})
		e := newExplorer(Exploration{
			Config: uow.Config{Collections: schema.all(), Retry: uow.Retry{MaxAttempts: 2}},
			Operation: func(ctx context.Context, x *Run) error {
				return x.DB.Do(ctx, func(_ context.Context, u *uow.Unit) error {
					return schema.accounts.In(u).Add(&account{ID: "a"})
				})
			},
			Invariant: func(context.Context, *Run) error { return nil },
		})
		var path []string
		e.sub = func(t testing.TB, name string, fn func(t testing.TB)) {
			path = append(path, name)
			if len(path)%2 == 0 {
				names = append(names, strings.Join(path, "/"))
			}
			fn(t)
			path = path[:len(path)-1]
		}
		e.found = func(t testing.TB, f Finding) { t.Error(f.Report) }
		e.explore(t)
		return names
	}
	names := list()
	if again := list(); !slices.Equal(names, again) {
		t.Errorf("the runs are\n%q\nand then\n%q", names, again)
	}
	for _, want := range []string{
		"step_01_begin/after", "step_02_commit/crash_after", "step_02_commit/in_doubt_lost",
		"step_02_commit/lost/step_03_resolve/before",
		"step_02_commit/retryable/step_03_rollback/after",
		"step_02_commit/retryable/step_05_commit/in_doubt",
		"step_02_commit/panic/step_03_rollback/crash",
	} {
		if !slices.Contains(names, want) {
			t.Errorf("%s was not explored; explored was %q", want, names)
		}
	}
}

// An Exploration that can't find anything says so.
func TestExplorationsThatCanNotWork(t *testing.T) {
	schema := newSchema(Capabilities{})
	add := func(ctx context.Context, x *Run) error {
		return x.DB.Do(ctx, func(_ context.Context, u *uow.Unit) error {
			return schema.accounts.In(u).Add(&account{ID: "a"})
		})
	}
	n := 0
	empty := func(context.Context, *Run) (any, error) { return 0, nil }
	boom := func(context.Context, *Run) error { return errBoom }
	never := func(context.Context, *Run) error { return nil }
	for says, e := range map[string]Exploration{
		"needs an Operation":                     {},
		"needs an Operation, and a Snapshot":     {Operation: add},
		"has taken no step":                      {Operation: never, Snapshot: empty},
		"shows nothing of what the operation do": {Operation: add, Snapshot: empty},
		"Setup: " + errBoom.Error():              {Operation: add, Invariant: never, Setup: boom},
		"Snapshot: " + errBoom.Error(): {Operation: add, Snapshot: func(context.Context, *Run) (any, error) {
			return nil, errBoom
		}},
		"is not the same in each run": {Invariant: never, Operation: func(ctx context.Context, x *Run) error {
			if n++; n%2 == 0 {
				return x.Step("sometimes", func() error { return nil })
			}
			return add(ctx, x)
		}},
	} {
		e.Config.Collections = schema.all()
		failures := record(t, func(t testing.TB) { e.Findings(t) })
		if !strings.Contains(strings.Join(failures, "\n"), says) {
			t.Errorf("it should say %q; it says %q", says, failures)
		}
	}
}

// What is left out because of MaxRuns is told, and the rest is not made.
func TestMaxRuns(t *testing.T) {
	schema := newSchema(Capabilities{})
	e := newExplorer(Exploration{
		Config:    uow.Config{Collections: schema.all()},
		Invariant: func(context.Context, *Run) error { return nil },
		MaxRuns:   5,
		Operation: func(ctx context.Context, x *Run) error {
			return x.DB.Do(ctx, func(_ context.Context, u *uow.Unit) error {
				return schema.accounts.In(u).Add(&account{ID: "a"})
			})
		},
	})
	e.sub = func(t testing.TB, _ string, fn func(t testing.TB)) { fn(t) }
	e.explore(t)
	if e.runs != 5 || e.skipped == 0 {
		t.Errorf("%d runs were made, and %d left out", e.runs, e.skipped)
	}
}
