package admin_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/admin"
	"github.com/uow-go/uow/files"
	"github.com/uow-go/uow/inbox"
	"github.com/uow-go/uow/memory"
	"github.com/uow-go/uow/outbox"
	"github.com/uow-go/uow/relay"
	"github.com/uow-go/uow/sqlite"
)

// scene is a database with a relay whose destination refuses what it is told to.
type scene struct {
	t       *testing.T
	db      *uow.DB
	log     outbox.Log
	ops     *admin.Ops
	audit   *bytes.Buffer
	records *inbox.Records
	refuse  map[string]bool // keys
	mu      sync.Mutex
	got     []string
}

func newScene(t *testing.T, open func(cfg uow.Config) (*uow.DB, error)) *scene {
	t.Helper()
	s := &scene{t: t, audit: &bytes.Buffer{}, records: inbox.NewRecords(), refuse: map[string]bool{}}
	var err error
	if s.db, err = open(uow.Config{Collections: s.records.Collections()}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.db.Close() })
	if s.log, err = outbox.Of(s.db); err != nil {
		t.Fatal(err)
	}
	s.ops, err = admin.New(admin.Config{Log: s.log, DB: s.db, Records: s.records, Logger: slog.New(slog.NewTextHandler(s.audit, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// append commits a message for each key, with the ids key-1, key-2 …
func (s *scene) append(keys ...string) {
	s.t.Helper()
	count := map[string]int{}
	err := s.db.Do(s.t.Context(), func(_ context.Context, u *uow.Unit) error {
		for _, key := range keys {
			count[key]++
			m := outbox.Message{ID: fmt.Sprint(key, "-", count[key]), Key: key, Topic: "orders", Type: "Placed", Payload: []byte(`{"key":"` + key + `"}`)}
			if err := outbox.Append(u, m); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		s.t.Fatal(err)
	}
}

// deliver runs a relay of the cursor until nothing is left that it can do.
func (s *scene) deliver() {
	s.t.Helper()
	ctx, cancel := context.WithCancel(s.t.Context())
	defer cancel()
	publish := func(_ context.Context, m outbox.Message) relay.Result {
		if s.refuse[m.Key] {
			return relay.Result{Outcome: relay.Refused, Err: errors.New("no such customer")}
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.got = append(s.got, m.ID)
		return relay.Result{Outcome: relay.Stored}
	}
	r, err := relay.New(relay.Config{Log: s.log, Cursor: "mail", Publisher: relay.Each(publish, 1), Retries: 1, PollInterval: 10 * time.Millisecond, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		s.t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	deadline := time.Now().Add(time.Minute)
	for settled := false; !settled; {
		stats, err := s.ops.Stats(s.t.Context())
		if err != nil {
			s.t.Fatal(err)
		}
		settled = false
		for _, c := range stats.Cursors {
			if c.Name == "mail" && c.Position == stats.End && c.Retrying == 0 {
				held, err := s.log.Held(s.t.Context(), "mail", outbox.HeldFilter{State: outbox.Waiting})
				if err != nil {
					s.t.Fatal(err)
				}
				settled = !slices.ContainsFunc(held, func(h outbox.Held) bool { return !s.refuse[h.Key] })
			}
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("the relay is not done: %+v", stats)
		}
		select {
		case err := <-ended:
			s.t.Fatal("the relay has ended: ", err)
		case <-time.After(5 * time.Millisecond):
		}
	}
	cancel()
	if err := <-ended; err != nil {
		s.t.Fatal(err)
	}
}

func (s *scene) list(q admin.Query) (ids []string) {
	s.t.Helper()
	for {
		page, err := s.ops.List(s.t.Context(), q)
		if err != nil {
			s.t.Fatal(err)
		}
		for _, m := range page.Messages {
			ids = append(ids, m.ID)
		}
		if q.After = page.Next; q.After == 0 {
			return ids
		}
	}
}

func (s *scene) want(what string, got []string, want ...string) {
	s.t.Helper()
	if !slices.Equal(got, want) {
		s.t.Errorf("%s: got %q, want %q", what, got, want)
	}
}

func (s *scene) wantOutcome(got admin.Outcome, err error, matched, changed int) {
	s.t.Helper()
	if err != nil || got.Matched != matched || got.Changed != changed {
		s.t.Errorf("got %+v, %v; want %d matched and %d changed", got, err, matched, changed)
	}
}

func stores(t *testing.T) map[string]func(cfg uow.Config) (*uow.DB, error) {
	return map[string]func(cfg uow.Config) (*uow.DB, error){
		"memory": func(cfg uow.Config) (*uow.DB, error) { return memory.Open(t.Context(), cfg) },
		"files":  func(cfg uow.Config) (*uow.DB, error) { return files.Open(t.Context(), t.TempDir(), cfg) },
		"sqlite": func(cfg uow.Config) (*uow.DB, error) {
			return sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "test.db"), cfg)
		},
	}
}

func TestP23_OperatorsManageMessages(t *testing.T) {
	for name, open := range stores(t) {
		t.Run(name, func(t *testing.T) { manage(t, newScene(t, open)) })
	}
}

func manage(t *testing.T, s *scene) {
	s.refuse["b"], s.refuse["d"] = true, true
	s.append("a", "b", "b", "c", "d", "")
	s.deliver()
	s.want("delivered at first", s.got, "a-1", "c-1", "-1")
	in := func(states ...admin.State) admin.Query {
		return admin.Query{Cursor: "mail", Filter: admin.Filter{States: states}, Limit: 1}
	}
	s.want("parked", s.list(in(admin.Parked)), "b-1", "d-1")
	s.want("waiting", s.list(in(admin.Waiting)), "b-2")
	s.want("held", s.list(in(admin.Waiting, admin.Parked)), "b-1", "b-2", "d-1")
	s.want("delivered", s.list(in(admin.Delivered)), "a-1", "c-1", "-1")
	s.want("all of a key", s.list(admin.Query{Filter: admin.Filter{Keys: []string{"b"}}}), "b-1", "b-2")

	position, err := s.ops.Find(t.Context(), "b-1")
	if err != nil {
		t.Fatal(err)
	}
	detail, err := s.ops.Show(t.Context(), position)
	if err != nil || detail.Text != `{"key":"b"}` || len(detail.Cursors) != 1 || detail.Cursors[0].State != admin.Parked ||
		detail.Cursors[0].Reason != "no such customer" || detail.Cursors[0].Attempts != 1 {
		t.Errorf("b-1 is %+v, %v", detail, err)
	}
	for _, missing := range []int64{0, position + 1000} {
		if _, err := s.ops.Show(t.Context(), missing); !errors.Is(err, admin.ErrNoMessage) {
			t.Errorf("a message at %d: %v", missing, err)
		}
	}

	b := admin.Action{Cursor: "mail", Filter: admin.Filter{Keys: []string{"b"}}, Actor: "ann", DryRun: true}
	done, err := s.ops.Redrive(t.Context(), b)
	s.wantOutcome(done, err, 1, 0)
	s.want("parked after a dry run", s.list(in(admin.Parked)), "b-1", "d-1")
	b.DryRun = false
	s.refuse["b"] = false
	done, err = s.ops.Redrive(t.Context(), b)
	s.wantOutcome(done, err, 1, 1)
	done, err = s.ops.Discard(t.Context(), admin.Action{Cursor: "mail", All: true, Actor: "bob"})
	s.wantOutcome(done, err, 1, 1)
	s.got = nil
	s.deliver()
	s.want("delivered after a redrive and a discard", s.got, "b-1", "b-2")

	s.got = nil
	done, err = s.ops.Replay(t.Context(), admin.Action{Cursor: "mail", Filter: admin.Filter{From: 1, To: position + 1}, Actor: "ann", Rate: 1000})
	s.wantOutcome(done, err, 3, 3)
	s.append("e")
	s.deliver()
	slices.Sort(s.got)
	s.want("delivered again", s.got, "a-1", "b-1", "b-2", "e-1")

	for _, line := range []string{
		`msg="admin: redrive" action=redrive actor=ann cursor=mail selected="keys=[b] states=[parked]" dry_run=true matched=1 changed=0`,
		`msg="admin: discard" action=discard actor=bob cursor=mail selected="states=[parked]" dry_run=false matched=1 changed=1`,
		`msg="admin: replay" action=replay actor=ann`,
	} {
		if !strings.Contains(s.audit.String(), line) {
			t.Errorf("the audit has no %s:\n%s", line, s.audit)
		}
	}
}

func TestParkByHand(t *testing.T) {
	s := newScene(t, stores(t)["memory"])
	s.append("a", "a", "b")
	lease, err := s.log.Acquire(t.Context(), outbox.Claim{Cursor: "mail"})
	if err != nil {
		t.Fatal(err)
	}
	hold := func(position int64, key string, state outbox.HoldState) outbox.Hold {
		return outbox.Hold{Position: position, Key: key, State: state, NextAt: time.Now().Add(time.Hour), Since: time.Now()}
	}
	if err := s.log.Settle(t.Context(), lease, outbox.Settlement{Position: 3, Hold: []outbox.Hold{
		hold(1, "a", outbox.Retrying), hold(2, "a", outbox.Waiting), hold(3, "b", outbox.Retrying)}}); err != nil {
		t.Fatal(err)
	}
	done, err := s.ops.Park(t.Context(), admin.Action{Cursor: "mail", Filter: admin.Filter{Keys: []string{"a"}}, Reason: "wait for the fix"})
	s.wantOutcome(done, err, 2, 1)
	detail, err := s.ops.Show(t.Context(), 1)
	if err != nil || detail.Cursors[0].State != admin.Parked || detail.Cursors[0].Reason != "wait for the fix" {
		t.Errorf("parked by hand: %+v, %v", detail, err)
	}
	s.redriven(t)
}

func TestKeysAreStopped(t *testing.T) {
	s := newScene(t, stores(t)["memory"])
	s.append("a", "b", "a", "c", "b")
	lease, err := s.log.Acquire(t.Context(), outbox.Claim{Cursor: "mail"})
	if err == nil {
		err = s.log.Settle(t.Context(), lease, outbox.Settlement{Position: 5, Hold: []outbox.Hold{
			{Position: 2, Key: "b", State: outbox.Retrying}, {Position: 5, Key: "b", State: outbox.Waiting}}})
	}
	if err != nil {
		t.Fatal(err)
	}
	stop := admin.Action{Cursor: "mail", DryRun: true, Filter: admin.Filter{
		Keys: []string{"a", "b", "none"}, States: []admin.State{admin.Retrying, admin.Waiting, admin.Delivered}}}
	done, err := s.ops.Park(t.Context(), stop)
	s.wantOutcome(done, err, 2, 0)
	stop.DryRun = false
	done, err = s.ops.Park(t.Context(), stop)
	s.wantOutcome(done, err, 2, 2)
	s.want("parked", s.list(admin.Query{Cursor: "mail", Filter: admin.Filter{States: []admin.State{admin.Parked}}}), "b-1", "a-2")
	for what, a := range map[string]admin.Action{
		"no key":        {Cursor: "mail", All: true, Filter: admin.Filter{States: []admin.State{admin.Delivered}}},
		"the empty key": {Cursor: "mail", Filter: admin.Filter{Keys: []string{""}, States: []admin.State{admin.Delivered}}},
		"a limit":       {Cursor: "mail", Limit: 1, Filter: admin.Filter{Keys: []string{"c"}, States: []admin.State{admin.Delivered}}},
		"pending ones":  {Cursor: "mail", Filter: admin.Filter{Keys: []string{"c"}, States: []admin.State{admin.Delivered, admin.Pending}}},
	} {
		if _, err := s.ops.Park(t.Context(), a); !errors.Is(err, admin.ErrInvalid) {
			t.Errorf("%s: the error is %v, want ErrInvalid", what, err)
		}
	}
}

// redriven: what was parked by hand goes on in order when it is redriven.
func (s *scene) redriven(t *testing.T) {
	t.Helper()
	if _, err := s.ops.Redrive(t.Context(), admin.Action{Cursor: "mail", All: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.ops.Discard(t.Context(), admin.Action{Cursor: "mail", Filter: admin.Filter{Keys: []string{"b"}, States: []admin.State{admin.Retrying}}}); err != nil {
		t.Fatal(err)
	}
	s.deliver()
	s.want("delivered after it was redriven", s.got, "a-1", "a-2")
}

func TestWhatMakesNoSense(t *testing.T) {
	s := newScene(t, stores(t)["memory"])
	s.append("a")
	s.deliver()
	ctx := t.Context()
	for name, call := range map[string]func() error{
		"no cursor":          func() error { _, err := s.ops.Redrive(ctx, admin.Action{All: true}); return err },
		"everything, unsaid": func() error { _, err := s.ops.Discard(ctx, admin.Action{Cursor: "mail"}); return err },
		"a state that is none": func() error {
			_, err := s.ops.List(ctx, admin.Query{Cursor: "mail", Filter: admin.Filter{States: []admin.State{"lost"}}})
			return err
		},
		"a state of no cursor": func() error {
			_, err := s.ops.List(ctx, admin.Query{Filter: admin.Filter{States: []admin.State{admin.Parked}}})
			return err
		},
		"a redrive of what is delivered": func() error {
			_, err := s.ops.Redrive(ctx, admin.Action{Cursor: "mail", All: true, Filter: admin.Filter{States: []admin.State{admin.Delivered}}})
			return err
		},
		"a negative limit": func() error { _, err := s.ops.List(ctx, admin.Query{Limit: -1}); return err },
		"a negative rate": func() error {
			_, err := s.ops.Replay(ctx, admin.Action{Cursor: "mail", All: true, Rate: -1})
			return err
		},
		"an end before it begins": func() error { _, err := s.ops.List(ctx, admin.Query{Filter: admin.Filter{From: 3, To: 2}}); return err },
	} {
		if err := call(); !errors.Is(err, admin.ErrInvalid) {
			t.Errorf("%s: got %v, want ErrInvalid", name, err)
		}
	}
	if _, err := s.ops.Redrive(ctx, admin.Action{Cursor: "nobody", All: true}); !errors.Is(err, admin.ErrNoCursor) {
		t.Errorf("got %v, want ErrNoCursor", err)
	}
	if _, err := admin.New(admin.Config{}); !errors.Is(err, uow.ErrConfig) {
		t.Errorf("got %v, want ErrConfig", err)
	}
}

func TestDropCursor(t *testing.T) {
	s := newScene(t, stores(t)["memory"])
	s.append("a")
	s.deliver()
	if _, err := s.log.Join(t.Context(), "mail", "somebody", time.Hour); err != nil {
		t.Fatal(err)
	}
	if err := s.ops.DropCursor(t.Context(), "mail", "ann", false); !errors.Is(err, admin.ErrInvalid) {
		t.Errorf("a cursor in use was dropped: %v", err)
	}
	if err := s.ops.DropCursor(t.Context(), "mail", "ann", true); err != nil {
		t.Fatal(err)
	}
	if err := s.ops.DropCursor(t.Context(), "mail", "ann", true); !errors.Is(err, admin.ErrNoCursor) {
		t.Errorf("got %v, want ErrNoCursor", err)
	}
	s.got = nil
	s.deliver()
	s.want("delivered by the new cursor", s.got, "a-1")
}
