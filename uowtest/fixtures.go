package uowtest

import (
	"bytes"
	"encoding/json"
	"sync/atomic"
	"time"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/inbox"
)

// schema has the collections that the checks use, in the order of the Config.
type schema struct {
	accounts *uow.Collection[account]
	entries  *uow.Collection[entry]
	letters  *uow.Collection[letter]
	things   *uow.Collection[thing]
	members  *uow.Collection[member]
	drafts   *uow.Collection[entry]  // disposable
	clients  *uow.Collection[client] // in a table of the user's; nil when the store has none
	records  *inbox.Records
	codec    *letterCodec
}

// account is a typical aggregate. Only its methods record events.
type account struct {
	uow.Events
	ID      string
	Owner   string
	Balance int64
	Tags    map[string]string `json:",omitempty"`
}

type opened struct{ Owner string }

type changed struct{ By int64 }

func (a *account) open(owner string) {
	a.Owner = owner
	a.Record(opened{Owner: owner})
}

func (a *account) add(n int64) {
	a.Balance += n
	a.Record(changed{By: n})
}

// entry is an aggregate of a second collection.
type entry struct {
	ID     string
	Amount int64
}

// member has a unique value that may be missing.
type member struct {
	ID    string
	Email *string
}

// thing has an index of each kind.
type thing struct {
	ID    string
	Text  *string
	Count *int64
	Ratio *float64
	Flag  *bool
	At    *time.Time
}

// letter is stored by a codec whose format can be changed, as a new release of a
// program does.
type letter struct {
	ID    string
	Words map[string]int
	Extra string `json:",omitempty"`
}

// letterCodec writes indented JSON as long as it is old, and reads both.
type letterCodec struct{ old atomic.Bool }

// Encode implements uow.Codec.
func (c *letterCodec) Encode(l *letter) ([]byte, error) {
	body, err := json.Marshal(l)
	if err != nil || !c.old.Load() {
		return body, err
	}
	var out bytes.Buffer
	err = json.Indent(&out, body, "", "  ")
	return out.Bytes(), err
}

// Decode implements uow.Codec.
func (c *letterCodec) Decode(body []byte, l *letter) error { return json.Unmarshal(body, l) }

func newSchema(lacks Capabilities) schema {
	codec := &letterCodec{}
	unique := !lacks.UniqueIndexes
	s := schema{
		codec: codec,
		accounts: uow.Define(uow.CollectionConfig[account]{
			Name: "accounts",
			Indexes: []uow.Index[account]{
				{Name: "owner", Kind: uow.String, Value: func(a *account) any { return a.Owner }},
				{Name: "balance", Kind: uow.Int, Value: func(a *account) any { return a.Balance }},
			},
		}),
		entries: uow.NewCollection[entry]("entries"),
		letters: uow.Define(uow.CollectionConfig[letter]{Name: "letters", Codec: codec}),
		things: uow.Define(uow.CollectionConfig[thing]{
			Name: "things",
			Indexes: []uow.Index[thing]{
				{Name: "text", Kind: uow.String, Value: func(v *thing) any { return v.Text }},
				{Name: "count", Kind: uow.Int, Value: func(v *thing) any { return v.Count }},
				{Name: "ratio", Kind: uow.Float, Value: func(v *thing) any { return v.Ratio }},
				{Name: "flag", Kind: uow.Bool, Value: func(v *thing) any { return v.Flag }},
				{Name: "at", Kind: uow.Time, Value: func(v *thing) any { return v.At }},
			},
		}),
		members: uow.Define(uow.CollectionConfig[member]{
			Name: "members",
			Indexes: []uow.Index[member]{
				{Name: "email", Kind: uow.String, Unique: unique, Value: func(m *member) any { return m.Email }},
			},
		}),
		drafts:  uow.Define(uow.CollectionConfig[entry]{Name: "drafts", Disposable: true}),
		records: inbox.NewRecords(),
	}
	if !lacks.Tables {
		s.clients = newClients()
	}
	return s
}

func (s schema) all() []uow.AnyCollection {
	all := []uow.AnyCollection{s.accounts, s.entries, s.letters, s.things, s.members, s.drafts}
	if s.clients != nil {
		all = append(all, s.clients)
	}
	return append(all, s.records.Collections()...)
}
