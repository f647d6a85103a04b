package bench

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

// stores are all that can be had; names of those that can't are skipped, or fail.
func eachStore(t *testing.T, test func(t *testing.T, s *Store)) {
	for name, open := range map[string]func(t *testing.T) *Store{
		"postgres":           func(t *testing.T) *Store { return Postgres(needPostgres(t)) },
		"mysql":              func(t *testing.T) *Store { return MySQL(needMySQL(t)) },
		"sqlite":             func(t *testing.T) *Store { return SQLite(t.TempDir()) },
		"tracking, postgres": func(t *testing.T) *Store { return TrackingPostgres(needPostgres(t), 100) },
		"tracking, sqlite":   func(t *testing.T) *Store { return TrackingSQLite(t.TempDir(), 100) },
	} {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
}

func eachVariant(t *testing.T, test func(t *testing.T, s *Store, v Variant, subject Subject)) {
	eachStore(t, func(t *testing.T, s *Store) {
		for _, v := range s.Variants {
			t.Run(v.Name, func(t *testing.T) { test(t, s, v, openOne(t, s, v)) })
		}
	})
}

func openOne(t *testing.T, s *Store, v Variant) Subject {
	t.Helper()
	where, remove, err := s.Make(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := remove(); err != nil {
			t.Error(err)
		}
	})
	subject, err := v.Open(t.Context(), where)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := subject.Close(); err != nil {
			t.Error(err)
		}
	})
	return subject
}

func TestUnitsAreInTheDatabase(t *testing.T) {
	eachVariant(t, func(t *testing.T, s *Store, _ Variant, subject Subject) {
		if _, err := Run(t.Context(), subject, Load{Callers: 1, Units: 3}); err != nil {
			t.Fatal(err)
		}
		if err := s.verify(t.Context(), subject, 3); err != nil {
			t.Error(err)
		}
		if err := s.verify(t.Context(), subject, 4); err == nil {
			t.Error("a unit that was not done is not missed")
		}
	})
}

func TestConflictIsReportedAndChangesNothing(t *testing.T) {
	eachVariant(t, func(t *testing.T, s *Store, v Variant, subject Subject) {
		if v.Exclusive {
			wantWaiting(t, s, subject)
			return
		}
		var inner error
		done := false
		err := subject.Unit(t.Context(), accountID(7), func(a *Account) {
			if !done {
				done = true
				inner = subject.Unit(t.Context(), accountID(7), increment)
			}
			a.Balance += 1000
		})
		if inner != nil {
			t.Fatalf("the unit in between: %v", inner)
		}
		if !errors.Is(err, ErrConflict) {
			t.Fatalf("the unit whose account was changed meanwhile returned %v, want a conflict", err)
		}
		if err := s.verify(t.Context(), subject, 1); err != nil {
			t.Error(err)
		}
		if err := subject.Unit(t.Context(), accountID(7), increment); err != nil {
			t.Errorf("after the conflict: %v", err)
		}
		if err := s.verify(t.Context(), subject, 2); err != nil {
			t.Error(err)
		}
	})
}

// wantWaiting demands of a variant whose units wait for each other before they load
// that of two at once none conflicts, and none is lost.
func wantWaiting(t *testing.T, s *Store, subject Subject) {
	t.Helper()
	var once sync.Once
	other := make(chan error, 1)
	err := subject.Unit(t.Context(), accountID(7), func(a *Account) {
		once.Do(func() { go func() { other <- subject.Unit(t.Context(), accountID(7), increment) }() })
		increment(a)
	})
	if err := errors.Join(err, <-other); err != nil {
		t.Errorf("units that wait for each other: %v", err)
	}
	if err := s.verify(t.Context(), subject, 2); err != nil {
		t.Error(err)
	}
}

func TestHotRowsAreRepeatedUntilTheyAreDone(t *testing.T) {
	eachStore(t, func(t *testing.T, s *Store) {
		callers := 4
		if s.Messages == 0 { // what tracking costs is measured with one
			callers = 1
		}
		for _, v := range s.Variants {
			t.Run(v.Name, func(t *testing.T) {
				subject := openOne(t, s, v)
				r, err := Run(t.Context(), subject, Load{Callers: callers, Hot: 1, Units: 20})
				if err != nil {
					t.Fatal(err)
				}
				if r.Units != 20 {
					t.Errorf("%d units were counted, want 20", r.Units)
				}
				if err := s.verify(t.Context(), subject, 20); err != nil {
					t.Error(err)
				}
			})
		}
	})
}

