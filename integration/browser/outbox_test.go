package browser_test

import (
	"context"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/admin"
	"github.com/uow-go/uow/integration/internal/tocsintest"
	"github.com/uow-go/uow/memory"
	"github.com/uow-go/uow/outbox"
)

// parked is an outbox with three parked messages, one of which has markup in its reason,
// and the address of the page for it.
func parked(t *testing.T, allowWrites bool) (log outbox.Log, url string) {
	t.Helper()
	db, err := memory.Open(t.Context(), uow.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	keys := []string{"orders/1", "orders/2", "<b>orders/3</b>", "orders/4"}
	err = db.Do(t.Context(), func(_ context.Context, u *uow.Unit) error {
		for i, key := range keys {
			if err := outbox.Append(u, outbox.Message{ID: fmt.Sprint("m-", i+1), Key: key, Topic: "orders", Type: "OrderPlaced", Payload: []byte(`{"total": 12}`)}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if log, err = outbox.Of(db); err != nil {
		t.Fatal(err)
	}
	lease, err := log.Acquire(t.Context(), outbox.Claim{Cursor: "mail", Owner: "relay-1", TTL: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	settlement := outbox.Settlement{Position: 3}
	for i, reason := range []string{"the server answered 422: no such customer", "connection refused", `<img src=x onerror="document.title='owned'">`} {
		settlement.Hold = append(settlement.Hold, outbox.Hold{Position: int64(i + 1), Key: keys[i], State: outbox.Parked, Attempts: 5, Reason: reason, Since: time.Now()})
	}
	if err := log.Settle(t.Context(), lease, settlement); err != nil {
		t.Fatal(err)
	}
	ops, err := admin.New(admin.Config{Log: log})
	if err != nil {
		t.Fatal(err)
	}
	h, err := admin.Handler(admin.HandlerConfig{Ops: ops, AllowWrites: allowWrites})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return log, server.URL
}

// TestOutboxPage: an operator sees what is parked and why, redrives one message and
// discards another, which asks first, and the page follows.
func TestOutboxPage(t *testing.T) {
	log, url := parked(t, true)
	b := open(t)
	b.goTo(t, url+"/", "no such customer")
	b.waitText(t, "#cursors", "mail")
	b.waitText(t, "#parked", "orders/1")
	b.waitText(t, "#parked", "<img src=x")
	b.shoot(t, "outbox-parked")
	click := func(row int, button string) {
		t.Helper()
		evaluate[bool](t, b, fmt.Sprintf("[...document.querySelectorAll('#parked tr')[%d].querySelectorAll('button')].find(b => b.innerText.includes(%q)).click() ?? true", row, button))
	}
	left := func(want int) {
		t.Helper()
		tocsintest.Eventually(t, fmt.Sprintf("%d are parked", want), func() error {
			held, err := log.Held(t.Context(), "mail", outbox.HeldFilter{State: outbox.Parked})
			rows := evaluate[int](t, b, "document.querySelectorAll('#parked tr').length")
			if err != nil || len(held) != want || rows != want {
				return fmt.Errorf("%d are held, the page shows %d: %w", len(held), rows, err)
			}
			return nil
		})
	}
	click(0, "OrderPlaced")
	b.waitText(t, "#detail", "\"total\": 12")
	click(0, "Redrive")
	left(2)
	click(0, "Discard")
	b.waitText(t, "#parked", "Discard for good?")
	left(2)
	click(0, "Discard for good?")
	left(1)
	b.shoot(t, "outbox-one-left")
	if title := evaluate[string](t, b, "document.title"); title != "Outbox" {
		t.Errorf("the title is %q: markup of a reason was taken for markup", title)
	}
	b.quiet(t)
}

// TestOutboxPageThatMayOnlyLook has no buttons.
func TestOutboxPageThatMayOnlyLook(t *testing.T) {
	_, url := parked(t, false)
	b := open(t)
	b.goTo(t, url+"/", "no such customer")
	if text := evaluate[string](t, b, "document.body.innerText"); strings.Contains(text, "Redrive") || strings.Contains(text, "Discard") {
		t.Errorf("the page has buttons: %s", text)
	}
	b.quiet(t)
}
