package relays_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/mysql"
	"github.com/uow-go/uow/outbox"
	"github.com/uow-go/uow/postgres"
	"github.com/uow-go/uow/relay"
	"github.com/uow-go/uow/sqlite"
)

// What somebody deletes from the log before its relay has read it is noticed.
func TestP22_MessageDeletedFromTheTableIsNoticed(t *testing.T) {
	for _, store := range []string{"postgres", "mysql", "sqlite"} {
		t.Run(store, func(t *testing.T) {
			w := newWorld(t, store, time.Minute)
			for range 4 {
				if _, err := count(t.Context(), w.db, w.counters, 0); err != nil {
					t.Fatal(err)
				}
			}
			w.deleteEvent(keyOf(0, 1), 3)
			var found []string
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			r, err := relay.New(relay.Config{
				Log: w.log, Partitions: partitions, TakeOver: true, Logger: slog.New(slog.DiscardHandler), PollInterval: 50 * time.Millisecond,
				Publisher: relay.Each(func(ctx context.Context, m outbox.Message) relay.Result { return post(ctx, w.url, m) }, 4),
				Observer:  onDisorder(func(d relay.Disorder) { found = append(found, errorOf(d).Error()) }),
			})
			if err != nil {
				t.Fatal(err)
			}
			ran := make(chan error, 1)
			go func() { ran <- r.Run(ctx) }()
			w.until("all is delivered", w.settled)
			cancel()
			if err := <-ran; err != nil {
				t.Fatal(err)
			}
			want := "[number 4 of counters/key 1 of 0 comes after 2]"
			if got := fmt.Sprint(found); got != want {
				t.Errorf("the observer was told of %s, want %s", got, want)
			}
		})
	}
}

// deleteEvent deletes the event of a counter from the table.
func (w *world) deleteEvent(counter string, sequence int) {
	w.Helper()
	deleted := int64(0)
	err := w.db.Do(w.Context(), func(ctx context.Context, u *uow.Unit) error {
		if w.store == "postgres" {
			_, schema, _ := strings.Cut(w.place, "|")
			tag, err := postgres.Tx(u).Exec(ctx, "DELETE FROM "+schema+".uow_outbox WHERE aggregateid = $1 AND sequence = $2", counter, sequence)
			deleted = tag.RowsAffected()
			return err
		}
		exec := mysql.Tx(u).ExecContext
		if w.store == "sqlite" {
			exec = sqlite.Tx(u).ExecContext
		}
		result, err := exec(ctx, "DELETE FROM uow_outbox WHERE aggregateid = ? AND sequence = ?", counter, sequence)
		if err == nil {
			deleted, err = result.RowsAffected()
		}
		return err
	})
	if err != nil || deleted != 1 {
		w.Fatalf("%d events were deleted: %v", deleted, err)
	}
}
