package uow_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/driver"
)

func TestNestedRefusesToCommit(t *testing.T) {
	d := newDesk(t, uow.Config{})
	u := d.db.Begin()
	defer u.Close()
	err := u.Nested(t.Context(), func(ctx context.Context, u *uow.Unit) error {
		if err := u.Commit(ctx); !errors.Is(err, uow.ErrManaged) {
			t.Errorf("Commit in a nested unit: got %v, want ErrManaged", err)
		}
		return d.notes.In(u).Add(&note{ID: "n"})
	})
	if err = errors.Join(err, u.Commit(t.Context())); err != nil {
		t.Errorf("Commit after the nested unit: got %v", err)
	}
	d.do(func(ctx context.Context, _ *uow.Unit, notes *uow.Repository[note]) error {
		_, err := notes.Get(ctx, "n")
		return err
	})
	if err := u.Nested(t.Context(), nil); !errors.Is(err, uow.ErrUnitClosed) {
		t.Errorf("Nested after the end: got %v, want ErrUnitClosed", err)
	}
}

func TestRollbackInNested(t *testing.T) {
	for _, result := range []error{nil, errBoom} {
		d := newDesk(t, uow.Config{})
		var ran trace
		var nested error
		err := d.try(func(ctx context.Context, u *uow.Unit, notes *uow.Repository[note]) error {
			nested = u.Nested(ctx, func(ctx context.Context, u *uow.Unit) error {
				return errors.Join(notes.Add(&note{ID: "n"}), u.Flush(ctx), u.AfterRollback(ran.rolledBack("rollback")), u.Rollback(ctx), result)
			})
			return u.Close()
		})
		want := result
		if result == nil {
			want = uow.ErrUnitClosed
		}
		if !errors.Is(nested, want) || !errors.Is(err, uow.ErrRolledBack) {
			t.Errorf("Nested returned %v and Do %v, want %v and ErrRolledBack", nested, err, want)
		}
		ran.want(t, "rollback because of <nil>")
		d.add("n")
	}
}

func TestNestedUsedFromTwoGoroutines(t *testing.T) {
	d := newDesk(t, uow.Config{})
	d.do(func(ctx context.Context, u *uow.Unit, _ *uow.Repository[note]) error {
		return u.Use(ctx, func(driver.Tx) error {
			if err := u.Nested(ctx, nil); !errors.Is(err, uow.ErrConcurrentUse) {
				t.Errorf("Nested during another use: got %v, want ErrConcurrentUse", err)
			}
			return nil
		})
	})
}

// A projection that nests: what it undoes is not projected, and what came before
// is projected once.
func TestNestedInProjections(t *testing.T) {
	var ran trace
	var d *desk
	d = newDesk(t, uow.Config{Projections: []uow.Projection{
		func(ctx context.Context, u *uow.Unit, e uow.Event) error {
			ran = append(ran, e.Value.(written).Text)
			if e.AggregateID != "n" {
				return nil
			}
			for text, result := range map[string]error{"kept": nil, "undone": errBoom} {
				err := u.Nested(ctx, func(_ context.Context, u *uow.Unit) error {
					derived := &note{ID: text}
					derived.write(text)
					return errors.Join(d.notes.In(u).Add(derived), result)
				})
				if !errors.Is(err, result) {
					return err
				}
			}
			return nil
		},
	}})
	d.do(func(ctx context.Context, u *uow.Unit, notes *uow.Repository[note]) error {
		_ = u.Nested(ctx, func(_ context.Context, _ *uow.Unit) error {
			n := &note{ID: "n"}
			n.write("never")
			return errors.Join(notes.Add(n), errBoom)
		})
		n := &note{ID: "n"}
		n.write("first")
		return notes.Add(n)
	})
	ran.want(t, "first, kept")
	if got, want := d.payloads(), `{"Text":"first"} {"Text":"kept"}`; got != want {
		t.Errorf("the log has %s, want %s", got, want)
	}
}

