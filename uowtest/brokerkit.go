package uowtest

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"time"

	"github.com/uow-go/uow/outbox"
)

// brokerKit is what checks of publishers and of consumers have in common: messages whose
// ids tell what they are, and patience with a broker.
type brokerKit struct {
	words
	address  string // where the broker listens
	run      string // begins all ids
	patience time.Duration
	payload  func() []byte // of each message
}

func newBrokerKit(w words, address string, patience time.Duration, payload func() []byte) brokerKit {
	return brokerKit{words: w, address: address, run: rand.Text()[:8], patience: cmp.Or(patience, time.Minute), payload: payload}
}

// message makes one whose id tells its key and its number.
func (k *brokerKit) message(key string, n int) outbox.Message {
	return outbox.Message{
		ID: fmt.Sprintf("%s-%s-%d", k.run, key, n), Topic: "accounts", Key: key, Type: "Deposited",
		Payload: k.payload(), CreatedAt: time.Date(2026, 1, 2, 3, 4, 5, 678901000, time.UTC),
	}
}

// messages makes n of each key, their numbers beginning with first, by turns.
func (k *brokerKit) messages(first, n int, keys ...string) (batch []outbox.Message) {
	for i := range n {
		for _, key := range keys {
			batch = append(batch, k.message(key, first+i))
		}
	}
	return batch
}

// idsByKey returns the ids of each key, those that come again left out.
func idsByKey(all []outbox.Message) map[string][]string {
	ids, seen := map[string][]string{}, map[string]bool{}
	for _, m := range all {
		if !seen[m.ID] {
			seen[m.ID] = true
			ids[m.Key] = append(ids[m.Key], m.ID)
		}
	}
	return ids
}

// link returns a link to the broker.
func (k *brokerKit) link() *link {
	k.Helper()
	l, err := newLink(k.address)
	k.must("open a link", err)
	k.Cleanup(l.close)
	return l
}

// asking returns a context for a question to the broker, which may come after the end.
func (k *brokerKit) asking() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(k.Context()), time.Minute)
}

// eventually waits for what needs time, and says whether it came.
func (k *brokerKit) eventually(done func() bool) bool {
	for began := time.Now(); !done(); {
		if time.Since(began) > k.patience {
			return false
		}
		<-time.After(2 * time.Millisecond)
	}
	return true
}

// await waits for what a channel brings, and ends the check where that takes too long.
func await[T any](k *brokerKit, patience time.Duration, what string, c <-chan T) (v T) {
	k.Helper()
	select {
	case v = <-c:
	case <-time.After(patience):
		k.broken("%s; it did not", what)
		k.FailNow()
	}
	return v
}
