package chaos_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/outbox"
)

// job is one unit to do.
type job struct {
	shape *shape
	name  string // of the unit, in all that it leaves
	slot  string // the things that it changes
	note  string // what is done to it, for reports
}

func (j job) String() string { return fmt.Sprintf("%s (%s, %s)", j.name, j.shape.name, j.note) }

// mine are the things that a unit could add.
func (j job) mine() []string { return []string{j.name + "/1", j.name + "/2", j.name + "/never"} }

// shape is a way to do a unit, and what it leaves.
type shape struct {
	name  string
	reads bool // and nothing else
	sql   bool // needs the user's own SQL
	run   func(ctx context.Context, w *world, u *uow.Unit, j job) error
	// effect does to the model what the unit does to the database.
	effect func(m *model, j job)
}

func shapes() []*shape {
	both := func(m *model, j job) {
		m.touch(j.slot+"/a", j.name)
		m.touch(j.slot+"/b", j.name)
	}
	return []*shape{
		{name: "write-only", run: writeOnly, effect: func(m *model, j job) {
			m.things[j.name+"/1"], m.things[j.name+"/2"] = state{j.name, 1}, state{j.name, 1}
			m.messages[j.name] += 3
		}},
		{name: "load, change, save", run: loadChangeSave, effect: both},
		{name: "flush, then commit", run: flushThenCommit, effect: both},
		{name: "nested", run: nested, sql: true, effect: func(m *model, j job) {
			both(m, j)
			m.notes[j.name]++
		}},
		{name: "own SQL", run: ownSQL, sql: true, effect: func(m *model, j job) {
			m.touch(j.slot+"/a", j.name)
			m.notes[j.name] += 2
		}},
		{name: "read-only", run: readOnly, reads: true, effect: func(*model, job) {}},
	}
}

func writeOnly(_ context.Context, w *world, u *uow.Unit, j job) error {
	for _, id := range j.mine()[:2] {
		a := &thing{ID: id}
		if err := w.things.In(u).Add(a); err != nil {
			return err
		}
		a.touch(j.name)
	}
	return message(u, j)
}

func message(u *uow.Unit, j job) error {
	payload, err := json.Marshal(touched{j.name})
	if err != nil {
		return err
	}
	return outbox.Append(u, outbox.Message{Type: "by hand", Payload: payload})
}

func loadChangeSave(ctx context.Context, w *world, u *uow.Unit, j job) error {
	return errors.Join(touch(ctx, w, u, j, "/a"), touch(ctx, w, u, j, "/b"))
}

func touch(ctx context.Context, w *world, u *uow.Unit, j job, which string) error {
	a, err := w.things.In(u).Get(ctx, j.slot+which)
	if err == nil {
		a.touch(j.name)
	}
	return err
}

func flushThenCommit(ctx context.Context, w *world, u *uow.Unit, j job) error {
	if err := touch(ctx, w, u, j, "/a"); err != nil {
		return err
	}
	if err := u.Flush(ctx); err != nil {
		return err
	}
	return touch(ctx, w, u, j, "/b")
}

var errUndone = errors.New("undone")

func nested(ctx context.Context, w *world, u *uow.Unit, j job) error {
	if err := touch(ctx, w, u, j, "/a"); err != nil {
		return err
	}
	if err := u.Nested(ctx, func(ctx context.Context, u *uow.Unit) error {
		if err := touch(ctx, w, u, j, "/b"); err != nil {
			return err
		}
		if err := u.Flush(ctx); err != nil {
			return err
		}
		return w.db.Note(ctx, u, j.name)
	}); err != nil {
		return err
	}
	err := u.Nested(ctx, func(ctx context.Context, u *uow.Unit) error {
		if err := w.things.In(u).Add(&thing{ID: j.name + "/never"}); err != nil {
			return err
		}
		if err := message(u, j); err != nil {
			return err
		}
		if err := u.Flush(ctx); err != nil {
			return err
		}
		if err := w.db.Note(ctx, u, j.name); err != nil {
			return err
		}
		return errUndone
	})
	if err == errUndone { //nolint:errorlint // what is joined to it is a failure of its own
		return nil
	}
	return err
}

func ownSQL(ctx context.Context, w *world, u *uow.Unit, j job) error {
	if err := w.db.Note(ctx, u, j.name); err != nil {
		return err
	}
	if err := touch(ctx, w, u, j, "/a"); err != nil {
		return err
	}
	return w.db.Note(ctx, u, j.name)
}

// readOnly demands that what it reads is what the model has.
func readOnly(ctx context.Context, w *world, u *uow.Unit, j job) error {
	ids := []string{j.slot + "/a", j.slot + "/b"}
	first, err := w.things.In(u).Get(ctx, ids[0])
	if err != nil {
		return err
	}
	again, err := w.things.In(u).Find(ctx, uow.Query{Where: []uow.Condition{uow.In("id", ids...)}})
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sameThings(j.String(), append(again, first), ids)
	return nil
}
