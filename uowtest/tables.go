package uowtest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/uow-go/uow"
)

// ClientTable is the table of the user's that Harness.Open creates, empty, unless
// the store lacks them, with these columns:
//
//	client_no     an integer of 64 bits, the primary key
//	lock_version  an integer, not null, by default 0
//	name          a text of up to 100 characters, not null
//	email         a text of up to 100 characters, may be null, unique
//	born          a time with microseconds, may be null
//	credit        a number with two decimal places, not null
//	vip           a boolean, not null
//	score         a double, may be null
//	rank          an integer, not null
//	photo         bytes, may be null
//	address       JSON, may be null
//	note          a text, not null, by default 'none': not mapped
const ClientTable = "kit_clients"

// client is mapped to ClientTable.
type client struct {
	uow.Events
	No      int64
	Name    string
	Email   *string
	Born    *time.Time
	Credit  decimal
	VIP     bool
	Score   *float64
	Rank    rank
	Photo   []byte
	Address *address
}

type rank int

type address struct {
	Street string
	Lines  []string `json:",omitempty"`
}

// decimal is a number with decimal places, as libraries have it: by its text.
type decimal struct{ text string }

// MarshalText implements encoding.TextMarshaler.
func (d decimal) MarshalText() ([]byte, error) { return []byte(d.text), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *decimal) UnmarshalText(text []byte) error { d.text = string(text); return nil }

func newClients() *uow.Collection[client] {
	return uow.Define(uow.CollectionConfig[client]{Name: "clients", Table: &uow.Table[client]{
		Name: ClientTable, Key: "client_no", Version: "lock_version",
		ID: func(c *client) any { return &c.No },
		Columns: []uow.Column[client]{
			{Name: "name", Field: func(c *client) any { return &c.Name }},
			{Name: "email", Field: func(c *client) any { return &c.Email }, Unique: true},
			{Name: "born", Field: func(c *client) any { return &c.Born }},
			{Name: "credit", Kind: uow.Decimal, Field: func(c *client) any { return &c.Credit }},
			{Name: "vip", Field: func(c *client) any { return &c.VIP }},
			{Name: "score", Field: func(c *client) any { return &c.Score }},
			{Name: "rank", Field: func(c *client) any { return &c.Rank }},
			{Name: "photo", Field: func(c *client) any { return &c.Photo }},
			{Name: "address", Field: func(c *client) any { return &c.Address }},
		},
	}})
}

func tableChecks() []Check {
	return []Check{
		{
			Name:  "Table_values_come_back",
			Rule:  "values of every kind, missing ones included, must come back from a table of the user's as they were, and reading write nothing",
			needs: tablesNeeded,
			run:   tableValues,
		}, {
			Name:  "Table_versions_and_events",
			Rule:  "in a table of the user's the second of two commits must conflict, versions and event numbers go on, also after a removal, and a nested failure leave no trace",
			needs: tablesNeeded,
			run:   tableVersions,
		}, {
			Name:  "Table_queries",
			Rule:  "queries, counts and pages must work on the columns of a table of the user's",
			needs: tablesNeeded,
			run:   tableQueries,
		}, {
			Name:  "Table_unique_values",
			Rule:  "a value that is unique in a table of the user's must be refused with a *DuplicateError that names collection, id and column, and can be swapped within a unit",
			needs: tablesNeeded,
			run:   tableUnique,
		},
	}
}

func fullClient(no int64) *client {
	born := time.Date(1999, 12, 31, 23, 59, 59, 123456000, time.UTC)
	return &client{
		No: no, Name: "Ä 'quoted' \"name\"", Email: pointer(fmt.Sprintf("c%d@example.com", no)), Born: &born,
		Credit: decimal{"-1234.50"}, VIP: true, Score: pointer(0.1), Rank: 3,
		Photo: []byte{0, 1, 0xff}, Address: &address{Street: "Main", Lines: []string{"a", "b"}},
	}
}

// plainClient is what a client is compared by.
func plainClient(c *client) string {
	copied := *c
	copied.Events = uow.Events{}
	text, err := json.Marshal(copied)
	return fmt.Sprint(string(text), err)
}

