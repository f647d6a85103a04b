package uowtest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"

	"github.com/uow-go/uow"
)

func nestedSuccess(k *kit) {
	k.save("a", "gone")
	unit := func(result error) error {
		return k.do(k.Context(), func(ctx context.Context, u *uow.Unit) error {
			k.must("a nested unit", k.nested(ctx, u, k.dirty))
			return errors.Join(k.change(ctx, u, "a", 1), result)
		})
	}
	if err := unit(errBoom); !errors.Is(err, errBoom) {
		k.broken("the unit should fail with its closure's error; got %v", err)
	}
	const rolledBack = "after the unit was rolled back"
	k.wantBalance("a", 100, rolledBack)
	k.wantBalance("gone", 100, rolledBack)
	k.wantNone(rolledBack, "flushed", "pending")

	if err := unit(nil); err != nil {
		k.broken("the unit should commit; got %v", err)
	}
	const committed = "after the commit"
	k.wantBalance("a", 103, committed)
	k.wantBalance("flushed", 0, committed)
	k.wantBalance("pending", 0, committed)
	k.wantNone(committed, "gone")
}

// nest is a unit of random nested units, and what is expected of it.
type nest struct {
	*kit
	random  *rand.Rand
	u       *uow.Unit
	want    map[string]int64 // the balances
	natives map[string]int   // the native rows
	next    int
}

func nestedInNested(k *kit) {
	for seed := range 15 {
		n := &nest{kit: k, random: rand.New(rand.NewPCG(uint64(seed), 16)), want: map[string]int64{}, natives: map[string]int{}}
		for i := range 3 {
			id := fmt.Sprintf("s%d-%d", seed, i)
			k.save(id)
			n.want[id] = 100
		}
		err := k.do(k.Context(), func(ctx context.Context, u *uow.Unit) error {
			n.u = u
			n.part(ctx, 0)
			return nil
		})
		when := fmt.Sprintf("after a unit of nested units, number %d", seed)
		if err != nil {
			k.broken("%s, the unit should commit; got %v", when, err)
		}
		n.compare(k.Context(), nil, when)
		k.setUp(func(ctx context.Context, u *uow.Unit) error {
			n.compare(ctx, u, when)
			return nil
		})
		if k.Failed() {
			return
		}
	}
}

// part does some steps, and begins nested parts among them.
func (n *nest) part(ctx context.Context, depth int) {
	for range 2 + n.random.IntN(4) {
		if depth == 3 || n.random.IntN(3) > 0 {
			n.step(ctx)
			continue
		}
		want, natives := maps.Clone(n.want), maps.Clone(n.natives)
		var result error
		if n.random.IntN(2) == 0 {
			result = errBoom
		}
		err := n.nested(ctx, n.u, func(ctx context.Context, _ *uow.Unit) error {
			n.part(ctx, depth+1)
			return result
		})
		if !errors.Is(err, result) {
			n.broken("the nested unit should end with %v; got %v", result, err)
		}
		when := fmt.Sprintf("after a nested unit at depth %d that went well", depth)
		if result != nil {
			when = fmt.Sprintf("after a nested unit at depth %d that failed", depth)
			for id := range n.want {
				n.want[id] = gone
			}
			for name := range n.natives {
				n.natives[name] = 0
			}
			maps.Copy(n.want, want)
			maps.Copy(n.natives, natives)
		}
		n.compare(ctx, n.u, when)
	}
}

// gone is the balance of what is not there.
const gone = -1 << 40

// step is one change of any kind.
func (n *nest) step(ctx context.Context) {
	r := n.accounts.In(n.u)
	n.next++
	id := fmt.Sprintf("%s-%d", n.u.ID(), n.next)
	switch kind := n.random.IntN(6); {
	case kind == 0:
		n.must("Flush", n.u.Flush(ctx))
	case kind == 1:
		n.must("Add", r.Add(&account{ID: id, Balance: 1}))
		n.want[id] = 1
	case kind == 2 && n.h.Native != nil:
		n.must("a native write", n.h.Native.Insert(ctx, n.u, id))
		n.natives[id] = 1
	default:
		ids := slices.Sorted(maps.Keys(n.want))
		id = ids[n.random.IntN(len(ids))]
		if n.want[id] == gone {
			n.must("Add", r.Add(&account{ID: id, Balance: 5}))
			n.want[id] = 5
			return
		}
		a, err := r.Get(ctx, id)
		n.must("Get", err)
		if kind == 3 {
			n.must("Remove", r.Remove(a))
			n.want[id] = gone
			return
		}
		a.Balance++
		n.want[id]++
	}
}

// compare looks with the unit, or with new ones where there is none.
func (n *nest) compare(ctx context.Context, u *uow.Unit, when string) {
	n.Helper()
	for id, want := range n.want {
		got := int64(gone)
		if u == nil {
			if s := n.look(id); s.found {
				got = s.balance
			}
		} else if a, err := n.accounts.In(u).Get(ctx, id); err == nil {
			got = a.Balance
		} else if !errors.Is(err, uow.ErrNotFound) {
			n.must("Get", err)
		}
		if got != want {
			n.broken("%s, accounts/%s should have the balance %d (%d for none); got %d", when, id, want, gone, got)
		}
	}
	if u == nil {
		return
	}
	for name, want := range n.natives {
		n.wantNative(ctx, u, name, want, when)
	}
}