func TestEventsAroundAFailedNestedUnit(t *testing.T) {
	d := newDesk(t, uow.Config{})
	d.add("known")
	d.do(func(ctx context.Context, u *uow.Unit, notes *uow.Repository[note]) error {
		known, err := notes.Get(ctx, "known")
		if err != nil {
			return err
		}
		known.write("1")
		var inside *note
		err = u.Nested(ctx, func(ctx context.Context, u *uow.Unit) error {
			known.write("undone")
			inside = &note{ID: "inside"}
			inside.write("undone")
			err := errors.Join(notes.Add(inside), u.Flush(ctx))
			known.write("undone")
			return errors.Join(err, errBoom)
		})
		if !errors.Is(err, errBoom) || known.Text != "1" {
			t.Errorf("got %v and the text %q, want boom and the text of before", err, known.Text)
		}
		known.write("2")
		inside.write("1") // detached: it waits for the next Add
		return errors.Join(notes.Add(inside), u.Flush(ctx), u.Nested(ctx, func(context.Context, *uow.Unit) error {
			known.write("3")
			return nil
		}))
	})
	var got []string
	for _, m := range d.log() {
		got = append(got, fmt.Sprintf("%s %d %s", m.AggregateID, m.Sequence, m.Payload))
	}
	want := `known 1 {"Text":"1"}, known 2 {"Text":"2"}, inside 1 {"Text":"1"}, known 3 {"Text":"3"}`
	if all := strings.Join(got, ", "); all != want {
		t.Errorf("the log has %s, want %s", all, want)
	}
}

func TestRemovedAndAddedAgainInNested(t *testing.T) {
	d := newDesk(t, uow.Config{})
	d.add("n")
	d.do(func(ctx context.Context, u *uow.Unit, notes *uow.Repository[note]) error {
		n, err := notes.Get(ctx, "n")
		if err != nil {
			return err
		}
		other := &note{ID: "n", Text: "other"}
		_ = u.Nested(ctx, func(ctx context.Context, u *uow.Unit) error {
			return errors.Join(notes.Remove(n), u.Flush(ctx), notes.Add(other), u.Flush(ctx), errBoom)
		})
		now, err := notes.Get(ctx, "n")
		if now != n || now.Text != "old" {
			t.Errorf("the unit has %+v, want what it had", now)
		}
		other.write("lost")
		n.write("new")
		return err
	})
	if got, want := d.payloads(), `{"Text":"new"}`; got != want {
		t.Errorf("the log has %s, want %s", got, want)
	}
}

// What was required in a failed nested unit is not required any more.
func TestRequireInNested(t *testing.T) {
	d := newDesk(t, uow.Config{})
	d.add("n", "other")
	d.do(func(ctx context.Context, u *uow.Unit, notes *uow.Repository[note]) error {
		n, err := notes.Get(ctx, "n")
		if err != nil {
			return err
		}
		_ = u.Nested(ctx, func(context.Context, *uow.Unit) error { return errors.Join(notes.Require(n, 1), errBoom) })
		d.do(func(ctx context.Context, _ *uow.Unit, notes *uow.Repository[note]) error {
			n, err := notes.Get(ctx, "n")
			n.Text = "meanwhile"
			return err
		})
		other, err := notes.Get(ctx, "other")
		other.Text = "new"
		return err
	})
}

// plainStore hides that the transactions of its memory can nest; or lets them, but
// the second nested part fails to begin, once.
type plainStore struct {
	driver.Store
	nests  bool
	failed bool
	left   int // transactions
}

func (s *plainStore) Begin(ctx context.Context, options driver.TxOptions) (driver.Tx, error) {
	s.left++
	tx, err := s.Store.Begin(ctx, options)
	plain := plainTx{tx, s}
	if s.nests {
		return &oddTx{plain, 0}, err
	}
	return plain, err
}

type plainTx struct {
	driver.Tx
	store *plainStore
}

func (t plainTx) Rollback() error {
	t.store.left--
	return t.Tx.Rollback()
}

func (t plainTx) Commit(ctx context.Context, cs *driver.ChangeSet) error {
	t.store.left--
	return t.Tx.Commit(ctx, cs)
}

type oddTx struct {
	plainTx
	depth int
}

func (t *oddTx) Nest(ctx context.Context) error {
	if t.depth == 1 && !t.store.failed {
		t.store.failed = true
		return errBoom
	}
	t.depth++
	return t.Tx.(driver.Nester).Nest(ctx)
}

func (t *oddTx) Unnest(keep bool) error {
	t.depth--
	return t.Tx.(driver.Nester).Unnest(keep)
}

func (d *desk) plain(s *plainStore) {
	d.Helper()
	s.Store = d.db.Store()
	db, err := uow.Open(d.Context(), s, uow.Config{Collections: []uow.AnyCollection{d.notes}})
	if err != nil {
		d.Fatal(err)
	}
	d.db = db
}

