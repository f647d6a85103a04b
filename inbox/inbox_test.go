package inbox_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/inbox"
	"github.com/uow-go/uow/memory"
	"github.com/uow-go/uow/outbox"
)

// world is a database in memory with counters that handlers count up.
type world struct {
	t        *testing.T
	db       *uow.DB
	records  *inbox.Records
	counters *uow.Collection[counter]
}

func newWorld(t *testing.T, change func(cfg *uow.Config)) *world {
	t.Helper()
	w := &world{t: t, records: inbox.NewRecords(), counters: uow.NewCollection[counter]("counters")}
	cfg := uow.Config{Collections: append(w.records.Collections(), w.counters)}
	if change != nil {
		change(&cfg)
	}
	db, err := memory.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	w.db = db
	return w
}

func (w *world) inbox(cfg inbox.Config) *inbox.Inbox {
	w.t.Helper()
	in, err := inbox.New(w.db, w.records, cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	return in
}

// count is a handler that counts.
func (w *world) count(ctx context.Context, u *uow.Unit) error {
	return countUp(ctx, u, w.counters)
}

func countUp(ctx context.Context, u *uow.Unit, counters *uow.Collection[counter]) error {
	known, err := counters.In(u).GetMany(ctx, "c")
	if err != nil {
		return err
	}
	if len(known) == 0 {
		return counters.In(u).Add(&counter{ID: "c", N: 1})
	}
	known[0].N++
	return nil
}

func nothing(context.Context, *uow.Unit) error { return nil }

func (w *world) counted() (n int) {
	w.t.Helper()
	err := w.db.View(w.t.Context(), func(ctx context.Context, v *uow.View) error {
		known, err := w.counters.From(v).GetMany(ctx, "c")
		for _, c := range known {
			n = c.N
		}
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return n
}

func TestConfigIsChecked(t *testing.T) {
	w := newWorld(t, nil)
	for name, cfg := range map[string]inbox.Config{
		"no consumer":          {},
		"a slash":              {Consumer: "a/b"},
		"a space":              {Consumer: "a b"},
		"a long name":          {Consumer: strings.Repeat("a", 65)},
		"a short horizon":      {Consumer: "a", Horizon: time.Second},
		"a negative horizon":   {Consumer: "a", Horizon: -time.Hour},
		"an unknown claim":     {Consumer: "a", Claim: 2},
		"an unknown order":     {Consumer: "a", Order: 3},
		"a beginning of none":  {Consumer: "a", FromFirst: true},
		"an order below those": {Consumer: "a", Order: -1},
	} {
		if _, err := inbox.New(w.db, w.records, cfg); !errors.Is(err, uow.ErrConfig) {
			t.Errorf("%s: %v, want ErrConfig", name, err)
		}
	}
	if _, err := inbox.New(nil, w.records, inbox.Config{Consumer: "a"}); !errors.Is(err, uow.ErrConfig) {
		t.Errorf("no database: %v, want ErrConfig", err)
	}
	if _, err := inbox.New(w.db, inbox.NewRecords(), inbox.Config{Consumer: "a"}); !errors.Is(err, uow.ErrConfig) {
		t.Errorf("records that are not listed: %v, want ErrConfig", err)
	}
	if _, err := inbox.New(w.db, w.records, inbox.Config{Consumer: "A-1._z"}); err != nil {
		t.Error(err)
	}
}

func TestInvalidMessages(t *testing.T) {
	w := newWorld(t, nil)
	in := w.inbox(inbox.Config{Consumer: "a"})
	for name, m := range map[string]inbox.Message{
		"no id":               {Source: "s"},
		"a negative sequence": {ID: "1", Stream: "x", Sequence: -1},
		"a year of 5 digits":  {ID: "1", Time: time.Date(12345, 1, 1, 0, 0, 0, 0, time.UTC)},
	} {
		if _, err := in.Handle(t.Context(), m, w.count); !errors.Is(err, inbox.ErrInvalid) {
			t.Errorf("%s: %v, want ErrInvalid", name, err)
		}
	}
	if err := in.Skip(t.Context(), "s", "", 1); !errors.Is(err, inbox.ErrInvalid) {
		t.Errorf("Skip of no stream: %v, want ErrInvalid", err)
	}
	if n := w.counted(); n != 0 {
		t.Errorf("%d effects of messages that were refused", n)
	}
}

// TestHostileIDs demands that ids are told apart whatever is in them.
func TestHostileIDs(t *testing.T) {
	w := newWorld(t, nil)
	in := w.inbox(inbox.Config{Consumer: "a"})
	long := strings.Repeat("é", 4000)
	messages := []inbox.Message{
		{ID: "b/c"}, {Source: "b", ID: "c"}, {Source: "b/", ID: "c"}, {ID: "b%2Fc"}, {Source: "/b", ID: "c"},
		{ID: "\x00"}, {ID: "\xff"}, {ID: "\xfe"}, {ID: "\ufffd"}, {ID: " "}, {ID: "a"}, {ID: "A"}, {ID: "."}, {ID: ".."},
		{ID: long}, {ID: long + "x"}, {Source: long, ID: "x"}, {Source: long[:len(long)-2], ID: "éx"}, {Source: "sha256-", ID: "x"},
	}
	for i, m := range messages {
		for _, want := range []bool{false, true} {
			if r, err := in.Handle(t.Context(), m, w.count); err != nil || r.Duplicate != want {
				t.Errorf("message %d, %.20q of %.20q: %+v, %v; want a duplicate: %v", i, m.ID, m.Source, r, err, want)
			}
		}
	}
	if n := w.counted(); n != len(messages) {
		t.Errorf("%d effects of %d messages", n, len(messages))
	}
}

func TestFromOutbox(t *testing.T) {
	now := time.Now()
	got := inbox.FromOutbox("bank", outbox.Message{ID: "1", AggregateType: "accounts", AggregateID: "alice", Sequence: 3, CreatedAt: now})
	if want := (inbox.Message{Source: "bank", ID: "1", Stream: "accounts/alice", Sequence: 3, Time: now}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	got = inbox.FromOutbox("bank", outbox.Message{ID: "1", Key: "k", CreatedAt: now})
	if want := (inbox.Message{Source: "bank", ID: "1", Time: now}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// TestP24_DuplicateWaitsForItsTurn lets a second delivery come while the first is
// being handled, and a third give up.
func TestP24_DuplicateWaitsForItsTurn(t *testing.T) {
	for _, order := range []inbox.Order{inbox.IgnoreOrder, inbox.ReportDisorder} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, nil)
			in := w.inbox(inbox.Config{Consumer: "a", Order: order})
			m := inbox.Message{ID: "1", Stream: "x", Sequence: 1}
			first, again := make(chan struct{}), make(chan inbox.Receipt)
			go func() {
				_, err := in.Handle(t.Context(), m, func(ctx context.Context, u *uow.Unit) error {
					<-first
					return w.count(ctx, u)
				})
				if err != nil {
					t.Error(err)
				}
			}()
			synctest.Wait()
			go func() {
				r, err := in.Handle(t.Context(), m, w.count)
				if err != nil {
					t.Error(err)
				}
				again <- r
			}()
			synctest.Wait()
			select {
			case r := <-again:
				t.Fatalf("the second delivery did not wait: %+v", r)
			default:
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if _, err := in.Handle(ctx, m, w.count); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("a delivery that gave up: %v, want DeadlineExceeded", err)
			}
			if _, err := in.Handle(t.Context(), inbox.Message{ID: "2", Stream: "y", Sequence: 1}, nothing); err != nil {
				t.Errorf("another message had to wait: %v", err)
			}
			close(first)
			if r := <-again; !r.Duplicate {
				t.Errorf("the second delivery: %+v, want a duplicate", r)
			}
			if n := w.counted(); n != 1 {
				t.Errorf("%d effects of a message", n)
			}
		})
	}
}

// TestRetryOfTheDatabase demands that the handler runs again where Config.Retry says
// so, and that its own errors are not taken for races.
func TestRetryOfTheDatabase(t *testing.T) {
	for attempts, want := range map[int]error{1: uow.ErrConflict, 3: nil} {
		w := newWorld(t, func(cfg *uow.Config) {
			cfg.Retry = uow.Retry{MaxAttempts: attempts, Conflicts: true, MinBackoff: 1, MaxBackoff: 1}
		})
		in := w.inbox(inbox.Config{Consumer: "a"})
		m, runs := inbox.Message{ID: "1"}, 0
		handler := func(ctx context.Context, u *uow.Unit) error {
			runs++
			if err := w.count(ctx, u); err != nil || runs > 1 {
				return err
			}
			return w.db.Do(ctx, w.count) // a conflict
		}
		r, err := in.Handle(t.Context(), m, handler)
		if !errors.Is(err, want) || r.Duplicate || runs != min(attempts, 2) {
			t.Errorf("%d attempts: %+v, %v after %d runs; want %v", attempts, r, err, runs, want)
		}
		if r, err := in.Handle(t.Context(), m, w.count); err != nil || r.Duplicate != (want == nil) {
			t.Errorf("%d attempts: the next delivery: %+v, %v", attempts, r, err)
		}
	}
}

// TestSerializable lets inboxes that do not know of each other handle a message in
// serializable units, while marks are trimmed.
func TestSerializable(t *testing.T) {
	w := newWorld(t, nil)
	w.db = w.db.With(uow.UnitOptions{Serializable: true})
	var deliveries sync.WaitGroup
	var mu sync.Mutex
	handled := 0
	for range 8 {
		in := w.inbox(inbox.Config{Consumer: "a"})
		deliveries.Go(func() {
			r, err := in.Handle(t.Context(), inbox.Message{ID: "1"}, w.count)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Error(err)
			} else if !r.Duplicate {
				handled++
			}
			if _, err := in.Trim(t.Context(), 1); err != nil {
				t.Error(err)
			}
		})
	}
	deliveries.Wait()
	if n := w.counted(); n != 1 || handled != 1 {
		t.Errorf("%d effects, and %d deliveries that were no duplicates", n, handled)
	}
}

// TestResults demands that results which say nothing are results, and that one which
// can't be kept or read is an error.
func TestResults(t *testing.T) {
	w := newWorld(t, nil)
	in := w.inbox(inbox.Config{Consumer: "a"})
	for range 2 {
		got, _, err := inbox.HandleResult(t.Context(), in, inbox.Message{ID: "nil"}, func(context.Context, *uow.Unit) (*int, error) { return nil, nil })
		if got != nil || err != nil {
			t.Errorf("a result of nil: %v, %v", got, err)
		}
	}
	unkept := inbox.Message{ID: "a channel"}
	_, _, err := inbox.HandleResult(t.Context(), in, unkept, func(ctx context.Context, u *uow.Unit) (chan int, error) { return make(chan int), w.count(ctx, u) })
	if err == nil || w.counted() != 0 {
		t.Errorf("a result that can't be kept: %v, and %d effects", err, w.counted())
	}
	if got, r, err := inbox.HandleResult(t.Context(), in, unkept, func(context.Context, *uow.Unit) (string, error) { return "text", nil }); got != "text" || r.Duplicate || err != nil {
		t.Errorf("the next delivery: %q, %+v, %v", got, r, err)
	}
	if got, r, err := inbox.HandleResult(t.Context(), in, unkept, func(context.Context, *uow.Unit) (int, error) { return 1, nil }); got != 0 || !r.Duplicate || err == nil {
		t.Errorf("a result of another type: %d, %+v, %v", got, r, err)
	}
	failed := errors.New("failed")
	if got, _, err := inbox.HandleResult(t.Context(), in, inbox.Message{ID: "error"}, func(context.Context, *uow.Unit) (int, error) { return 7, failed }); got != 0 || !errors.Is(err, failed) {
		t.Errorf("a handler that failed: %d, %v", got, err)
	}
}

// TestDeliveriesOfAStreamTakeTurns handles the messages of some streams at once, in
// any order, with a consumer that refuses disorder and a broker that brings again.
func TestDeliveriesOfAStreamTakeTurns(t *testing.T) {
	w := newWorld(t, nil)
	in := w.inbox(inbox.Config{Consumer: "a", Order: inbox.RefuseDisorder, FromFirst: true})
	const streams, length = 3, 15
	var mu sync.Mutex
	seen := map[string][]int64{}
	var deliveries sync.WaitGroup
	for i := range streams * length {
		m := inbox.Message{ID: fmt.Sprint(i), Stream: fmt.Sprint("s", i%streams), Sequence: int64(length - i/streams)}
		deliveries.Go(func() {
			for {
				_, err := in.Handle(t.Context(), m, func(context.Context, *uow.Unit) error {
					mu.Lock()
					defer mu.Unlock()
					seen[m.Stream] = append(seen[m.Stream], m.Sequence)
					return nil
				})
				if !errors.Is(err, inbox.ErrGap) {
					if err != nil {
						t.Error(err)
					}
					return
				}
			}
		})
	}
	deliveries.Wait()
	for stream, got := range seen {
		if len(got) != length || !slices.IsSorted(got) {
			t.Errorf("stream %s was handled as %v", stream, got)
		}
	}
}

func TestOrderError(t *testing.T) {
	for _, c := range []struct {
		err       inbox.OrderError
		gap, late bool
	}{
		{inbox.OrderError{Stream: "x", Sequence: 5, Last: 3}, true, false},
		{inbox.OrderError{Stream: "x", Sequence: 3, Last: 3}, false, true},
	} {
		if errors.Is(&c.err, inbox.ErrGap) != c.gap || errors.Is(&c.err, inbox.ErrLate) != c.late {
			t.Errorf("%v: a gap %v, late %v", &c.err, c.gap, c.late)
		}
		if text := c.err.Error(); !strings.HasPrefix(text, "inbox: ") || !strings.Contains(text, `"x"`) {
			t.Error(text)
		}
	}
}

// TestP24_TrimsAtOnce lets several trim while messages are handled: each mark is
// deleted once, and counted once.
func TestP24_TrimsAtOnce(t *testing.T) {
	var mu sync.Mutex
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	w := newWorld(t, func(cfg *uow.Config) {
		cfg.Now = func() time.Time { mu.Lock(); defer mu.Unlock(); return now }
	})
	in := w.inbox(inbox.Config{Consumer: "a", Horizon: time.Hour, Claim: inbox.AtCommit})
	const n = 40
	message := func(i int) inbox.Message { return inbox.Message{ID: fmt.Sprint(i), Time: now} }
	for i := range n {
		if _, err := in.Handle(t.Context(), message(i), w.count); err != nil {
			t.Fatal(err)
		}
	}
	old := message(0)
	mu.Lock()
	now = now.Add(2 * time.Hour)
	mu.Unlock()
	deleted := make(chan int)
	for range 4 {
		go func() {
			sum := 0
			for {
				got, err := in.Trim(t.Context(), 3)
				if err != nil && !errors.Is(err, uow.ErrConflict) {
					t.Error(err)
				}
				sum += got
				if err == nil && got == 0 {
					deleted <- sum
					return
				}
			}
		}()
	}
	sum := 0
	for range 4 {
		sum += <-deleted
	}
	marks, next, err := w.records.List(t.Context(), w.db, inbox.Filter{})
	if sum != n || len(marks) != 0 || next != "" || err != nil {
		t.Errorf("%d marks were deleted, and %d are left, of %d; %v", sum, len(marks), n, err)
	}
	if _, err := in.Handle(t.Context(), old, w.count); !errors.Is(err, inbox.ErrTooOld) {
		t.Errorf("a message that was forgotten: %v, want ErrTooOld", err)
	}
}

// TestListedMarks demands that marks say what was handled.
func TestListedMarks(t *testing.T) {
	w := newWorld(t, nil)
	m := inbox.Message{Source: "s", ID: "1", Stream: "x", Sequence: 4, Time: time.Date(2026, 1, 1, 0, 0, 0, 5000, time.UTC)}
	_, r, err := inbox.HandleResult(t.Context(), w.inbox(inbox.Config{Consumer: "a"}), m, func(context.Context, *uow.Unit) (int, error) { return 7, nil })
	if err != nil {
		t.Fatal(err)
	}
	want := []inbox.Mark{{Consumer: "a", Message: m, HandledAt: r.HandledAt, Unit: r.Unit, Result: []byte("7")}}
	got, _, err := w.records.List(t.Context(), w.db, inbox.Filter{Consumer: "a", Source: "s", ID: "1"})
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
	for _, f := range []inbox.Filter{{ID: "1"}, {Consumer: "a", Source: "s"}, {Limit: -1}, {After: "nowhere"}} {
		if _, _, err := w.records.List(t.Context(), w.db, f); !errors.Is(err, uow.ErrConfig) {
			t.Errorf("%+v: %v, want ErrConfig", f, err)
		}
	}
}
