package webhook

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"

	"github.com/uow-go/uow/outbox"
	"github.com/uow-go/uow/relay"
)

// batchType is the media type of the batched mode in JSON.
const batchType = "application/cloudevents-batch+json; charset=utf-8"

const (
	maxBatchSize = 10_000
	// maxBatchBytes bounds a request of several messages.
	maxBatchBytes = 1 << 20
)

// batches publishes one batch of the relay by requests of several messages each, one
// after the other.
type batches struct {
	*Publisher
	batch   []outbox.Message
	results []relay.Result
	events  [][]byte        // of each message
	stopped map[string]bool // keys
	ended   bool            // nothing is begun any more
}

// publishBatches publishes in Batch mode.
func (p *Publisher) publishBatches(ctx context.Context, batch []outbox.Message) []relay.Result {
	b := &batches{Publisher: p, batch: batch, results: make([]relay.Result, len(batch)),
		events: make([][]byte, len(batch)), stopped: map[string]bool{}}
	for i := range b.results {
		b.results[i].Outcome = relay.NotTried
	}
	begin, cancel := relay.FirstHalf(ctx)
	defer cancel()
	for next := 0; next < len(batch) && !b.ended && begin.Err() == nil; {
		var request []int
		if request, next = b.take(next); len(request) > 0 {
			b.send(ctx, begin, request)
		}
	}
	return b.results
}

// take returns the messages of the next request, and where those after it begin. Messages
// that can't be encoded are refused.
func (b *batches) take(next int) (request []int, after int) {
	size := 0
	for ; next < len(b.batch) && len(request) < b.cfg.BatchSize; next++ {
		m := &b.batch[next]
		if b.stopped[m.Key] {
			continue
		}
		event, err := encodeCloudEvent(b.cfg.Source, *m)
		if err != nil {
			b.stop(next, cannotEncode(err).Result)
			continue
		}
		if size += len(event); size > maxBatchBytes && len(request) > 0 {
			break
		}
		b.events[next] = event
		request = append(request, next)
	}
	return request, next
}

// stop gives a message a result that is no success, and stops its key.
func (b *batches) stop(i int, r relay.Result) {
	b.results[i] = r
	if key := b.batch[i].Key; key != "" {
		b.stopped[key] = true
	}
}

// send posts messages at once. When the receiver answers that it does not want them, they
// are sent one by one, so that one of them does not cost the others an attempt.
func (b *batches) send(ctx, begin context.Context, request []int) {
	events, ids := make([][]byte, len(request)), make([]string, len(request))
	for i, at := range request {
		events[i], ids[i] = b.events[at], b.batch[at].ID
	}
	a := b.post(ctx, Request{ID: batchID(ids), ContentType: batchType, Body: joinEvents(events)}, ids...)
	switch {
	case a.Result.Outcome.Delivered():
		for _, at := range request {
			b.results[at] = a.Result
		}
	case len(request) > 1 && a.Status != 0 && !a.endpoint():
		for _, at := range request {
			if !b.ended && begin.Err() == nil && !b.stopped[b.batch[at].Key] {
				b.send(ctx, begin, []int{at})
			}
		}
	default:
		b.fail(request, a)
	}
}

// fail gives messages the result of a request that was not accepted. Of each key only the
// first counts, unless they may have arrived.
func (b *batches) fail(request []int, a Attempt) {
	b.ended = b.ended || a.endpoint()
	for _, at := range request {
		if b.stopped[b.batch[at].Key] && a.Result.Outcome != relay.Unknown && a.Result.Outcome != relay.Unavailable {
			continue
		}
		b.stop(at, a.Result)
	}
}

// batchID returns the same for the same messages, and of one its own.
func batchID(ids []string) string {
	if len(ids) == 1 {
		return requestID(ids[0])
	}
	sum := sha256.New()
	for _, id := range ids {
		fmt.Fprintf(sum, "%q", id)
	}
	return "batch_" + hex.EncodeToString(sum.Sum(nil)[:16])
}

// joinEvents makes an array of events.
func joinEvents(events [][]byte) []byte {
	return append(append([]byte("["), bytes.Join(events, []byte(","))...), ']')
}

// endpoint reports whether an attempt failed in a way that is the receiver's as a whole,
// and not the message's.
func (a *Attempt) endpoint() bool {
	switch {
	case a.Result.Outcome.Delivered() || a.Result.Outcome == relay.Refused || a.Result.Outcome == relay.NotTried:
		return false
	case a.Status == 0: // no answer
		return true
	}
	return a.Status >= 500 || a.Status == http.StatusTooManyRequests
}
