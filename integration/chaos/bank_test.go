package chaos_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/uow-go/uow"
	"github.com/uow-go/uow/integration/internal/stores"
)

// The bank has a few accounts, of which the first is the vault: what is paid into a
// new account comes from there, and what a closed one had goes there.
const accounts = 5

// closedAccount is the balance of an account that is not open.
const closedAccount = -1 << 30

type balances [accounts]int64

func firstBalances() balances { return balances{1000, 100, 100, closedAccount, closedAccount} }

// account is what is stored.
type account struct {
	ID      string
	Balance int64
}

// order is what a client asks of the bank.
type order struct {
	kind     string
	from, to int
	amount   int64
}

// reply is what the bank answers.
type reply struct {
	what string    // done, missing, exists or short
	seen *balances // of read
}

// step is what the bank should do, all at once.
func (o order) step(b balances) (what string, after balances) {
	missing := func(i int) bool { return b[i] == closedAccount }
	after = b
	switch o.kind {
	case "transfer":
		switch {
		case missing(o.from) || missing(o.to):
			return "missing", b
		case b[o.from] < o.amount:
			return "short", b
		}
		after[o.from], after[o.to] = b[o.from]-o.amount, b[o.to]+o.amount
	case "open":
		switch {
		case !missing(o.to):
			return "exists", b
		case b[0] < o.amount:
			return "short", b
		}
		after[0], after[o.to] = b[0]-o.amount, o.amount
	case "close":
		if missing(o.from) {
			return "missing", b
		}
		after[0], after[o.from] = b[0]+b[o.from], closedAccount
	case "withdraw": // two accounts answer for each other, so that one can be overdrawn
		switch {
		case missing(o.from) || missing(o.to):
			return "missing", b
		case b[o.from]+b[o.to] < o.amount:
			return "short", b
		}
		after[o.from] = b[o.from] - o.amount
	}
	return "done", after
}

// bankModel is the bank as one thing that does one order after the other. A history
// that fits it, in real time, is strictly serializable.
func bankModel() porcupine.Model {
	return porcupine.Model{
		Init: func() any { return firstBalances() },
		Step: func(state, input, output any) (bool, any) {
			o, r, b := input.(order), output.(reply), state.(balances)
			if o.kind == "read" {
				return *r.seen == b, b
			}
			what, after := o.step(b)
			return r.what == what, after
		},
	}
}

// bank does orders by units.
type bank struct {
	db       *uow.DB
	accounts *uow.Collection[account]
}

func newCollectionOfAccounts() *uow.Collection[account] {
	return uow.NewCollection[account]("accounts")
}

func bankConfig(c *uow.Collection[account]) uow.Config {
	return uow.Config{
		Collections: []uow.AnyCollection{c},
		Retry:       uow.Retry{MaxAttempts: 10_000, Conflicts: true, MinBackoff: time.Millisecond, MaxBackoff: 8 * time.Millisecond},
	}
}

func accountID(i int) string { return "account " + strconv.Itoa(i) }

