package uow_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"net/netip"
	"reflect"
	"testing"
	"time"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/driver"
	"github.com/uow-go/uow/memory"
)

type level uint8

// record has a field of each type that columns can have.
type record struct {
	Key    netip.Addr
	Text   string
	Opt    *string
	Null   sql.NullString
	Gen    sql.Null[int32]
	Level  level
	Small  int16
	Ratio  float32
	Flag   bool
	At     time.Time
	Until  *time.Time
	Blob   []byte
	Sum    [4]byte
	Host   netip.Addr
	Nested struct{ A, B int }
	Many   []string
	Raw    json.RawMessage
	Money  string
}

func records() *uow.Collection[record] {
	column := func(name string, field func(*record) any) uow.Column[record] {
		return uow.Column[record]{Name: name, Field: field}
	}
	kind := func(k uow.Kind, c uow.Column[record]) uow.Column[record] { c.Kind = k; return c }
	return uow.Define(uow.CollectionConfig[record]{Name: "records", Table: &uow.Table[record]{
		Key: "key", Version: "v", ID: func(r *record) any { return &r.Key },
		Columns: []uow.Column[record]{
			column("text", func(r *record) any { return &r.Text }),
			column("opt", func(r *record) any { return &r.Opt }),
			column("nul", func(r *record) any { return &r.Null }),
			column("gen", func(r *record) any { return &r.Gen }),
			column("level", func(r *record) any { return &r.Level }),
			column("small", func(r *record) any { return &r.Small }),
			column("ratio", func(r *record) any { return &r.Ratio }),
			column("flag", func(r *record) any { return &r.Flag }),
			column("at", func(r *record) any { return &r.At }),
			column("until", func(r *record) any { return &r.Until }),
			column("blob", func(r *record) any { return &r.Blob }),
			kind(uow.Bytes, column("sum", func(r *record) any { return &r.Sum })),
			kind(uow.String, column("host", func(r *record) any { return &r.Host })),
			column("nested", func(r *record) any { return &r.Nested }),
			column("many", func(r *record) any { return &r.Many }),
			column("raw", func(r *record) any { return &r.Raw }),
			kind(uow.Decimal, column("money", func(r *record) any { return &r.Money })),
		},
	}})
}

func TestFieldsOfEveryTypeComeBack(t *testing.T) {
	c := records()
	db, err := memory.Open(t.Context(), uow.Config{Collections: []uow.AnyCollection{c}})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	text, until := "x", time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC)
	full := &record{
		Key: netip.MustParseAddr("10.0.0.1"), Text: "t", Opt: &text, Null: sql.NullString{String: "n", Valid: true},
		Gen: sql.Null[int32]{V: 7, Valid: true}, Level: 200, Small: -3, Ratio: 0.5, Flag: true, At: until, Until: &until,
		Blob: []byte{1}, Sum: [4]byte{1, 2, 3, 4}, Host: netip.MustParseAddr("::1"), Many: []string{"a"},
		Raw: json.RawMessage(`{"a":1}`), Money: "12.30",
	}
	full.Nested.A = 1
	empty := &record{Key: netip.MustParseAddr("10.0.0.2"), At: until, Host: netip.MustParseAddr("::2"), Raw: json.RawMessage(`0`)}
	for _, want := range []*record{full, empty} {
		added := *want
		if err := db.Do(t.Context(), func(_ context.Context, u *uow.Unit) error { return c.In(u).Add(&added) }); err != nil {
			t.Fatal(err)
		}
		if err := db.Do(t.Context(), func(ctx context.Context, u *uow.Unit) error {
			got, err := c.In(u).Get(ctx, want.Key.String())
			if err == nil && !reflect.DeepEqual(got, want) {
				t.Errorf("got  %+v\nwant %+v", got, want)
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestWrongTables(t *testing.T) {
	for want, table := range map[string]uow.Table[record]{
		"Key, Version and Columns": {ID: func(r *record) any { return &r.Key }},
		"pointer":                  {Key: "k", Version: "v", ID: func(r *record) any { return &r.Key }, Columns: []uow.Column[record]{{Name: "x", Field: func(r *record) any { return r.Text }}}},
		"set Kind":                 {Key: "k", Version: "v", ID: func(r *record) any { return &r.Key }, Columns: []uow.Column[record]{{Name: "x", Field: func(r *record) any { return &r.Sum }}}},
		"set Table.ID":             {Key: "k", Version: "v", Columns: []uow.Column[record]{{Name: "x", Field: func(r *record) any { return &r.Text }}}},
		"taken":                    {Key: "k", Version: "text", ID: func(r *record) any { return &r.Key }, Columns: []uow.Column[record]{{Name: "text", Field: func(r *record) any { return &r.Text }}}},
	} {
		_, err := memory.Open(t.Context(), uow.Config{Collections: []uow.AnyCollection{
			uow.Define(uow.CollectionConfig[record]{Name: "records", Table: &table})}})
		wantError(t, err, uow.ErrConfig, want)
	}
}

// nulls is a store whose rows have NULL everywhere.
type nulls struct{ driver.Store }

type nullsTx struct{ driver.Tx }

func (s nulls) Begin(ctx context.Context, o driver.TxOptions) (driver.Tx, error) {
	tx, err := s.Store.Begin(ctx, o)
	return nullsTx{tx}, err
}

func (nullsTx) Get(context.Context, string, []string) ([]driver.Row, error) {
	return []driver.Row{{ID: "10.0.0.1", Version: 1, Indexes: make([]driver.Value, 17)}}, nil
}

func TestNullInAFieldThatCantBeNil(t *testing.T) {
	c := records()
	cfg := uow.Config{Collections: []uow.AnyCollection{c}}
	inner, err := memory.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	db, err := uow.Open(t.Context(), nulls{inner.Store()}, cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	err = db.Do(t.Context(), func(ctx context.Context, u *uow.Unit) error {
		_, err := c.In(u).Get(ctx, "10.0.0.1")
		return err
	})
	wantError(t, err, nil, "column text: it is NULL")
}