// liar counts units that it does not do.
type liar struct{ Subject }

func (liar) Unit(context.Context, string, func(*Account)) error { return nil }

func TestWrongRowsFailTheRun(t *testing.T) {
	s := SQLite(t.TempDir())
	honest := s.Variants[0].Open
	v := Variant{Name: "liar", Open: func(ctx context.Context, where string) (Subject, error) {
		subject, err := honest(ctx, where)
		return liar{subject}, err
	}}
	_, err := s.Once(t.Context(), v, Load{Callers: 1, Units: 2})
	if err == nil || !strings.Contains(err.Error(), "after 4 units the database has") {
		t.Errorf("a variant that does nothing: %v", err)
	}
}

func TestReport(t *testing.T) {
	at := func(units int, d time.Duration) Result {
		return Result{Units: units, Elapsed: time.Second, Allocs: 50, Latencies: []time.Duration{d}}
	}
	c := &Comparison{
		Title: "SQLite, 32 callers", Key: "sqlite, 32", Store: SQLite(t.TempDir()),
		Results: [][]Result{
			{at(600, time.Millisecond), at(900, time.Millisecond), at(700, time.Millisecond)},
			{at(100, 4*time.Millisecond), at(100, 4*time.Millisecond), at(100, 4*time.Millisecond)},
			{at(100, 9*time.Millisecond), at(100, 9*time.Millisecond), at(100, 9*time.Millisecond)},
		},
	}
	var out strings.Builder
	c.Report(&out)
	ReportMarks(&out, Marks(18), []*Comparison{c})
	for _, want := range []string{
		"### SQLite, 32 callers",
		"| uow | 700 (600 to 900) | 1ms | 1ms | 1ms (1ms) | 50 |  |",
		"| own transactions | 100 (100 to 100) | 9ms | 9ms | 9ms (9ms) | 50 | **7.00** (6.00 to 9.00) |",
		"| SQLite, 32 callers | units/s against one writer, mutex | at least 6 | 7.00 | yes |",
		"| SQLite, 32 callers | units/s against own transactions | at least 9 | 7.00 | **no** |",
		"| SQLite, 32 callers | worst against own transactions | at most 0.2 | 0.11 | yes |",
	} {
		if !strings.Contains(out.String(), want+"\n") {
			t.Errorf("the report has no line\n%s\nin%s", want, out.String())
		}
	}
}

func TestMarksNameVariantsThatExist(t *testing.T) {
	stores := map[string]*Store{}
	for _, s := range []*Store{Postgres(""), MySQL(""), SQLite(""), TrackingPostgres("", 0), TrackingSQLite("", 0)} {
		stores[s.Name] = s
	}
	for _, m := range Marks(0) {
		name := m.Key
		if i := strings.LastIndex(m.Key, ", "); i > 0 && stores[name] == nil {
			name = strings.TrimSuffix(m.Key[:i], " delayed")
		}
		s := stores[name]
		if s == nil {
			t.Errorf("the mark of %q: there is no store %q", m.Key, name)
			continue
		}
		if c := (&Comparison{Store: s}); c.variant(m.Peer) < 0 {
			t.Errorf("the mark of %q: there is no variant %q", m.Key, m.Peer)
		}
	}
}

func Benchmark(b *testing.B) {
	for _, s := range []*Store{Postgres(needPostgres(b)), MySQL(needMySQL(b)), SQLite(b.TempDir())} {
		for _, v := range s.Variants {
			for _, callers := range []int{1, 8, 32} {
				b.Run(fmt.Sprintf("%s/%s/callers=%d", s.Name, v.Name, callers), func(b *testing.B) { benchmark(b, s, v, callers) })
			}
		}
	}
}

func benchmark(b *testing.B, s *Store, v Variant, callers int) {
	where, remove, err := s.Make(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	defer remove()
	subject, err := v.Open(b.Context(), where)
	if err != nil {
		b.Fatal(err)
	}
	defer subject.Close()
	b.ReportAllocs()
	b.ResetTimer()
	r, err := Run(b.Context(), subject, Load{Callers: callers, Units: b.N})
	b.StopTimer()
	if err != nil {
		b.Fatal(err)
	}
	if err := s.verify(b.Context(), subject, r.Units); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(r.Rate(), "units/s")
	b.ReportMetric(float64(r.Percentile(0.99).Microseconds()), "p99-µs")
}
