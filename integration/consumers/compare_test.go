package consumers_test

import (
	"context"
	"encoding/json"
	"slices"
	"testing"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/inbox"
	"github.com/uow-go/uow/outbox"
)

// compare demands that the outbox has what was to be committed, once; and that the effects
// and the marks are those of the outbox, once, the effects in its order.
func compare(t *testing.T, bank, shop string) {
	t.Helper()
	want, ids := published(t, bank)
	to, records, journals, err := openShop(t.Context(), shop)
	if err != nil {
		t.Fatal(err)
	}
	defer to.Close()
	got := map[string][]string{}
	err = to.View(t.Context(), func(ctx context.Context, v *uow.View) error {
		for j, err := range journals.From(v).All(ctx, uow.Query{}) {
			if err != nil {
				return err
			}
			got[j.ID] = j.Events
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(want) != accounts || len(got) != accounts {
		t.Errorf("%d accounts have events, and %d have effects", len(want), len(got))
	}
	for id := range got {
		same(t, "effects of account "+id, got[id], want[id])
	}
	same(t, "marks of the inbox", marked(t, to, records), ids)
}

// same demands that something is as it should be, in this order.
func same[T comparable](t *testing.T, what string, got, want []T) {
	t.Helper()
	for i := range max(len(got), len(want)) {
		if i >= len(got) || i >= len(want) || got[i] != want[i] {
			t.Errorf("the %s: there are %d, want %d; they differ at %d: got %v, want %v",
				what, len(got), len(want), i, got[min(i, len(got)):min(i+3, len(got))], want[min(i, len(want)):min(i+3, len(want))])
			return
		}
	}
}

// published returns the ids of the events in the outbox, of each account in order, and all
// of them sorted.
func published(t *testing.T, bank string) (byAccount map[string][]string, ids []string) {
	t.Helper()
	from, _, err := openBank(t.Context(), bank)
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	log, err := outbox.Of(from)
	if err != nil {
		t.Fatal(err)
	}
	byAccount = map[string][]string{}
	var of []int // the units
	for after := int64(0); ; {
		batch, next, err := log.Scan(t.Context(), outbox.Query{After: after, Limit: 100})
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range batch {
			var event deposited
			if err := json.Unmarshal(m.Payload, &event); err != nil {
				t.Fatal(err)
			}
			byAccount[m.AggregateID], ids, of = append(byAccount[m.AggregateID], m.ID), append(ids, m.ID), append(of, event.Unit)
		}
		if next == after {
			break
		}
		after = next
	}
	var want []int
	for n := range units {
		if !rolledBack(n) {
			want = append(want, n)
		}
	}
	same(t, "units whose events are in the outbox", of, want)
	slices.Sort(ids)
	return byAccount, ids
}

// marked returns the ids of the messages that the inbox has handled, sorted.
func marked(t *testing.T, shop *uow.DB, records *inbox.Records) (ids []string) {
	t.Helper()
	for f := (inbox.Filter{Consumer: "shop"}); ; {
		marks, next, err := records.List(t.Context(), shop, f)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range marks {
			ids = append(ids, m.Message.ID)
		}
		if next == "" {
			slices.Sort(ids)
			return ids
		}
		f.After = next
	}
}
