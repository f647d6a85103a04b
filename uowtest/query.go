package uowtest

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/driver"
)

func queryChecks() []Check {
	return []Check{
		{
			Name: "Query_by_id",
			Rule: "a query must select and order by id, by bytes, and Get must find every id that was stored",
			run:  queryByID,
		}, {
			Name: "Query_missing_values",
			Rule: "a missing value must satisfy only Equal and In with nil, and be before every other value",
			run:  queryMissingValues,
		}, {
			Name: "Query_edges",
			Rule: "extreme values of each kind must be compared and ordered as they are",
			run:  queryEdges,
		}, {
			Name: "Query_random",
			Rule: "conditions of every kind, order, ties by id and limits must select what a naive model selects",
			run:  queryRandom,
		}, {
			Name: "Query_across_commits",
			Rule: "a query must find each aggregate in its newest state, whatever was changed and removed before",
			run:  queryAcrossCommits,
		},
	}
}

func queryByID(k *kit) {
	ids := []string{"B", "a", "a b", "a%", "a/b", "a_", "b", "id with ' and \" and \\", strings.Repeat("x", 200), "é", "ü", "日本", "🐘"}
	slices.Sort(ids)
	k.save(ids...)
	k.setUp(func(ctx context.Context, u *uow.Unit) error {
		k.wantFound(ctx, u, "in a new unit", uow.Query{}, ids...)
		k.wantFound(ctx, u, "in a new unit", uow.Query{Where: []uow.Condition{uow.Equal("id", "a%")}}, "a%")
		return nil
	})
	k.setUp(func(ctx context.Context, u *uow.Unit) error {
		q := uow.Query{Where: []uow.Condition{uow.In("id", "b", "nobody", "B", "b")}, Order: []uow.Order{uow.Descending("id")}}
		k.wantFound(ctx, u, "in a new unit", q, "b", "B")
		return nil
	})
	k.setUp(func(ctx context.Context, u *uow.Unit) error {
		k.wantFound(ctx, u, "in a new unit", uow.Query{Where: []uow.Condition{uow.GreaterOrEqual("id", "é")}}, ids[len(ids)-4:]...)
		return nil
	})
	for _, id := range ids {
		k.wantBalance(id, 100, "after it was stored")
	}
	k.wantNone("for ids nobody stored", "A", "a ", "", "É")
}

func pointer[T any](v T) *T { return &v }

// addThings stores things.
func (k *kit) addThings(all []*thing) {
	k.Helper()
	k.setUp(func(_ context.Context, u *uow.Unit) error {
		for _, v := range all {
			if err := k.things.In(u).Add(v); err != nil {
				return err
			}
		}
		return nil
	})
}

// wantThings demands that a query in a new unit finds what the model says, and
// that the store's own answer is the same.
func (k *kit) wantThings(all []*thing, q uow.Query) {
	k.Helper()
	var got, stored, want []string
	k.setUp(func(ctx context.Context, u *uow.Unit) error {
		found, err := k.things.In(u).Find(ctx, q)
		if err != nil {
			return err
		}
		for _, v := range found {
			got = append(got, v.ID)
		}
		return u.Use(ctx, func(tx driver.Tx) error {
			rows, err := tx.Find(ctx, "things", normal(q))
			for _, row := range rows {
				stored = append(stored, row.ID)
			}
			return err
		})
	})
	for _, v := range model(all, q) {
		want = append(want, v.ID)
	}
	k.wantOtherWays(q, want)
	if !slices.Equal(got, want) {
		k.broken("the query %s should find %v; got %v", describe(q), want, got)
	}
	if !slices.Equal(stored, want) {
		k.broken("driver.Tx.Find of %s should return %v; got %v", describe(q), want, stored)
	}
}

// wantOtherWays demands the same of the other ways to ask a query.
func (k *kit) wantOtherWays(q uow.Query, want []string) {
	k.Helper()
	k.setUp(func(ctx context.Context, u *uow.Unit) error {
		if n, err := k.things.In(u).Count(ctx, q); n != len(want) || err != nil {
			k.broken("Count of %s should be %d; got %d, %v", describe(q), len(want), n, err)
		}
		return nil
	})
	if q.Limit > 0 {
		return
	}
	var got []string
	q.Limit = 7
	for after, more := "", true; more && len(got) <= len(want); more = after != "" {
		k.setUp(func(ctx context.Context, u *uow.Unit) error { // each in a unit of its own
			page, next, err := k.things.In(u).Page(ctx, q, after)
			for _, v := range page {
				got = append(got, v.ID)
			}
			after = next
			return err
		})
	}
	if !slices.Equal(got, want) {
		k.broken("pages of 7 of %s should have %v; got %v", describe(q), want, got)
	}
}

// normal returns a query as package uow gives it to stores.
func normal(q uow.Query) uow.Query {
	where := make([]uow.Condition, len(q.Where))
	for i, c := range q.Where {
		where[i] = c
		where[i].Values = slices.Clone(c.Values)
		for j, v := range c.Values {
			switch x := v.(type) {
			case int:
				where[i].Values[j] = int64(x)
			case time.Time:
				where[i].Values[j] = x.UTC()
			}
		}
	}
	q.Where = where
	return q
}

