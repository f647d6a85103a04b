package postgres

import (
	"context"
	"fmt"
	"testing"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/outbox"
)

// Each message tells whether its commit waits for the disk, whoever appends it and
// however it is committed.
func TestMessagesTellWhetherTheyAreSynced(t *testing.T) {
	f := open(t, needServer(t), Options{})
	add := func(id string, relaxed bool) {
		t.Helper()
		err := f.DB.Do(t.Context(), func(ctx context.Context, u *uow.Unit) error {
			if relaxed {
				if _, err := Tx(u).Exec(ctx, `SET LOCAL synchronous_commit = off`); err != nil {
					return err
				}
			}
			return outbox.Append(u, outbox.Message{ID: id, Type: "T"})
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	synced := func(want string) {
		t.Helper()
		got := ""
		rows, err := f.store.pool.Query(t.Context(), `SELECT id, synced FROM `+f.store.schema+`.uow_outbox ORDER BY position`)
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		for rows.Next() {
			var id string
			var is bool
			if err := rows.Scan(&id, &is); err != nil {
				t.Fatal(err)
			}
			got += fmt.Sprintf("%s:%v ", id, is)
		}
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	add("plain", false)
	add("relaxed", true)
	add("again", false)
	synced("plain:true relaxed:false again:true ")
	messages, _, err := f.store.Scan(t.Context(), outbox.Query{Limit: 10})
	if err != nil || len(messages) != 3 {
		t.Errorf("got %d messages, %v", len(messages), err)
	}
}
