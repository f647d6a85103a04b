package nats

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	client "github.com/nats-io/nats.go"
	"github.com/nats-io/nuid"

	"github.com/uow-go/uow/outbox"
	"github.com/uow-go/uow/relay"
)

// What the server takes in one batch at most, and what one batch may have in memory.
const (
	maxBatch      = 1000
	maxBatchBytes = 8 << 20
)

// Headers of an atomic batch (ADR-50 of the server). Each message has the batch's id
// and its place from 1 on; the last one commits.
const (
	headerBatchID       = "Nats-Batch-Id"
	headerBatchSequence = "Nats-Batch-Sequence"
	headerBatchCommit   = "Nats-Batch-Commit"
)

// atomicCall is one call of Publish by atomic batches.
type atomicCall struct {
	p       *Publisher
	ctx     context.Context
	batch   []outbox.Message
	results []relay.Result
	stopped map[string]bool // keys
	// rest, when it is set, is the result of whatever is not published yet.
	rest *relay.Result

	places  []int // of what is collected for the next batch
	encoded []*client.Msg
	bytes   int
}

func (p *Publisher) publishAtomically(ctx context.Context, batch []outbox.Message) []relay.Result {
	c := &atomicCall{p: p, ctx: ctx, batch: batch, results: make([]relay.Result, len(batch)), stopped: map[string]bool{}}
	for i := range batch {
		m := &batch[i]
		var e envelope
		err := p.encode(&e, m)
		switch size := len(m.Payload); {
		case c.isStopped(m):
			c.results[i] = relay.Result{Outcome: relay.NotTried}
		case err != nil:
			c.set(i, relay.Result{Outcome: relay.Refused, Err: err})
		case int64(e.msg.Size()) > p.conn.MaxPayload() && p.conn.IsConnected():
			c.set(i, p.failed(ctx, e.msg.Subject, m, client.ErrMaxPayload))
		default:
			if len(c.places) == maxBatch || c.bytes+size > maxBatchBytes {
				c.flush()
			}
			c.places, c.encoded, c.bytes = append(c.places, i), append(c.encoded, &e.msg), c.bytes+size
		}
	}
	c.flush()
	return c.results
}

func (c *atomicCall) isStopped(m *outbox.Message) bool { return m.Key != "" && c.stopped[m.Key] }

func (c *atomicCall) set(i int, r relay.Result) {
	c.results[i] = r
	if !r.Outcome.Delivered() {
		c.stopped[c.batch[i].Key] = true
	}
}

// flush publishes what is collected.
func (c *atomicCall) flush() {
	places, encoded := c.places, c.encoded
	c.places, c.encoded, c.bytes = nil, nil, 0
	if len(places) == 0 {
		return
	}
	if c.rest == nil && c.ctx.Err() != nil {
		c.rest = &relay.Result{Outcome: relay.NotTried, Err: fmt.Errorf("nats: %w", c.ctx.Err())}
	}
	if c.rest != nil {
		c.all(places, *c.rest)
		return
	}
	ack, err := c.exchange(encoded)
	switch {
	case err != nil:
		c.failed(places, encoded[0], err)
	case ack.Error == nil && ack.BatchSize == len(places):
		c.p.reached(ack.Sequence)
		c.all(places, relay.Result{Outcome: relay.Stored})
	case ack.Error == nil:
		c.p.lostTrack()
		c.all(places, relay.Result{Outcome: relay.Unknown, Err: fmt.Errorf("nats: stream %s acknowledged %d messages of %d", c.p.cfg.Stream, ack.BatchSize, len(places))})
	default: // none of it is stored
		c.oneByOne(places)
	}
}

func (c *atomicCall) exchange(encoded []*client.Msg) (pubAck, error) {
	id := nuid.Next()
	for i, m := range encoded {
		m.Header[headerBatchID] = []string{id}
		m.Header[headerBatchSequence] = []string{strconv.Itoa(i + 1)}
	}
	encoded[len(encoded)-1].Header[headerBatchCommit] = []string{"1"}
	if c.p.cfg.Fence {
		encoded[0].Header[headerExpectedLast] = []string{strconv.FormatUint(c.p.fence.last, 10)}
	}
	answer, err := c.p.exchange(c.ctx, encoded)
	if err != nil {
		return pubAck{}, err
	}
	return c.p.answered(answer)
}

// failed says what becomes of a batch that was not answered.
func (c *atomicCall) failed(places []int, first *client.Msg, err error) {
	if errors.Is(err, client.ErrNoResponders) || errors.Is(err, client.ErrMaxPayload) || errors.Is(err, client.ErrBadSubject) {
		// The commit did not arrive, so none of the others counts. Which of them is
		// at fault is seen one by one.
		c.oneByOne(places)
		return
	}
	r := c.p.failed(c.ctx, first.Subject, &c.batch[places[0]], err)
	c.all(places, r)
	switch r.Outcome {
	case relay.Unavailable:
		c.rest = &r
	case relay.Unknown:
		c.p.lostTrack()
		c.rest = &relay.Result{Outcome: relay.NotTried, Err: r.Err}
	}
}

func (c *atomicCall) all(places []int, r relay.Result) {
	for _, i := range places {
		c.set(i, r)
	}
}

// oneByOne publishes what the server refused as a batch.
func (c *atomicCall) oneByOne(places []int) {
	batch := make([]outbox.Message, len(places))
	for at, i := range places {
		batch[at] = c.batch[i]
	}
	publish := c.p.publishSingly
	if c.p.cfg.Fence {
		publish = c.p.publishInLine
	}
	for at, r := range publish(c.ctx, batch) {
		c.set(places[at], r)
		if r.Outcome == relay.Unavailable && c.rest == nil {
			c.rest = &r
		}
	}
}
