package uow_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/driver"
	"github.com/uow-go/uow/memory"
)

// Three releases of a program. The first had one name, the second two, the third
// calls the second of them otherwise.
type (
	personV0 struct{ ID, Name string }
	personV1 struct{ ID, First, Last string }
	personV2 struct{ ID, Given, Last string }
)

func splitName(doc map[string]json.RawMessage) error {
	var name string
	if err := json.Unmarshal(doc["Name"], &name); err != nil {
		return errors.New("no name")
	}
	for i, r := range name {
		if r == ' ' {
			first, _ := json.Marshal(name[:i])
			last, _ := json.Marshal(name[i+1:])
			doc["First"], doc["Last"] = first, last
		}
	}
	delete(doc, "Name")
	return nil
}

func renameFirst(doc map[string]json.RawMessage) error {
	doc["Given"] = doc["First"]
	delete(doc, "First")
	return nil
}

// release opens the database as one of the program's releases does.
func release[T any](t *testing.T, store driver.Store, upcasters ...uow.Upcaster) (*uow.DB, *uow.Collection[T]) {
	t.Helper()
	people := uow.Define(uow.CollectionConfig[T]{Name: "people", Upcasters: upcasters})
	db, err := uow.Open(t.Context(), keepTables{store}, uow.Config{Collections: []uow.AnyCollection{people}})
	if err != nil {
		t.Fatal(err)
	}
	return db, people
}

// keepTables is a store that is registered already.
type keepTables struct{ driver.Store }

func (keepTables) Register(context.Context, []driver.Collection) error { return nil }

func TestOldDocumentsLoadInNewCode(t *testing.T) {
	first := uow.NewCollection[personV0]("people")
	v0, err := memory.Open(t.Context(), uow.Config{Collections: []uow.AnyCollection{first}})
	if err != nil {
		t.Fatal(err)
	}
	defer v0.Close()
	do := func(db *uow.DB, fn func(ctx context.Context, u *uow.Unit) error) {
		t.Helper()
		if err := db.Do(t.Context(), fn); err != nil {
			t.Fatal(err)
		}
	}
	do(v0, func(_ context.Context, u *uow.Unit) error {
		return errors.Join(first.In(u).Add(&personV0{ID: "a", Name: "Ada Lovelace"}), first.In(u).Add(&personV0{ID: "b", Name: "Bob Nobody"}))
	})
	v1, second := release[personV1](t, v0.Store(), splitName)
	do(v1, func(ctx context.Context, u *uow.Unit) error {
		a, err := second.In(u).Get(ctx, "a")
		if err == nil {
			a.Last = "King"
		}
		return err
	})
	v2, third := release[personV2](t, v0.Store(), splitName, renameFirst)
	do(v2, func(ctx context.Context, u *uow.Unit) error {
		for id, want := range map[string]personV2{"a": {"a", "Ada", "King"}, "b": {"b", "Bob", "Nobody"}} {
			p, err := third.In(u).Get(ctx, id)
			if err != nil {
				return err
			}
			version, err := third.In(u).Version(p)
			if *p != want || err != nil {
				t.Errorf("got %+v, %v, want %+v", *p, err, want)
			}
			if wantVersion := map[string]int64{"a": 2, "b": 1}[id]; version != wantVersion {
				t.Errorf("%s has version %d, want %d: reading rewrites nothing", id, version, wantVersion)
			}
		}
		return nil
	})
	do(v2, func(ctx context.Context, u *uow.Unit) error {
		b, err := third.In(u).Get(ctx, "b")
		if err == nil {
			b.Given = "Rob"
		}
		return err
	})
	err = v1.Do(t.Context(), func(ctx context.Context, u *uow.Unit) error {
		_, err := second.In(u).Get(ctx, "b")
		return err
	})
	wantError(t, err, nil, "written by a newer one")
}
