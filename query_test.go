package uow_test

import (
	"context"
	"math"
	"testing"
	"time"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/driver"
	"github.com/uow-go/uow/memory"
)

type rank int

// item has values of types of its own.
type item struct {
	ID    string
	Rank  rank
	Small uint8
	Ratio float32
	Note  *string
	Any   any `json:"-"`
}

func items(t *testing.T) (*uow.DB, *uow.Collection[item]) {
	t.Helper()
	c := uow.Define(uow.CollectionConfig[item]{
		Name: "items",
		Indexes: []uow.Index[item]{
			{Name: "rank", Kind: uow.Int, Value: func(v *item) any { return v.Rank }},
			{Name: "small", Kind: uow.Int, Value: func(v *item) any { return v.Small }},
			{Name: "ratio", Kind: uow.Float, Value: func(v *item) any { return v.Ratio }},
			{Name: "whole", Kind: uow.Float, Value: func(v *item) any { return int(v.Rank) }},
			{Name: "note", Kind: uow.String, Value: func(v *item) any { return v.Note }},
			{Name: "any", Kind: uow.Time, Value: func(v *item) any { return v.Any }},
		},
	})
	db, err := memory.Open(t.Context(), uow.Config{Collections: []uow.AnyCollection{c}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db, c
}

func TestQueryValuesOfOwnTypes(t *testing.T) {
	db, c := items(t)
	text := "x"
	err := db.Do(t.Context(), func(ctx context.Context, u *uow.Unit) error {
		if err := c.In(u).Add(&item{ID: "a", Rank: 3, Small: 200, Ratio: 0.5, Note: &text}); err != nil {
			return err
		}
		for _, condition := range []uow.Condition{
			uow.Equal("rank", rank(3)), uow.Equal("rank", 3), uow.Equal("rank", uint8(3)), uow.In("rank", 1, 2, 3),
			uow.Equal("small", 200), uow.Equal("ratio", 0.5), uow.Equal("whole", 3.0), uow.Equal("whole", 3),
			uow.Equal("note", "x"), uow.Equal("note", &text), uow.Equal("any", nil), uow.Equal("any", (*time.Time)(nil)),
		} {
			found, err := c.In(u).Find(ctx, uow.Query{Where: []uow.Condition{condition}})
			if err != nil || len(found) != 1 {
				t.Errorf("%v finds %v, %v, want the item", condition, found, err)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestQueryErrors(t *testing.T) {
	db, c := items(t)
	err := db.Do(t.Context(), func(ctx context.Context, u *uow.Unit) error {
		for _, q := range []struct {
			says  string
			query uow.Query
		}{
			{`no index "color"; there are [id rank`, uow.Query{Where: []uow.Condition{uow.Equal("color", 1)}}},
			{`no index "color"`, uow.Query{Order: []uow.Order{uow.Ascending("color")}}},
			{"no value of kind Int", uow.Query{Where: []uow.Condition{uow.Equal("rank", "three")}}},
			{"no value of kind Int", uow.Query{Where: []uow.Condition{uow.In("rank", 1.5)}}},
			{"no value of kind Int", uow.Query{Where: []uow.Condition{uow.Equal("rank", uint64(math.MaxUint64))}}},
			{"no value of kind String", uow.Query{Where: []uow.Condition{uow.Less("id", 3)}}},
			{"no value of kind Float", uow.Query{Where: []uow.Condition{uow.Greater("ratio", math.NaN())}}},
			{"no value of kind Time", uow.Query{Where: []uow.Condition{uow.LessOrEqual("any", "now")}}},
			{"limit -1 is negative", uow.Query{Limit: -1}},
			{"condition on rank", uow.Query{Where: []uow.Condition{{Field: "rank"}}}},
			{"condition on rank", uow.Query{Where: []uow.Condition{{Field: "rank", Op: 99, Values: []driver.Value{nil}}}}},
		} {
			_, err := c.In(u).Find(ctx, q.query)
			wantError(t, err, uow.ErrConfig, q.says)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestIndexValueOfAWrongType(t *testing.T) {
	db, c := items(t)
	err := db.Do(t.Context(), func(_ context.Context, u *uow.Unit) error {
		return c.In(u).Add(&item{ID: "a", Any: "no time"})
	})
	wantError(t, err, nil, "items/a: index any: string is no value of kind Time")
}
