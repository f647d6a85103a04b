package uow_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/memory"
)

type tagged struct {
	ID  string
	Tag string
}

func tag(v *tagged) any { return v.Tag }

// indexed returns a collection with these indexes.
func indexed(indexes ...uow.Index[tagged]) uow.AnyCollection {
	return uow.Define(uow.CollectionConfig[tagged]{Name: "tagged", Indexes: indexes})
}

func TestOpenRefusesBadConfigs(t *testing.T) {
	type numbered struct{ ID int }
	type embedded struct{ note }
	good := uow.Index[tagged]{Name: "tag", Kind: uow.String, Value: tag}
	once := uow.NewCollection[tagged]("once")
	for _, c := range []struct {
		says        string
		collections []uow.AnyCollection
	}{
		{"Collections[1] is nil", []uow.AnyCollection{once, nil}},
		{"listed twice", []uow.AnyCollection{once, once}},
		{"listed twice", []uow.AnyCollection{once, uow.NewCollection[tagged]("ONCE")}},
		{"has no string field ID", []uow.AnyCollection{uow.NewCollection[numbered]("numbered")}},
		{"has no string field ID", []uow.AnyCollection{uow.NewCollection[embedded]("embedded")}},
		{"has no string field ID", []uow.AnyCollection{uow.NewCollection[int]("ints")}},
		{`name ""`, []uow.AnyCollection{uow.NewCollection[tagged]("")}},
		{`name "1st"`, []uow.AnyCollection{uow.NewCollection[tagged]("1st")}},
		{`name "a-b"`, []uow.AnyCollection{uow.NewCollection[tagged]("a-b")}},
		{`name "Uow_log"`, []uow.AnyCollection{uow.NewCollection[tagged]("Uow_log")}},
		{`name "sqlite_x"`, []uow.AnyCollection{uow.NewCollection[tagged]("sqlite_x")}},
		{"at most 48", []uow.AnyCollection{uow.NewCollection[tagged](strings.Repeat("x", 49))}},
		{`index name ""`, []uow.AnyCollection{indexed(uow.Index[tagged]{Kind: uow.Int, Value: tag})}},
		{`"id" is taken`, []uow.AnyCollection{indexed(uow.Index[tagged]{Name: "id", Kind: uow.Int, Value: tag})}},
		{`"Body" is taken`, []uow.AnyCollection{indexed(uow.Index[tagged]{Name: "Body", Kind: uow.Int, Value: tag})}},
		{`"tag" is taken`, []uow.AnyCollection{indexed(good, good)}},
		{"tag has no kind", []uow.AnyCollection{indexed(uow.Index[tagged]{Name: "tag", Value: tag})}},
		{"tag has no kind", []uow.AnyCollection{indexed(uow.Index[tagged]{Name: "tag", Kind: 99, Value: tag})}},
		{"tag has no Value", []uow.AnyCollection{indexed(uow.Index[tagged]{Name: "tag", Kind: uow.String})}},
	} {
		db, err := memory.Open(t.Context(), uow.Config{Collections: c.collections})
		wantError(t, err, uow.ErrConfig, c.says)
		if db != nil {
			t.Errorf("%s: a database came with the error", c.says)
		}
	}
}

func TestCollectionOfNobody(t *testing.T) {
	d := newDesk(t, uow.Config{})
	stranger := uow.NewCollection[tagged]("strangers")
	d.do(func(ctx context.Context, u *uow.Unit, _ *uow.Repository[note]) error {
		_, err := stranger.In(u).Get(ctx, "a")
		wantError(t, err, uow.ErrConfig, "strangers")
		wantError(t, stranger.In(u).Add(&tagged{ID: "a"}), uow.ErrConfig, "strangers")
		return nil
	})
	if d.notes.Name() != "notes" {
		t.Errorf("the collection says that its name is %s", d.notes.Name())
	}
}

func TestClock(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 999_999_999, time.FixedZone("east", 3600))
	d := newDesk(t, uow.Config{Now: func() time.Time { now = now.Add(time.Hour); return now }})
	u := d.db.Begin()
	first := u.Now()
	if want := time.Date(2026, 1, 2, 3, 4, 5, 999_999_000, time.UTC); !first.Equal(want) || first.Location() != time.UTC {
		t.Errorf("the unit's time is %s, want %s: UTC, in microseconds", first, want)
	}
	if !u.Now().Equal(first) || d.db.Begin().Now().Equal(first) {
		t.Error("the time should be the same in a unit, and another in the next")
	}
	if err := errors.Join(u.Append(uow.Message{Type: "t"}), u.Commit(t.Context())); err != nil {
		t.Fatal(err)
	}
	if got := d.log()[0].CreatedAt; got != first {
		t.Errorf("the message is of %s, want the unit's time %s", got, first)
	}
}
