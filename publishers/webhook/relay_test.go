package webhook_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/memory"
	"github.com/uow-go/uow/outbox"
	"github.com/uow-go/uow/publishers/webhook"
	"github.com/uow-go/uow/relay"
)

// A real relay, on a real store, over real HTTP: a receiver that fails every other
// time, or closes the connection, gets each key in order all the same.
func TestP21_RetriesKeepTheOrderOfKeysOverHTTP(t *testing.T) {
	const keys, each = 5, 8
	var mu sync.Mutex
	first := map[string][]string{}
	tries, arrived := 0, 0
	done := make(chan struct{})
	r := newReceiver(t, func(w http.ResponseWriter, request *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		tries++
		id := request.Header.Get("Webhook-Id")
		key, _, _ := strings.Cut(id, "-")
		if tries%3 == 0 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		if !slices.Contains(first[key], id) {
			first[key] = append(first[key], id)
			if arrived++; arrived == keys*each {
				close(done)
			}
		}
		if tries%7 == 0 { // it arrived, and nobody is told
			if conn, _, err := w.(http.Hijacker).Hijack(); err == nil {
				conn.Close()
			}
		}
	})

	db, err := memory.Open(t.Context(), uow.Config{})
	if err != nil {
		t.Fatal(err)
	}
	log, err := outbox.Of(db)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string][]string{}
	for n := range each {
		err := db.Do(t.Context(), func(_ context.Context, u *uow.Unit) error {
			for k := range keys {
				key := fmt.Sprint("k", k)
				id := fmt.Sprint(key, "-", n)
				want[key] = append(want[key], id)
				if err := outbox.Append(u, outbox.Message{ID: id, Key: key, Type: "T"}); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}

	relaying, err := relay.New(relay.Config{
		Log:       log,
		Publisher: newPublisher(t, webhook.Config{URL: r.URL}),
		BatchSize: 7,
		Backoff:   relay.Backoff{Min: time.Millisecond, Max: 10 * time.Millisecond},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- relaying.Run(ctx) }()
	<-done
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("Run returned %v", err)
	}
	mu.Lock()
	defer mu.Unlock()
	for key := range want {
		if !slices.Equal(first[key], want[key]) {
			t.Errorf("%s: first deliveries came as %v, want %v", key, first[key], want[key])
		}
	}
}
