// Package bench compares stores with what one would write without them on the same
// driver: by hand, and with other libraries. All variants do the same unit: load a
// row of some 300 bytes of JSON, change it with a check of its version, add a message
// of 300 bytes to an outbox, commit. After each run the database is asked whether
// everything that was counted is there.
package bench

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/uow-go/uow"
)

// Account is the row's JSON, some 300 bytes.
type Account struct {
	ID      string
	Owner   string
	Balance int64
	Tags    []string
	Note    string
}

// Changed is the event of a unit, 300 bytes of JSON.
type Changed struct{ Text string }

// Rows is how many accounts there are.
const Rows = 2048

// MaxCallers is the greatest number of callers; each changes rows of its own, so
// that no variant meets a conflict, unless a Load asks for them.
const MaxCallers = 256

// Conns is the size of every pool of connections to a server.
const Conns = 32

// ErrConflict is what a unit returns when its row was changed since it was loaded.
var ErrConflict = errors.New("bench: conflict")

func newAccount(i int) Account {
	return Account{
		ID:    accountID(i),
		Owner: fmt.Sprintf("owner-%d@example.com", i),
		Tags:  []string{"retail", "verified", "eu-west"},
		Note:  strings.Repeat("n", 170),
	}
}

func accountID(i int) string { return fmt.Sprintf("account-%06d", i) }

// accounts returns the first n rows as columns.
func accounts(n int) (ids, bodies []string, err error) {
	for i := range n {
		a := newAccount(i)
		body, err := json.Marshal(a)
		if err != nil {
			return nil, nil, err
		}
		ids, bodies = append(ids, a.ID), append(bodies, string(body))
	}
	return ids, bodies, nil
}

func newEvent() Changed { return Changed{Text: strings.Repeat("m", 289)} }

// newMessage returns the id and the payload of the message that tells of an event.
func newMessage(event Changed) (id string, payload []byte, err error) {
	var random [16]byte
	_, _ = rand.Read(random[:]) // never fails
	payload, err = json.Marshal(event)
	return hex.EncodeToString(random[:]), payload, err
}

// edit changes an account in its encoding.
func edit(body []byte, change func(*Account)) ([]byte, error) {
	var a Account
	if err := json.Unmarshal(body, &a); err != nil {
		return nil, err
	}
	change(&a)
	return json.Marshal(&a)
}

// aggregate is an Account for uow.
type aggregate struct {
	uow.Events
	Account
}

func newCollection() *uow.Collection[aggregate] {
	return uow.Define(uow.CollectionConfig[aggregate]{
		Name: "accounts",
		ID:   func(a *aggregate) string { return a.ID },
	})
}

// units is uow on any store.
type units struct {
	db       *uow.DB
	accounts *uow.Collection[aggregate]
	event    Changed
	silent   bool // no events
}

// quiet makes units that have no event.
func (s *units) quiet() { s.silent = true }

// newUnits opens the database by a store's Open, and adds the first n accounts.
func newUnits(ctx context.Context, n int, open func(cfg uow.Config) (*uow.DB, error)) (*units, error) {
	s := &units{accounts: newCollection(), event: newEvent()}
	var err error
	s.db, err = open(uow.Config{Collections: []uow.AnyCollection{s.accounts}})
	if err != nil {
		return nil, err
	}
	err = s.db.Do(ctx, func(_ context.Context, u *uow.Unit) error {
		for i := range n {
			if err := s.accounts.In(u).Add(&aggregate{Account: newAccount(i)}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, errors.Join(err, s.db.Close())
	}
	return s, nil
}

// Unit implements Subject.
func (s *units) Unit(ctx context.Context, id string, change func(*Account)) error {
	err := s.db.Do(ctx, func(ctx context.Context, u *uow.Unit) error {
		a, err := s.accounts.In(u).Get(ctx, id)
		if err != nil {
			return err
		}
		change(&a.Account)
		if !s.silent {
			a.Record(s.event)
		}
		return nil
	})
	if errors.Is(err, uow.ErrConflict) || errors.Is(err, uow.ErrRetryable) {
		return fmt.Errorf("%w: %w", ErrConflict, err)
	}
	return err
}

// Close implements Subject.
func (s *units) Close() error { return s.db.Close() }