func tableValues(k *kit) {
	want := map[int64]*client{
		1:       fullClient(1),
		2:       {No: 2, Credit: decimal{"0.00"}},
		1 << 60: {No: 1 << 60, Name: "big", Credit: decimal{"99999999.99"}, Photo: []byte{}, Rank: -1},
	}
	k.setUp(func(_ context.Context, u *uow.Unit) error {
		var errs []error
		for _, c := range want {
			copied := *c
			errs = append(errs, k.clients.In(u).Add(&copied))
		}
		return errors.Join(errs...)
	})
	for range 2 { // the first one must write nothing
		k.setUp(func(ctx context.Context, u *uow.Unit) error {
			for no, c := range want {
				got, err := k.clients.In(u).Get(ctx, fmt.Sprint(no))
				if err != nil {
					return err
				}
				if plainClient(got) != plainClient(c) {
					k.broken("client %d should be %s; got %s", no, plainClient(c), plainClient(got))
				}
				if v, err := k.clients.In(u).Version(got); v != 1 || err != nil {
					k.broken("client %d should have version 1; got %d, %v", no, v, err)
				}
			}
			return nil
		})
	}
}

func (c *client) renamed(name string) {
	c.Name = name
	c.Record(opened{Owner: name})
}

func tableVersions(k *kit) {
	k.setUp(func(_ context.Context, u *uow.Unit) error {
		c := fullClient(7)
		c.renamed("first")
		return k.clients.In(u).Add(c)
	})
	rename := func(ctx context.Context, u *uow.Unit, name string) error {
		c, err := k.clients.In(u).Get(ctx, "7")
		if err == nil {
			c.renamed(name)
		}
		return err
	}
	err := k.do(k.Context(), func(ctx context.Context, u *uow.Unit) error {
		err := rename(ctx, u, "late")
		k.setUp(func(ctx context.Context, u *uow.Unit) error { return rename(ctx, u, "second") })
		return err
	})
	var conflict *uow.ConflictError
	if !errors.As(err, &conflict) || *conflict != (uow.ConflictError{Collection: "clients", ID: "7", Expected: 1, Found: 2}) {
		k.broken("the second commit should fail with a *ConflictError of clients/7, versions 1 and 2; got %v", err)
	}
	k.setUp(func(ctx context.Context, u *uow.Unit) error {
		c, err := k.clients.In(u).Get(ctx, "7")
		if err != nil {
			return err
		}
		if !k.h.Lacks.Nesting {
			nested := u.Nested(ctx, func(ctx context.Context, u *uow.Unit) error {
				c.Address.Street, c.Name = "Elsewhere", "nested"
				return errors.Join(u.Flush(ctx), errBoom)
			})
			if !errors.Is(nested, errBoom) || c.Name != "second" || c.Address.Street != "Main" {
				k.broken("a nested failure should leave the client as it was; got %v, %s", nested, plainClient(c))
			}
		}
		c.renamed("third")
		return errors.Join(u.Flush(ctx), rename(ctx, u, "fourth"))
	})
	k.setUp(func(ctx context.Context, u *uow.Unit) error {
		c, err := k.clients.In(u).Get(ctx, "7")
		if err != nil {
			return err
		}
		if v, _ := k.clients.In(u).Version(c); v != 4 || c.Name != "fourth" {
			k.broken("the client should have version 4 and its last name; got %d, %s", v, c.Name)
		}
		return k.clients.In(u).Remove(c)
	})
	k.setUp(func(ctx context.Context, u *uow.Unit) error {
		if gone, err := k.clients.In(u).GetMany(ctx, "7"); len(gone) != 0 || err != nil {
			k.broken("the removed client should be gone; got %v, %v", gone, err)
		}
		c := fullClient(7)
		c.renamed("again")
		return k.clients.In(u).Add(c)
	})
	k.setUp(func(ctx context.Context, u *uow.Unit) error {
		c, err := k.clients.In(u).Get(ctx, "7")
		if err != nil {
			return err
		}
		if v, err := k.clients.In(u).Version(c); v <= 5 || err != nil {
			k.broken("versions should go on after a removal, beyond 5; got %d, %v", v, err)
		}
		return nil
	})
	if !k.h.Lacks.Outbox {
		k.wantSequences("clients", "7", 5)
	}
}

