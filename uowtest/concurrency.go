package uowtest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"

	"github.com/uow-go/uow"
)

func concurrencyChecks() []Check {
	return []Check{
		{
			Name: "P11_no_lost_updates",
			Rule: "when many units increment the same few rows, and repeat on conflicts, each increment must count once",
			run:  noLostUpdates,
		}, {
			Name: "P01_readers_see_whole_commits",
			Rule: "a reader must see a transfer between two accounts whole or not at all, so that the sum over all accounts never changes",
			run:  readersSeeWholeCommits,
		}, {
			Name: "P11_one_of_many_adds",
			Rule: "when many units add the same id at the same time, exactly one must go through",
			run:  oneOfManyAdds,
		},
	}
}

func noLostUpdates(k *kit) {
	k.save("a", "b", "c")
	const goroutines, units = 8, 20
	k.together(goroutines, func(g int) error {
		for i := range units {
			err := k.retry(func(ctx context.Context, u *uow.Unit) error {
				id := string(rune('a' + (g+i)%3))
				if err := k.change(ctx, u, id, 1); err != nil {
					return err
				}
				runtime.Gosched() // lets others in between
				if i%4 == 0 {
					return u.Flush(ctx)
				}
				return nil
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	sum, versions := int64(0), int64(0)
	for _, id := range []string{"a", "b", "c"} {
		s := k.look(id)
		sum, versions = sum+s.balance, versions+s.version
	}
	if sum != 300+goroutines*units || versions != 3+goroutines*units {
		k.broken("%d increments of 1 should make the sum %d and the versions together %d; got %d and %d",
			goroutines*units, 300+goroutines*units, 3+goroutines*units, sum, versions)
	}
}

func readersSeeWholeCommits(k *kit) {
	ids := batchIDs(6)
	k.save(ids...)
	const goroutines, units = 6, 25
	k.together(goroutines, func(g int) error {
		random := rand.New(rand.NewPCG(uint64(g), 1))
		for i := range units {
			err := k.retry(func(ctx context.Context, u *uow.Unit) error {
				if g%2 == 0 {
					return k.wantSum(ctx, u, ids, i%2 == 0)
				}
				return k.transfer(ctx, u, ids, random)
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	k.setUp(func(ctx context.Context, u *uow.Unit) error { return k.wantSum(ctx, u, ids, true) })
}

func (k *kit) transfer(ctx context.Context, u *uow.Unit, ids []string, random *rand.Rand) error {
	from := random.IntN(len(ids))
	to := (from + 1 + random.IntN(len(ids)-1)) % len(ids)
	amount := random.Int64N(50)
	if err := k.change(ctx, u, ids[from], -amount); err != nil {
		return err
	}
	return k.change(ctx, u, ids[to], amount)
}

// wantSum reads all accounts, by one query or one by one.
func (k *kit) wantSum(ctx context.Context, u *uow.Unit, ids []string, query bool) error {
	sum := int64(0)
	if query {
		all, err := k.accounts.In(u).Find(ctx, uow.Query{})
		if err != nil {
			return err
		}
		for _, a := range all {
			sum += a.Balance
		}
	} else {
		for _, id := range ids {
			a, err := k.accounts.In(u).Get(ctx, id)
			if err != nil {
				return err
			}
			runtime.Gosched()
			sum += a.Balance
		}
	}
	if want := int64(100 * len(ids)); sum != want {
		return fmt.Errorf("uowtest: the sum should be %d, and is %d", want, sum)
	}
	return nil
}

func oneOfManyAdds(k *kit) {
	for round := range 5 {
		id := fmt.Sprint("round", round)
		const units = 8
		results := make(chan error, units)
		for i := range units {
			go func() {
				results <- k.db.Do(k.Context(), func(_ context.Context, u *uow.Unit) error {
					return k.accounts.In(u).Add(&account{ID: id, Balance: int64(i)})
				})
			}()
		}
		won := 0
		for range units {
			if err := <-results; err == nil {
				won++
			} else {
				k.wantConflict(err, id, 0, 1)
			}
		}
		if won != 1 {
			k.broken("of %d units that add one id, 1 should go through; got %d", units, won)
		}
	}
}