// reset gives all accounts their first balances.
func (b *bank) reset(ctx context.Context) error {
	return b.db.Do(ctx, func(ctx context.Context, u *uow.Unit) error {
		repo := b.accounts.In(u)
		for i, balance := range firstBalances() {
			got, err := repo.GetMany(ctx, accountID(i))
			switch {
			case err != nil:
			case len(got) == 0 && balance != closedAccount:
				err = repo.Add(&account{accountID(i), balance})
			case len(got) == 1 && balance == closedAccount:
				err = repo.Remove(got[0])
			case len(got) == 1:
				got[0].Balance = balance
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// do does one order.
func (b *bank) do(ctx context.Context, o order, dice int) (r reply, err error) {
	db := b.db
	if o.kind == "withdraw" { // what it decides by is not all that it writes
		db = db.With(uow.UnitOptions{Serializable: true})
	}
	err = db.Do(ctx, func(ctx context.Context, u *uow.Unit) error {
		if o.kind == "read" {
			seen, err := b.read(ctx, u, dice)
			r = reply{what: "done", seen: &seen}
			return err
		}
		r.what, err = b.change(ctx, u, o, dice)
		return err
	})
	return r, err
}

// read reads all accounts: one by one, or by one query.
func (b *bank) read(ctx context.Context, u *uow.Unit, dice int) (seen balances, err error) {
	var all []*account
	if dice%2 == 0 {
		all, err = b.accounts.In(u).Find(ctx, uow.Query{})
	}
	for i := range seen {
		seen[i] = closedAccount
		if dice%2 == 1 && err == nil {
			var one []*account
			one, err = b.accounts.In(u).GetMany(ctx, accountID(i))
			all = append(all, one...)
			runtime.Gosched()
		}
	}
	for _, a := range all {
		i, _ := strconv.Atoi(a.ID[len(a.ID)-1:])
		seen[i] = a.Balance
	}
	return seen, err
}

// change does an order to the accounts that it is about: it computes what step would
// make of them, and writes that.
func (b *bank) change(ctx context.Context, u *uow.Unit, o order, dice int) (what string, err error) {
	about := map[string][]int{
		"transfer": {o.from, o.to}, "open": {0, o.to}, "close": {0, o.from}, "withdraw": {o.from, o.to},
	}[o.kind]
	repo, before, loaded := b.accounts.In(u), balances{}, map[int]*account{}
	for _, i := range about {
		got, err := repo.GetMany(ctx, accountID(i))
		if err != nil {
			return "", err
		}
		before[i] = closedAccount
		if len(got) == 1 {
			before[i], loaded[i] = got[0].Balance, got[0]
		}
		runtime.Gosched()
	}
	what, after := o.step(before)
	for _, i := range about {
		switch {
		case after[i] == before[i]:
		case before[i] == closedAccount:
			err = repo.Add(&account{accountID(i), after[i]})
		case after[i] == closedAccount:
			err = repo.Remove(loaded[i])
		default:
			loaded[i].Balance = after[i]
		}
		if err != nil {
			return "", err
		}
	}
	if dice%8 == 3 && what == "done" {
		return what, u.Flush(ctx)
	}
	return what, nil
}

func someOrder(random *rand.Rand) order {
	o := order{from: 1 + random.IntN(accounts-1), to: 1 + random.IntN(accounts-1), amount: 1 + random.Int64N(40)}
	for o.to == o.from {
		o.to = 1 + random.IntN(accounts-1)
	}
	switch n := random.IntN(20); {
	case n < 8:
		o.kind = "transfer"
		if n < 4 {
			o.from = 0
		}
	case n < 13:
		o.kind = "read"
	case n < 16:
		o.kind, o.amount = "withdraw", 3*o.amount
	case n < 18:
		o.kind = "open"
	default:
		o.kind = "close"
	}
	return o
}

// history has clients give orders at the same time, and returns what they saw.
func (b *bank) history(ctx context.Context, random *rand.Rand, clients, orders int) ([]porcupine.Operation, error) {
	if err := b.reset(ctx); err != nil {
		return nil, err
	}
	var mu sync.Mutex
	var list []porcupine.Operation
	var errs []error
	var done sync.WaitGroup
	start := time.Now()
	for client := range clients {
		own := rand.New(rand.NewPCG(random.Uint64(), uint64(client)))
		done.Go(func() {
			for range orders {
				o, dice := someOrder(own), own.IntN(1000)
				called := time.Since(start)
				r, err := b.do(ctx, o, dice)
				returned := time.Since(start)
				mu.Lock()
				list = append(list, porcupine.Operation{ClientId: client, Input: o, Call: int64(called), Output: r, Return: int64(returned)})
				if err != nil {
					errs = append(errs, fmt.Errorf("%+v: %w", o, err))
				}
				mu.Unlock()
			}
		})
	}
	done.Wait()
	return list, errors.Join(errs...)
}

// TestStrictSerializability has clients move money, and read and open and close
// accounts, and demands that what they saw could have happened one after the other,
// each between its call and its return.
func TestStrictSerializability(t *testing.T) {
	for _, s := range stores.All(&local) {
		t.Run(s.Name, func(t *testing.T) {
			random := chance(t)
			c := newCollectionOfAccounts()
			b := &bank{db: s.Open(t, stores.Options{Config: bankConfig(c)}).DB, accounts: c}
			for range *histories {
				h, err := b.history(t.Context(), random, 8, 25)
				if err != nil {
					t.Fatal(err)
				}
				if got := porcupine.CheckOperationsTimeout(bankModel(), h, time.Minute); got != porcupine.Ok {
					t.Fatalf("the history is %s: %s", got, describe(h))
				}
			}
		})
	}
}

func describe(h []porcupine.Operation) (text string) {
	for _, o := range h {
		r := o.Output.(reply)
		text += fmt.Sprintf("\n%d %10d %10d %+v %s", o.ClientId, o.Call, o.Return, o.Input, r.what)
		if r.seen != nil {
			text += fmt.Sprint(*r.seen)
		}
	}
	return text
}
