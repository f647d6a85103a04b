package mysql

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/uow-go/uow"
	"github.com/uow-go/uow/outbox"
)

// A unit that has appended, and is open, is named; one that has written something else is
// not. Who may not ask the server is told what the lanes tell.
func TestBlockers(t *testing.T) {
	f := open(t, "", Options{})
	stranger := stranger(t, f.dsn)
	ask := func(s *Store) []outbox.Blocker {
		t.Helper()
		all, err := s.Blockers(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	u := f.DB.Begin()
	defer u.Close()
	flush := func(unit *uow.Unit, fn func() error) {
		t.Helper()
		if err := fn(); err != nil {
			t.Fatal(err)
		}
		if err := unit.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	flush(u, func() error { return f.Documents.In(u).Add(&document{ID: "d"}) })
	if all := ask(f.store); len(all) != 0 {
		t.Errorf("without messages: %+v, want none", all)
	}
	flush(u, func() error { return outbox.Append(u, outbox.Message{Type: "T"}) })
	all := ask(f.store)
	if len(all) != 1 || all[0].Session == "" || all[0].Application == "" || time.Since(all[0].Since).Abs() > time.Minute {
		t.Errorf("got %+v, want the unit's transaction", all)
	}
	if all := ask(stranger); len(all) != 1 || !strings.HasSuffix(all[0].Session, "modulo 256") {
		t.Errorf("without the privilege: %+v, want the lane", all)
	}
	if err := u.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if all := ask(f.store); len(all) != 0 {
		t.Errorf("after the end: %+v, want none", all)
	}
}

// stranger opens the database as a user who may use it and no more.
func stranger(t *testing.T, dsn string) *Store {
	t.Helper()
	cfg, err := mysql.ParseDSN(dsn)
	if err != nil {
		t.Fatal(err)
	}
	admin := open(t, dsn, Options{}).store
	name := fmt.Sprintf("uow_%d", time.Now().UnixNano()%1e9)
	run := func(ctx context.Context, statement string) {
		if err := admin.do(ctx, "test", newScript().do(statement)); err != nil {
			t.Error(err)
		}
	}
	run(t.Context(), "CREATE USER "+name+"@'%' IDENTIFIED BY 'secret'")
	t.Cleanup(func() { run(context.Background(), "DROP USER "+name+"@'%'") })
	run(t.Context(), "GRANT ALL ON `"+cfg.DBName+"`.* TO "+name+"@'%'")
	cfg.User, cfg.Passwd = name, "secret"
	s, err := OpenStore(t.Context(), cfg.FormatDSN())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}
