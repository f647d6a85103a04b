package bench

import (
	"context"
	"errors"
	"slices"
	"testing"
)

// Each variant handles what is in the stream, also where it is there twice, and its run
// checks that it was once.
func TestConsumersHandleEachMessageOnce(t *testing.T) {
	needNATS(t)
	for name, store := range map[string]struct {
		settings settings
		ways     []consumption
	}{
		"postgres": {settings{make: makeSchema(needPostgres(t))}, toPostgres()},
		"sqlite":   {settings{make: makeFolder(t.TempDir())}, toSQLite()},
	} {
		for _, v := range store.ways {
			t.Run(name+", "+v.name, func(t *testing.T) {
				result, err := v.once(t.Context(), store.settings, 120, 2)
				if err != nil {
					t.Fatal(err)
				}
				if result.Units < 120 || result.Units > 240 {
					t.Errorf("%d deliveries were handled", result.Units)
				}
			})
		}
	}
}

// done is a database after n messages that were handled, as it should be.
func done(n int) (ids []string, accounts []Account) {
	at := map[string]int{}
	for i := range Rows {
		accounts = append(accounts, newAccount(i))
		at[accountID(i)] = i
	}
	for i := range n {
		key, _ := newParcelOf(i, Rows)
		parcel{Number: i, Key: key}.apply(&accounts[at[key]])
		ids = append(ids, parcelID(i))
	}
	return ids, accounts
}

func TestWrongDatabasesFailTheRun(t *testing.T) {
	const n = 3
	changed := func(accounts []Account) *Account {
		return &accounts[slices.IndexFunc(accounts, func(a Account) bool { return a.Balance > 0 })]
	}
	for name, c := range map[string]struct {
		change  func(ids []string, accounts []Account) ([]string, []Account)
		ordered bool
		ok      bool
	}{
		"as it should be":   {func(ids []string, a []Account) ([]string, []Account) { return ids, a }, true, true},
		"not remembered":    {func(ids []string, a []Account) ([]string, []Account) { return ids[1:], a }, true, false},
		"another":           {func(ids []string, a []Account) ([]string, []Account) { ids[1] = "x"; return ids, a }, true, false},
		"remembered twice":  {func(ids []string, a []Account) ([]string, []Account) { return append(ids, ids[0]), a }, true, false},
		"handled twice":     {func(ids []string, a []Account) ([]string, []Account) { changed(a).Balance++; return ids, a }, true, false},
		"not handled":       {func(ids []string, a []Account) ([]string, []Account) { changed(a).Balance--; return ids, a }, true, false},
		"an account is off": {func(ids []string, a []Account) ([]string, []Account) { return ids, a[1:] }, true, false},
		"out of order": {func(ids []string, a []Account) ([]string, []Account) {
			one := changed(a)
			parcel{Number: -1}.apply(one)
			one.Balance--
			return ids, a
		}, true, false},
		"where no order is promised": {func(ids []string, a []Account) ([]string, []Account) {
			one := changed(a)
			parcel{Number: -1}.apply(one)
			one.Balance--
			return ids, a
		}, false, true},
	} {
		ids, accounts := c.change(done(n))
		h := &handling{
			ids:      func(context.Context) ([]string, error) { return ids, nil },
			accounts: func(context.Context) ([]Account, error) { return accounts, nil },
		}
		if err := h.verify(t.Context(), n, c.ordered); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A run whose messages were not acknowledged, or that ends too early, fails too.
func TestUnfinishedRunsFail(t *testing.T) {
	early := &handling{run: func(context.Context) error { return nil }}
	if _, err := early.measure(t.Context(), 1, newCountdown(1)); err == nil {
		t.Error("a run that handles nothing is taken")
	}
	broken := errors.New("broken")
	failing := &handling{run: func(context.Context) error { return broken }}
	if _, err := failing.measure(t.Context(), 1, newCountdown(1)); !errors.Is(err, broken) {
		t.Errorf("a run that fails returns %v", err)
	}
	s, err := settings{make: makeFolder(t.TempDir()), serve: relaxed}.open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	if err := publishAll(t.Context(), s.js, s.rawMessages(2, true)); err != nil {
		t.Fatal(err)
	}
	from, err := s.handConsumer(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for left := 2; left > 0; left-- {
		m, err := from.Next()
		if err != nil {
			t.Fatal(err)
		}
		if n, err := s.unacknowledged(t.Context()); n != left || err != nil {
			t.Errorf("%d messages are said not to be acknowledged, want %d: %v", n, left, err)
		}
		if err := m.DoubleAck(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.acknowledged(t.Context()); err != nil {
		t.Errorf("all is acknowledged: %v", err)
	}
}

func TestConsumeMarksNameVariantsThatExist(t *testing.T) {
	all := []*Comparison{ConsumePostgres("", 1), ConsumeSQLite("", 1)}
	for _, m := range ConsumeMarks() {
		found := false
		for _, c := range all {
			found = found || c.Key == m.Key && c.variant("uow") == 0 && c.variant(m.Peer) > 0
		}
		if !found {
			t.Errorf("the mark of %q: there is no variant %q", m.Key, m.Peer)
		}
	}
}
