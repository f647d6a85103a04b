package outbox_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/memory"
	"github.com/uow-go/uow/outbox"
)

type account struct {
	uow.Events
	ID      string
	Balance int
}

type deposited struct{ Amount int }

type renamed struct{ Name string }

func (a *account) deposit(n int) {
	a.Balance += n
	a.Record(deposited{n})
}

// total is a read model: the sum of all deposits, of all accounts.
type total struct {
	ID  string
	Sum int
}

type bank struct {
	*testing.T
	db       *uow.DB
	accounts *uow.Collection[account]
	totals   *uow.Collection[total]
	factor   int // what the projection counts a deposit as
}

func newBank(t *testing.T) *bank {
	b := &bank{T: t, accounts: uow.NewCollection[account]("accounts"), totals: uow.NewCollection[total]("totals"), factor: 1}
	db, err := memory.Open(t.Context(), uow.Config{
		Collections: []uow.AnyCollection{b.accounts, b.totals},
		Projections: []uow.Projection{b.project},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	b.db = db
	return b
}

func (b *bank) project(ctx context.Context, u *uow.Unit, e uow.Event) error {
	d, ok := e.Value.(deposited)
	if !ok {
		return nil
	}
	known, err := b.totals.In(u).GetMany(ctx, "all")
	if err != nil {
		return err
	}
	if len(known) == 0 {
		return b.totals.In(u).Add(&total{ID: "all", Sum: d.Amount * b.factor})
	}
	known[0].Sum += d.Amount * b.factor
	return nil
}

func (b *bank) reset(ctx context.Context, u *uow.Unit) error {
	for t, err := range b.totals.In(u).All(ctx, uow.Query{}) {
		if err != nil {
			return err
		}
		t.Sum = 0
	}
	return nil
}

func (b *bank) deposit(id string, n int) {
	b.Helper()
	err := b.db.Do(b.Context(), func(ctx context.Context, u *uow.Unit) error {
		known, err := b.accounts.In(u).GetMany(ctx, id)
		if err != nil {
			return err
		}
		if len(known) == 0 {
			known = append(known, &account{ID: id})
			err = b.accounts.In(u).Add(known[0])
		}
		known[0].deposit(n)
		known[0].Record(renamed{"x"})
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
}

func (b *bank) sum() (n int) {
	b.Helper()
	err := b.db.View(b.Context(), func(ctx context.Context, v *uow.View) error {
		t, err := b.totals.From(v).Get(ctx, "all")
		if err == nil {
			n = t.Sum
		}
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	return n
}

func (b *bank) rebuild() outbox.Rebuild {
	b.Helper()
	decode, err := outbox.Decoder(deposited{})
	if err != nil {
		b.Fatal(err)
	}
	return outbox.Rebuild{Reset: b.reset, Projection: b.project, Decode: decode, Topics: []string{"accounts"}}
}

func TestRebuild(t *testing.T) {
	b := newBank(t)
	b.factor = 2 // a mistake
	for i := range 1200 {
		b.deposit(fmt.Sprint("a", i%7), 1)
	}
	if got := b.sum(); got != 2400 {
		t.Fatalf("the wrong sum is %d, want 2400", got)
	}
	b.factor = 1
	n, err := b.rebuild().Run(t.Context(), b.db)
	if n != 1200 || err != nil || b.sum() != 1200 {
		t.Errorf("applied %d, %v, and the sum is %d; want 1200 and 1200", n, err, b.sum())
	}
	b.deposit("a1", 10)
	if got := b.sum(); got != 1210 {
		t.Errorf("after the rebuild the sum goes on to %d, want 1210", got)
	}
}

func TestRebuildThatFailsLeavesTheOldReadModel(t *testing.T) {
	b := newBank(t)
	b.deposit("a", 5)
	b.deposit("b", 6)
	boom, r := errors.New("boom"), b.rebuild()
	r.Projection = func(ctx context.Context, u *uow.Unit, e uow.Event) error {
		if e.AggregateID == "b" {
			return boom
		}
		return b.project(ctx, u, e)
	}
	if _, err := r.Run(t.Context(), b.db); !errors.Is(err, boom) || b.sum() != 11 {
		t.Errorf("got %v and the sum %d, want boom and 11", err, b.sum())
	}
}

// A unit that projects while the rebuild is under way is neither lost nor counted
// twice.
func TestRebuildBesideUnits(t *testing.T) {
	b := newBank(t)
	b.deposit("a", 1)
	r, runs := b.rebuild(), 0
	reset := r.Reset
	r.Reset = func(ctx context.Context, u *uow.Unit) error {
		err := reset(ctx, u)
		if runs++; runs == 1 {
			b.deposit("a", 10)
		}
		return err
	}
	again := b.db.With(uow.UnitOptions{Retry: &uow.Retry{MaxAttempts: 3, Conflicts: true}})
	if _, err := r.Run(t.Context(), again); err != nil || runs != 2 || b.sum() != 11 {
		t.Errorf("got %v after %d runs, and the sum %d; want the second run to make it 11", err, runs, b.sum())
	}
}

func TestRebuildOfATrimmedLog(t *testing.T) {
	b := newBank(t)
	b.deposit("a", 1)
	log, err := outbox.Of(b.db)
	if err != nil {
		t.Fatal(err)
	}
	lease, err := log.Acquire(t.Context(), outbox.Claim{Cursor: "relay", Force: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := log.Settle(t.Context(), lease, outbox.Settlement{Position: 2}); err != nil {
		t.Fatal(err)
	}
	if n, err := log.Trim(t.Context(), time.Now().Add(time.Hour), 1); n != 1 || err != nil {
		t.Fatalf("trimmed %d, %v, want 1", n, err)
	}
	if _, err := b.rebuild().Run(t.Context(), b.db); !errors.Is(err, outbox.ErrTrimmed) {
		t.Errorf("got %v, want ErrTrimmed", err)
	}
}
