package uowtest_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/memory"
	"github.com/uow-go/uow/uowtest"
)

// What follows is quoted by docs/testing.md.

type Item struct {
	uow.Events
	ID    string
	Stock int
}

type Taken struct{ N int }

var items = uow.NewCollection[Item]("items")

// Shop is the application: its use cases have a database and a payment service.
type Shop struct {
	DB     *uow.DB
	Charge func(amount int) error
	Refund func(amount int) error
}

// Buy takes an item and charges for it.
func (s *Shop) Buy(ctx context.Context, id string) error {
	return s.DB.Do(ctx, func(ctx context.Context, u *uow.Unit) error {
		item, err := items.In(u).Get(ctx, id)
		if err != nil {
			return err
		}
		if item.Stock == 0 {
			return errors.New("sold out")
		}
		item.Stock--
		item.Record(Taken{N: 1})
		return s.Charge(10)
	})
}

func TestBuy(t *testing.T) {
	ctx := t.Context()
	db, err := memory.Open(ctx, uow.Config{Collections: []uow.AnyCollection{items}})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	err = db.Do(ctx, func(_ context.Context, u *uow.Unit) error {
		return items.In(u).Add(&Item{ID: "hat", Stock: 1})
	})
	if err != nil {
		t.Fatal(err)
	}

	shop := &Shop{DB: db, Charge: func(int) error { return nil }}
	if err := shop.Buy(ctx, "hat"); err != nil {
		t.Fatal(err)
	}
	if err := shop.Buy(ctx, "hat"); err == nil {
		t.Error("it sold what it did not have")
	}
}

// explorePurchase says what to explore, and what must hold.
func explorePurchase() uowtest.Exploration {
	var shop *Shop
	return uowtest.Exploration{
		Config: uow.Config{Collections: []uow.AnyCollection{items}},
		Setup: func(ctx context.Context, x *uowtest.Run) error {
			shop = &Shop{DB: x.DB, Charge: func(int) error {
				return x.Step("charge", func() error { return nil })
			}}
			return x.DB.Do(ctx, func(_ context.Context, u *uow.Unit) error {
				return items.In(u).Add(&Item{ID: "hat", Stock: 1})
			})
		},
		Operation: func(ctx context.Context, _ *uowtest.Run) error {
			return shop.Buy(ctx, "hat")
		},
		Snapshot: func(ctx context.Context, x *uowtest.Run) (any, error) {
			var stock int
			err := x.DB.Do(ctx, func(ctx context.Context, u *uow.Unit) error {
				hat, err := items.In(u).Get(ctx, "hat")
				if err == nil {
					stock = hat.Stock
				}
				return err
			})
			return fmt.Sprintf("stock %d, charged %d times", stock, x.Did("charge")), err
		},
	}
}

// The mistake of Buy is found, with the report that docs/testing.md shows.
func TestPurchaseIsNotAllOrNothing(t *testing.T) {
	for _, f := range explorePurchase().Findings(t) {
		if f.Run == "step_04_commit/conflict" {
			quoted(t, f.Report)
			return
		}
	}
	t.Error("the charge before a commit that fails was not found")
}

// BuySafely leaves the charge to the relay: the message is part of the commit.
func (s *Shop) BuySafely(ctx context.Context, id string) error {
	return s.DB.Do(ctx, func(ctx context.Context, u *uow.Unit) error {
		item, err := items.In(u).Get(ctx, id)
		if err != nil {
			return err
		}
		if item.Stock == 0 {
			return errors.New("sold out")
		}
		item.Stock--
		item.Record(Taken{N: 1}) // the relay hands it to whoever charges
		return nil
	})
}

func TestBuySafely(t *testing.T) {
	e := explorePurchase()
	e.Operation = func(ctx context.Context, x *uowtest.Run) error {
		return (&Shop{DB: x.DB}).BuySafely(ctx, "hat")
	}
	e.Invariant = func(ctx context.Context, x *uowtest.Run) error {
		if err := x.Relay(ctx, nil); err != nil { // the relay delivers what was committed
			return err
		}
		if n := len(x.Published()); x.Outcome.Left == uowtest.Everything && n != 1 || x.Outcome.Left == uowtest.Nothing && n != 0 {
			return fmt.Errorf("%d messages were published", n)
		}
		return nil
	}
	uowtest.Explore(t, e)
}

// A store whose second commit fails.
func ExampleFaultyDB() {
	ctx := context.Background()
	cfg := uow.Config{Collections: []uow.AnyCollection{items}}
	sound, err := memory.Open(ctx, cfg)
	if err != nil {
		log.Fatal(err)
	}
	defer sound.Close()
	db, err := uowtest.FaultyDB(ctx, sound, cfg, uowtest.Faults{
		Around: uowtest.Script(uowtest.Failure{Method: "Commit", Nth: 2}),
	})
	if err != nil {
		log.Fatal(err)
	}
	for _, id := range []string{"hat", "coat", "shoe"} {
		err := db.Do(ctx, func(_ context.Context, u *uow.Unit) error {
			return items.In(u).Add(&Item{ID: id})
		})
		fmt.Println(id, err)
	}
	// Output:
	// hat <nil>
	// coat uowtest: commit: uowtest: failed on purpose
	// shoe <nil>
}

// An Around can do anything around a call.
func ExampleAround() {
	ctx := context.Background()
	cfg := uow.Config{Collections: []uow.AnyCollection{items}}
	sound, err := memory.Open(ctx, cfg)
	if err != nil {
		log.Fatal(err)
	}
	defer sound.Close()
	db, err := uowtest.FaultyDB(ctx, sound, cfg, uowtest.Faults{
		Around: func(_ context.Context, c uowtest.Call, do func() error) error {
			fmt.Println(c)
			return do()
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	err = db.Do(ctx, func(_ context.Context, u *uow.Unit) error {
		return items.In(u).Add(&Item{ID: "hat"})
	})
	fmt.Println(err)
	// Output:
	// Begin
	// Commit insert items/hat
	// <nil>
}

// docs returns docs/testing.md.
func docs(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../docs/testing.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// quoted demands that docs/testing.md shows a report, apart from line numbers.
func quoted(t *testing.T, report string) {
	t.Helper()
	lines := regexp.MustCompile(`\.go:[0-9]+`)
	plain := func(text string) string { return lines.ReplaceAllString(text, ".go:0") }
	if !strings.Contains(plain(docs(t)), plain(strings.TrimSpace(report))) {
		t.Errorf("docs/testing.md does not show this report:\n%s", report)
	}
}

// The code in docs/testing.md is that of tests.
func TestDocsQuoteTests(t *testing.T) {
	files, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	var source strings.Builder
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		source.Write(text)
	}
	blocks := strings.Split(docs(t), "```go\n")[1:]
	if len(blocks) < 4 {
		t.Errorf("there are %d pieces of code", len(blocks))
	}
	for _, block := range blocks {
		code, _, _ := strings.Cut(block, "```")
		for _, part := range strings.Split(code, "\n…\n") { // what is left out
			if !strings.Contains(source.String(), strings.TrimSpace(part)) {
				t.Errorf("no test has this code:\n%s", part)
			}
		}
	}
}
