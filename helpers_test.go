package uow_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/driver"
	"github.com/uow-go/uow/memory"
	"github.com/uow-go/uow/outbox"
)

var errBoom = errors.New("boom")

// note is an aggregate.
type note struct {
	uow.Events
	ID   string
	Text string
}

type written struct{ Text string }

func (n *note) write(text string) {
	n.Text = text
	n.Record(written{Text: text})
}

// desk is a database with notes.
type desk struct {
	*testing.T
	db    *uow.DB
	notes *uow.Collection[note]
}

// newDesk opens a database; cfg may have anything but collections.
func newDesk(t *testing.T, cfg uow.Config) *desk {
	t.Helper()
	d := &desk{T: t, notes: uow.NewCollection[note]("notes")}
	cfg.Collections = []uow.AnyCollection{d.notes}
	db, err := memory.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	d.db = db
	return d
}

// do runs a unit that must go well.
func (d *desk) do(fn func(ctx context.Context, u *uow.Unit, notes *uow.Repository[note]) error) {
	d.Helper()
	if err := d.try(fn); err != nil {
		d.Fatal(err)
	}
}

func (d *desk) try(fn func(ctx context.Context, u *uow.Unit, notes *uow.Repository[note]) error) error {
	return d.db.Do(d.Context(), func(ctx context.Context, u *uow.Unit) error { return fn(ctx, u, d.notes.In(u)) })
}

// add stores notes.
func (d *desk) add(ids ...string) {
	d.Helper()
	d.do(func(_ context.Context, _ *uow.Unit, notes *uow.Repository[note]) error {
		for _, id := range ids {
			if err := notes.Add(&note{ID: id, Text: "old"}); err != nil {
				return err
			}
		}
		return nil
	})
}

// log returns all messages.
func (d *desk) log() []outbox.Message {
	d.Helper()
	log, err := outbox.Of(d.db)
	if err != nil {
		d.Fatal(err)
	}
	messages, _, err := log.Scan(d.Context(), outbox.Query{Limit: 1000})
	if err != nil {
		d.Fatal(err)
	}
	return messages
}

// payloads returns all messages' payloads, in order.
func (d *desk) payloads() string {
	d.Helper()
	var all []string
	for _, m := range d.log() {
		all = append(all, string(m.Payload))
	}
	return strings.Join(all, " ")
}

// failing is a store some of whose transactions' methods fail.
type failing struct {
	driver.Store
	commit, rollback, begin, get, find error
}

func (s *failing) Begin(ctx context.Context, options driver.TxOptions) (driver.Tx, error) {
	if s.begin != nil {
		return nil, s.begin
	}
	tx, err := s.Store.Begin(ctx, options)
	return &failingTx{Tx: tx, store: s}, err
}

type failingTx struct {
	driver.Tx
	store *failing
}

func (t *failingTx) Get(ctx context.Context, collection string, ids []string) ([]driver.Row, error) {
	if t.store.get != nil {
		return nil, t.store.get
	}
	return t.Tx.Get(ctx, collection, ids)
}

func (t *failingTx) Find(ctx context.Context, collection string, q driver.Query) ([]driver.Row, error) {
	if t.store.find != nil {
		return nil, t.store.find
	}
	return t.Tx.Find(ctx, collection, q)
}

func (t *failingTx) Commit(ctx context.Context, cs *driver.ChangeSet) error {
	if t.store.commit != nil {
		return errors.Join(t.store.commit, t.Tx.Rollback())
	}
	return t.Tx.Commit(ctx, cs)
}

func (t *failingTx) Rollback() error { return errors.Join(t.store.rollback, t.Tx.Rollback()) }

// fail puts a failing store between the desk and its memory.
func (d *desk) fail(s *failing) {
	d.Helper()
	s.Store = d.db.Store()
	db, err := uow.Open(d.Context(), s, uow.Config{Collections: []uow.AnyCollection{d.notes}})
	if err != nil {
		d.Fatal(err)
	}
	d.db = db
}

// wantError demands an error that is one and says something.
func wantError(t *testing.T, err, is error, says string) {
	t.Helper()
	if err == nil || (is != nil && !errors.Is(err, is)) || !strings.Contains(err.Error(), says) {
		t.Errorf("got error %v, want one that is %v and says %q", err, is, says)
	}
	if err != nil && !strings.HasPrefix(err.Error(), "uow: ") {
		t.Errorf("error %q does not begin with the package's name", err)
	}
}
