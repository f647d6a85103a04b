package inbox_test

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"testing"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/inbox"
	"github.com/uow-go/uow/integration/internal/stores"
)

// shop is a database whose effects are counted in two ways.
type shop struct {
	*stores.Database
	records *inbox.Records
	sales   *uow.Collection[sale]
	stocks  *uow.Collection[stock]
	inbox   *inbox.Inbox
	flushes bool
}

// sale is a row for each effect, whose id is one of chance, so that nothing but the
// inbox keeps a message from having two.
type sale struct{ ID, Message string }

// stock is one of a few rows that all handlers change.
type stock struct {
	ID   string
	Sold int
}

const stocks = 3

// openShop opens a new database, or one by its name.
func openShop(t *testing.T, store stores.Store, claim inbox.Claim, name string) *shop {
	t.Helper()
	s := &shop{
		records: inbox.NewRecords(),
		sales:   uow.NewCollection[sale]("sales"),
		stocks:  uow.NewCollection[stock]("stocks"),
		flushes: claim == inbox.BeforeHandling,
	}
	collections := append(s.records.Collections(), s.sales, s.stocks)
	s.Database = store.Open(t, stores.Options{Config: uow.Config{Collections: collections}, Name: name, MaxConns: 5})
	var err error
	if s.inbox, err = inbox.New(s.DB, s.records, inbox.Config{Consumer: "seller", Claim: claim}); err != nil {
		t.Fatal(err)
	}
	if name != "" {
		return s
	}
	err = s.Do(t.Context(), func(_ context.Context, u *uow.Unit) (err error) {
		for i := range stocks {
			err = errors.Join(err, s.stocks.In(u).Add(&stock{ID: fmt.Sprint(i)}))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// sell is the handler. Where the mark was sent already, it writes in two parts, so that
// a process can die between.
func (s *shop) sell(ctx context.Context, u *uow.Unit, id string) error {
	if err := s.sales.In(u).Add(&sale{ID: fmt.Sprintf("%016x", rand.Uint64()), Message: id}); err != nil {
		return err
	}
	if s.flushes {
		if err := u.Flush(ctx); err != nil {
			return err
		}
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(id))
	stock, err := s.stocks.In(u).Get(ctx, fmt.Sprint(h.Sum32()%stocks))
	if err == nil {
		stock.Sold++
	}
	return err
}

// deliver delivers a message until that goes well: what a server got from a process
// that was killed may still be under way.
func (s *shop) deliver(t *testing.T, id string) (duplicate bool) {
	t.Helper()
	for range 100 {
		r, err := s.inbox.Handle(t.Context(), inbox.Message{Source: "shop", ID: id}, func(ctx context.Context, u *uow.Unit) error {
			return s.sell(ctx, u, id)
		})
		if err == nil {
			return r.Duplicate
		}
		if !errors.Is(err, uow.ErrConflict) && !errors.Is(err, uow.ErrRetryable) {
			t.Fatalf("message %s: %v", id, err)
		}
	}
	t.Fatalf("message %s: conflicts only", id)
	return false
}

// check demands one effect and one mark of each message.
func (s *shop) check(t *testing.T, messages int) {
	t.Helper()
	sold, effects := 0, map[string]int{}
	err := s.View(t.Context(), func(ctx context.Context, v *uow.View) error {
		for one, err := range s.sales.From(v).All(ctx, uow.Query{}) {
			if err != nil {
				return err
			}
			effects[one.Message]++
		}
		all, err := s.stocks.From(v).Find(ctx, uow.Query{})
		for _, one := range all {
			sold += one.Sold
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for id, n := range effects {
		if n != 1 {
			t.Errorf("message %s took effect %d times", id, n)
		}
	}
	marks, _, err := s.records.List(t.Context(), s.DB, inbox.Filter{Consumer: "seller", Limit: messages + 1})
	if err != nil || len(effects) != messages || sold != messages || len(marks) != messages {
		t.Errorf("of %d messages %d have effects, %d were counted, and %d have marks; %v", messages, len(effects), sold, len(marks), err)
	}
}
