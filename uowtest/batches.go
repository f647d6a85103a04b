package uowtest

import (
	"context"
	"errors"
	"fmt"

	"github.com/uow-go/uow"
)

func batchChecks() []Check {
	return []Check{
		{
			Name: "P11_row_57_of_a_batch_of_100",
			Rule: "the version must be checked for each row of a batch, and the error must name the row that failed",
			run:  row57,
		}, {
			Name: "P11_every_kind_of_row_in_a_batch",
			Rule: "inserts, updates and deletes of one batch must each be checked",
			run:  everyKindInBatch,
		},
	}
}

func batchIDs(n int) []string {
	ids := make([]string, n)
	for i := range ids {
		ids[i] = fmt.Sprintf("a%03d", i)
	}
	return ids
}

// changeAll changes many accounts in one unit, and lets others act between.
func (k *kit) changeAll(ids []string, between func()) error {
	return k.do(k.Context(), func(ctx context.Context, u *uow.Unit) error {
		all, err := k.accounts.In(u).GetMany(ctx, ids...)
		if err != nil {
			return err
		}
		if len(all) != len(ids) {
			k.broken("GetMany of %d ids should give all; got %d", len(ids), len(all))
		}
		for _, a := range all {
			a.Balance++
		}
		between()
		return nil
	})
}

func row57(k *kit) {
	ids := batchIDs(100)
	k.save(ids...)
	err := k.changeAll(ids, func() { k.meanwhile(ids[57], 10) })
	k.wantConflict(err, ids[57], 1, 2)
	for i, id := range ids {
		want := int64(100)
		if i == 57 {
			want = 110
		}
		k.wantBalance(id, want, "after a batch was refused because of one row")
	}
	k.must("the same batch again", k.changeAll(ids, func() {}))
	k.wantBalance(ids[57], 111, "after the batch went through")
	k.wantBalance(ids[99], 101, "after the batch went through")
}

func everyKindInBatch(k *kit) {
	ids := batchIDs(10)
	k.save(ids...)
	for _, c := range []struct {
		what     string
		meddle   func()
		id       string
		expected int64
		found    int64
	}{
		{"an insert", func() { k.save("new0") }, "new0", 0, 1},
		{"an update", func() { k.meanwhile(ids[1], 1) }, ids[1], 1, 2},
		{"a delete", func() { k.meanwhile(ids[2], 1) }, ids[2], 1, 2},
	} {
		err := k.do(k.Context(), func(ctx context.Context, u *uow.Unit) error {
			r := k.accounts.In(u)
			err := errors.Join(k.change(ctx, u, ids[0], 1), k.change(ctx, u, ids[1], 1))
			for _, id := range []string{ids[2], ids[3]} {
				a, getErr := r.Get(ctx, id)
				if getErr != nil {
					return getErr
				}
				err = errors.Join(err, r.Remove(a))
			}
			c.meddle()
			return errors.Join(err, r.Add(&account{ID: "new0"}), r.Add(&account{ID: "new1"}))
		})
		k.wantConflict(err, c.id, c.expected, c.found)
		when := "after a batch was refused because of " + c.what
		k.wantBalance(ids[0], 100, when)
		k.wantBalance(ids[3], 100, when)
		k.wantNone(when, "new1")
		if c.expected == 0 { // make room for the next case
			k.removeNow(c.id)
		}
	}
}