func TestStoreThatCanNotNest(t *testing.T) {
	d := newDesk(t, uow.Config{})
	s := &plainStore{}
	d.plain(s)
	d.add("n")
	d.do(func(ctx context.Context, u *uow.Unit, notes *uow.Repository[note]) error {
		err := u.Nested(ctx, func(ctx context.Context, _ *uow.Unit) error {
			_, err := notes.Get(ctx, "n")
			return err
		})
		wantError(t, err, uow.ErrUnsupported, "nested")
		if _, err := notes.Get(ctx, "n"); err != nil {
			t.Errorf("the unit should go on; got %v", err)
		}
		err = u.Nested(ctx, func(context.Context, *uow.Unit) error {
			t.Error("the closure ran in a store that can't nest")
			return nil
		})
		wantError(t, err, uow.ErrUnsupported, "nested")
		return notes.Add(&note{ID: "new"})
	})
	if s.left != 0 {
		t.Errorf("%d transactions are left open", s.left)
	}
}

// The store's transaction begins in a nested unit in a nested unit, and fails to
// nest for the second time.
func TestNestingFailsHalfway(t *testing.T) {
	d := newDesk(t, uow.Config{})
	s := &plainStore{nests: true}
	d.plain(s)
	d.add("n")
	d.do(func(ctx context.Context, u *uow.Unit, notes *uow.Repository[note]) error {
		return u.Nested(ctx, func(ctx context.Context, u *uow.Unit) error {
			err := u.Nested(ctx, func(ctx context.Context, u *uow.Unit) error {
				_, err := notes.Get(ctx, "n")
				return err
			})
			wantError(t, err, errBoom, "nested unit")
			n, err := notes.Get(ctx, "n")
			if err == nil {
				n.Text = "new"
			}
			return err
		})
	})
	if s.left != 0 {
		t.Errorf("%d transactions are left open", s.left)
	}
}

// lossy can be encoded, but not decoded once its text is cursed.
type lossy struct{}

func (lossy) Encode(n *note) ([]byte, error) {
	if n.Text == "unspeakable" {
		return nil, errBoom
	}
	return []byte(n.ID + "/" + n.Text), nil
}

func (lossy) Decode(body []byte, n *note) error {
	n.ID, n.Text, _ = strings.Cut(string(body), "/")
	if n.Text == "cursed" {
		return errBoom
	}
	return nil
}

func TestAggregatesThatCanNotBeBroughtBack(t *testing.T) {
	d := newDesk(t, uow.Config{})
	notes := uow.Define(uow.CollectionConfig[note]{Name: "lossy", Codec: lossy{}})
	db, err := uow.Open(t.Context(), d.db.Store(), uow.Config{Collections: []uow.AnyCollection{notes}})
	if err != nil {
		t.Fatal(err)
	}
	for text, says := range map[string]string{"unspeakable": "encode", "cursed": "decode"} {
		err := db.Do(t.Context(), func(ctx context.Context, u *uow.Unit) error {
			n := &note{ID: "n", Text: text}
			if err := notes.In(u).Add(n); err != nil {
				return err
			}
			ran := false
			err := u.Nested(ctx, func(context.Context, *uow.Unit) error {
				ran, n.Text = true, "changed"
				return errors.New("uow: undo this")
			})
			wantError(t, err, errBoom, says)
			if cursed := text == "cursed"; ran != cursed {
				t.Errorf("%s: the closure ran is %v, want %v", text, ran, cursed)
			}
			if ran {
				wantError(t, u.Flush(ctx), errBoom, "could not be undone")
			}
			return nil
		})
		wantError(t, err, errBoom, "")
	}
}

// An aggregate that keeps its events elsewhere is brought back too, and goes on
// recording.
func TestNestedAndRecorderThatDoesNotEmbed(t *testing.T) {
	d := newDesk(t, uow.Config{})
	keepers := uow.NewCollection[keeper]("keepers")
	db, err := uow.Open(t.Context(), d.db.Store(), uow.Config{Collections: []uow.AnyCollection{keepers}})
	if err != nil {
		t.Fatal(err)
	}
	err = db.Do(t.Context(), func(ctx context.Context, u *uow.Unit) error {
		k := &keeper{ID: "k"}
		k.events.Record(written{Text: "1"})
		if err := keepers.In(u).Add(k); err != nil {
			return err
		}
		_ = u.Nested(ctx, func(ctx context.Context, u *uow.Unit) error {
			k.ID = "another"
			k.events.Record(written{Text: "undone"})
			return errBoom
		})
		k.events.Record(written{Text: "2"})
		return nil
	})
	if got, want := d.payloads(), `{"Text":"1"} {"Text":"2"}`; got != want || err != nil {
		t.Errorf("the log has %s, %v, want %s", got, err, want)
	}
	if got := d.log(); len(got) != 2 || got[1].Key != "keepers/k" || got[1].Sequence != 2 {
		t.Errorf("got %+v, want the second event of keepers/k", got)
	}
}