func describe(q uow.Query) string {
	return fmt.Sprintf("where %v order %v limit %d", q.Where, q.Order, q.Limit)
}

func queryMissingValues(k *kit) {
	all := []*thing{{ID: "a"}, {ID: "b", Text: pointer("")}, {ID: "c", Text: pointer("x"), Count: pointer(int64(0))}, {ID: "d"}}
	k.addThings(all)
	for _, c := range []uow.Condition{
		uow.Equal("text", nil), uow.Equal("text", ""), uow.In[any]("text", nil, "x"), uow.In[any]("text", "x"), uow.In[any]("text"),
		uow.Less("text", "x"), uow.LessOrEqual("text", "x"), uow.Greater("text", ""), uow.GreaterOrEqual("text", ""),
		uow.Less("text", nil), uow.GreaterOrEqual("text", nil), uow.LessOrEqual("count", nil), uow.Greater("count", nil),
		uow.Equal("count", 0), uow.Equal("count", nil),
	} {
		k.wantThings(all, uow.Query{Where: []uow.Condition{c}})
	}
	k.wantThings(all, uow.Query{Order: []uow.Order{uow.Ascending("text")}})
	k.wantThings(all, uow.Query{Order: []uow.Order{uow.Descending("text"), uow.Descending("id")}})
}

func queryEdges(k *kit) {
	at, least := k.clock.Now(), "\x00"
	if k.h.Lacks.NULBytes {
		least = "\x01"
	}
	all := []*thing{
		{ID: "a", Text: &least, Count: pointer(int64(math.MinInt64)), Ratio: pointer(-math.MaxFloat64), At: pointer(time.Unix(0, 0))},
		{ID: "b", Text: pointer("ä"), Count: pointer(int64(math.MaxInt64)), Ratio: pointer(math.MaxFloat64), At: pointer(at)},
		{ID: "c", Text: pointer("a' OR 1=1 --"), Count: pointer(int64(1<<53 + 1)), Ratio: pointer(math.SmallestNonzeroFloat64), At: pointer(at.Add(time.Microsecond))},
		{ID: "d", Text: pointer("%"), Count: pointer(int64(1 << 53)), Ratio: pointer(0.1), At: pointer(at.In(time.FixedZone("east", 3600)))},
		{ID: "e", Text: pointer("1"), Count: pointer(int64(-1)), Ratio: pointer(-0.5), Flag: pointer(true), At: pointer(time.Date(1901, 1, 1, 0, 0, 0, 1000, time.UTC))},
		{ID: "f", Text: pointer("10"), Count: pointer(int64(10)), Ratio: pointer(1e300), Flag: pointer(false), At: pointer(time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC))},
		{ID: "g", Text: pointer("9"), Count: pointer(int64(9)), Ratio: pointer(9.0), Flag: pointer(false)},
	}
	k.addThings(all)
	for _, field := range thingFields() {
		k.wantThings(all, uow.Query{Order: []uow.Order{uow.Ascending(field)}})
		k.wantThings(all, uow.Query{Order: []uow.Order{uow.Descending(field)}})
		for _, v := range all {
			for _, op := range operators() {
				k.wantThings(all, uow.Query{Where: []uow.Condition{op(field, valueOf(v, field))}})
			}
		}
	}
}

// queryRandom compares many queries on many things with the model. Values are
// drawn from few, so that there are ties.
func queryRandom(k *kit) {
	const seed = 20260102
	k.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, seed))
	all := make([]*thing, 60)
	for i := range all {
		all[i] = randomThing(random, fmt.Sprintf("t%02d", random.IntN(1000)*100+i))
	}
	k.addThings(all)
	for range 300 {
		q := randomQuery(random)
		k.wantThings(all, q)
		if k.Failed() {
			k.Logf("the seed was %d", seed)
			return
		}
	}
}

func queryAcrossCommits(k *kit) {
	const seed = 20260103
	random := rand.New(rand.NewPCG(seed, seed))
	all := map[string]*thing{}
	for round := range 12 {
		k.setUp(func(ctx context.Context, u *uow.Unit) error { return k.mutate(ctx, u, random, all, round) })
		var now []*thing
		for _, v := range all {
			now = append(now, v)
		}
		for range 5 {
			k.wantThings(now, randomQuery(random))
		}
		if k.Failed() {
			k.Logf("the seed was %d", seed)
			return
		}
	}
}

// mutate adds, changes and removes a few things, in the unit and in the model.
func (k *kit) mutate(ctx context.Context, u *uow.Unit, random *rand.Rand, all map[string]*thing, round int) error {
	r := k.things.In(u)
	for i := range 10 {
		v := randomThing(random, fmt.Sprintf("t%02d", random.IntN(20)))
		old, err := r.GetMany(ctx, v.ID)
		if err != nil {
			return err
		}
		clone := *v
		switch {
		case len(old) == 0:
			err = r.Add(v)
			all[v.ID] = &clone
		case random.IntN(3) == 0:
			err = r.Remove(old[0])
			delete(all, v.ID)
		default:
			*old[0] = *v
			all[v.ID] = &clone
		}
		if err == nil && round%3 == 0 && i == 5 {
			err = u.Flush(ctx)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