// wantSequences demands that a stream has n messages, numbered from 1.
func (k *kit) wantSequences(collection, id string, n int) {
	k.Helper()
	var got, want []int64
	for _, m := range k.messages() {
		if m.AggregateType == collection && m.AggregateID == id {
			got = append(got, m.Sequence)
		}
	}
	for i := range n {
		want = append(want, int64(i+1))
	}
	if !reflect.DeepEqual(got, want) {
		k.broken("the stream of %s/%s should have the numbers %v; got %v", collection, id, want, got)
	}
}

func tableQueries(k *kit) {
	k.setUp(func(_ context.Context, u *uow.Unit) error {
		var errs []error
		for no := int64(1); no <= 12; no++ {
			c := fullClient(no)
			c.Rank = rank(no % 3)
			c.Name = fmt.Sprintf("name%02d", 12-no)
			if no%4 == 0 {
				c.Score = nil
			}
			errs = append(errs, k.clients.In(u).Add(c))
		}
		return errors.Join(errs...)
	})
	want := func(ctx context.Context, u *uow.Unit, q uow.Query, ids ...int64) {
		k.Helper()
		r := k.clients.In(u)
		var got []int64
		for after := ""; ; {
			q.Limit = 2
			page, next, err := r.Page(ctx, q, after)
			k.must("Page", err)
			for _, c := range page {
				got = append(got, c.No)
			}
			if after = next; next == "" {
				break
			}
		}
		if !reflect.DeepEqual(got, ids) {
			k.broken("the query %s should find %v; got %v", describe(q), ids, got)
		}
		q.Limit = 0
		if n, err := r.Count(ctx, q); n != len(ids) || err != nil {
			k.broken("Count of %s should be %d; got %d, %v", describe(q), len(ids), n, err)
		}
	}
	k.setUp(func(ctx context.Context, u *uow.Unit) error {
		want(ctx, u, uow.Query{Where: []uow.Condition{uow.Equal("rank", rank(0))}, Order: []uow.Order{uow.Ascending("name")}}, 12, 9, 6, 3)
		return nil
	})
	k.setUp(func(ctx context.Context, u *uow.Unit) error {
		want(ctx, u, uow.Query{Where: []uow.Condition{uow.Equal("score", nil)}, Order: []uow.Order{uow.Descending("rank")}}, 8, 4, 12)
		want(ctx, u, uow.Query{Where: []uow.Condition{uow.In("id", "5", "11", "999")}, Order: []uow.Order{uow.Descending("name")}}, 5, 11)
		want(ctx, u, uow.Query{Where: []uow.Condition{uow.Equal("email", "c3@example.com")}}, 3)
		want(ctx, u, uow.Query{Where: []uow.Condition{uow.Prefix("name", "name1")}, Order: []uow.Order{uow.Ascending("name")}}, 2, 1)
		return nil
	})
}

func tableUnique(k *kit) {
	k.setUp(func(_ context.Context, u *uow.Unit) error {
		return errors.Join(k.clients.In(u).Add(fullClient(1)), k.clients.In(u).Add(fullClient(2)))
	})
	err := k.do(k.Context(), func(_ context.Context, u *uow.Unit) error {
		c := fullClient(3)
		c.Email = pointer("c1@example.com")
		return k.clients.In(u).Add(c)
	})
	var duplicate *uow.DuplicateError
	if !errors.As(err, &duplicate) || *duplicate != (uow.DuplicateError{Collection: "clients", ID: "3", Index: "email"}) {
		k.broken("the commit should fail with a *DuplicateError of clients/3, email; got %v", err)
	}
	k.setUp(func(ctx context.Context, u *uow.Unit) error {
		both, err := k.clients.In(u).GetMany(ctx, "1", "2")
		if err == nil {
			both[0].Email, both[1].Email = both[1].Email, both[0].Email
		}
		return err
	})
	k.setUp(func(ctx context.Context, u *uow.Unit) error {
		c, err := k.clients.In(u).Get(ctx, "1")
		if err == nil && (c.Email == nil || *c.Email != "c2@example.com") {
			k.broken("after the swap client 1 should have the address of 2; got %s", plainClient(c))
		}
		return err
	})
}
