package nats

import (
	"bytes"
	"context"
	"fmt"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	client "github.com/nats-io/nats.go"

	"github.com/uow-go/uow/outbox"
	"github.com/uow-go/uow/relay"
)

// pipeline is one call of Publish message by message: those of a key one after the
// other, up to Config.Concurrency keys at once. It belongs to the goroutine of the
// call; beside it one goroutine encodes and writes, which may hang in a write, and the
// client's brings the answers.
type pipeline struct {
	p       *Publisher
	ctx     context.Context
	link    context.Context
	batch   []outbox.Message
	results []relay.Result

	// begin ends when no message is begun any more.
	begin context.Context
	// ready are the places of messages that may be begun, and next is the place of the
	// message behind one in its key; 0: none.
	ready, next []int32
	sent        []bool // those under way, by their places
	underway    int
	// rest, when it is set, is the result of what is not begun yet.
	rest *relay.Result

	// expected is the stream's last sequence before each message, where there is a fence.
	expected []uint64

	// small says that the call writes by itself, which saves a wait for another goroutine.
	small bool

	id     string // of the call
	prefix string // of the reply subjects
	writes chan []int32
	over   atomic.Bool
	mail   mailbox
}

// mailbox is where answers are put, and errors of writing, until the call takes them.
type mailbox struct {
	mu     sync.Mutex
	all    []answer
	signal chan struct{} // has room for one
}

// answer is what became of the message in a place: an answer, an error of the client's
// with the subject that it was sent to, or a result where it was not even sent.
type answer struct {
	place   int
	msg     *client.Msg
	err     error
	subject string
	result  *relay.Result
}

func (b *mailbox) put(a answer) {
	b.mu.Lock()
	b.all = append(b.all, a)
	first := len(b.all) == 1
	b.mu.Unlock()
	if first {
		select {
		case b.signal <- struct{}{}:
		default:
		}
	}
}

// take exchanges what is there for an empty list.
func (b *mailbox) take(empty []answer) []answer {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := b.all
	b.all = empty[:0]
	return all
}

// publishSingly publishes message by message.
func (p *Publisher) publishSingly(ctx context.Context, batch []outbox.Message) []relay.Result {
	c, cancel := p.newPipeline(ctx, batch)
	defer cancel()
	c.order()
	if !p.join(c) {
		c.stop(relay.Result{Outcome: relay.Unavailable, Err: named(client.ErrConnectionClosed)})
		return c.results
	}
	defer p.leave(c)
	c.run()
	return c.results
}

func (p *Publisher) newPipeline(ctx context.Context, batch []outbox.Message) (*pipeline, context.CancelFunc) {
	begin, cancel := relay.FirstHalf(ctx)
	return &pipeline{
		p: p, ctx: ctx, begin: begin, batch: batch, results: make([]relay.Result, len(batch)), sent: make([]bool, len(batch)), small: isSmall(batch),
		writes: make(chan []int32, len(batch)), mail: mailbox{signal: make(chan struct{}, 1)},
	}, cancel
}

// order finds the messages that are the first of their keys, and what follows each.
func (c *pipeline) order() {
	c.next = make([]int32, len(c.batch))
	c.ready = make([]int32, 0, len(c.batch))
	newest := make(map[string]int32, len(c.batch))
	for i := range c.batch {
		key, place := c.batch[i].Key, int32(i)
		before, known := newest[key]
		if key != "" {
			newest[key] = place
		}
		if known && key != "" {
			c.next[before] = place
			continue
		}
		c.ready = append(c.ready, place)
	}
}

// join makes a call known to those who bring answers, and starts its writer.
func (p *Publisher) join(c *pipeline) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	p.calls++
	c.link, c.id = p.link, strconv.FormatUint(p.calls, 36)
	c.prefix = p.inbox + c.id + "."
	p.waiting[c.id] = c
	if !c.small {
		p.senders.Go(c.write)
	}
	return true
}

// leave ends a call: nothing more is written, and late answers are nobody's.
func (p *Publisher) leave(c *pipeline) {
	c.over.Store(true)
	close(c.writes)
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.waiting, c.id)
}

// receive is called by the client with each answer.
func (p *Publisher) receive(m *client.Msg) {
	id, place, _ := strings.Cut(m.Subject[len(p.inbox):], ".")
	at, err := strconv.Atoi(place)
	p.mu.Lock()
	c := p.waiting[id]
	p.mu.Unlock()
	if c != nil && err == nil && at >= 0 && at < len(c.batch) { // else nobody waits for it
		c.mail.put(answer{place: at, msg: m})
	}
}

// write writes what the call hands over. The client may hang in a write, until
// Config.Timeout, when the call has ended long since.
func (c *pipeline) write() {
	var e envelope // the client copies what it writes
	for places := range c.writes {
		for _, place := range places {
			if c.over.Load() {
				return
			}
			c.writeOne(&e, int(place))
		}
	}
}

func (c *pipeline) writeOne(e *envelope, place int) {
	if failed := c.encode(e, place); failed != nil {
		c.mail.put(answer{place: place, result: failed})
	} else if err := c.p.conn.PublishMsg(&e.msg); err != nil {
		c.mail.put(answer{place: place, err: err, subject: e.msg.Subject})
	}
}

// What a call may have at most to be small: it fits what the client collects before it writes.
const (
	fewMessages = 16
	fewBytes    = 8 << 10
)

func isSmall(batch []outbox.Message) bool {
	if len(batch) > fewMessages {
		return false
	}
	bytes := 0
	for i := range batch {
		bytes += len(batch[i].Payload)
	}
	return bytes <= fewBytes
}

// encode makes what is sent of a message. The subject is a function of the user's.
func (c *pipeline) encode(e *envelope, place int) (failed *relay.Result) {
	defer func() {
		if p := recover(); p != nil {
			failed = &relay.Result{Outcome: relay.Unknown, Err: &relay.PanicError{Value: p, Stack: debug.Stack()}}
		}
	}()
	if err := c.p.encode(e, &c.batch[place]); err != nil {
		return &relay.Result{Outcome: relay.Refused, Err: err}
	}
	if c.expected != nil {
		e.expect(c.expected[place])
	}
	e.msg.Reply = c.prefix + strconv.Itoa(place)
	return nil
}

// run publishes until all is known, or nobody can be told any more.
func (c *pipeline) run() {
	var answers []answer
	for {
		c.fill()
		if c.underway == 0 {
			return
		}
		select {
		case <-c.mail.signal:
			answers = c.mail.take(answers)
			for _, a := range answers {
				c.settle(a)
			}
			clear(answers)
		case <-c.link.Done():
			c.lost(errBroken)
			c.stop(relay.Result{Outcome: relay.Unavailable, Err: named(errNotConnected)})
			return
		case <-c.ctx.Done():
			c.lost(c.ctx.Err())
			c.stop(relay.Result{Outcome: relay.NotTried})
			return
		}
	}
}

// fill begins messages as long as there is room for more.
func (c *pipeline) fill() {
	if len(c.ready) > 0 {
		c.mayBegin()
	}
	var places []int32
	for len(c.ready) > 0 && c.underway < c.p.cfg.Concurrency {
		place := c.ready[0]
		c.ready = c.ready[1:]
		if c.rest != nil {
			c.result(int(place), *c.rest)
			continue
		}
		c.sent[place] = true
		c.underway++
		places = append(places, place)
	}
	if len(places) > 0 {
		c.hand(places)
	}
}

// hand has messages written.
func (c *pipeline) hand(places []int32) {
	if !c.small {
		c.writes <- places
		return
	}
	var e envelope
	for _, place := range places {
		c.writeOne(&e, int(place))
	}
}

// mayBegin sets rest when nothing may be begun any more.
func (c *pipeline) mayBegin() {
	switch {
	case c.rest != nil:
	case c.begin.Err() != nil:
		c.rest = &relay.Result{Outcome: relay.NotTried}
	case !c.p.conn.IsConnected():
		c.rest = &relay.Result{Outcome: relay.Unavailable, Err: named(errNotConnected)}
	}
}

// settle says what became of a message that was under way.
func (c *pipeline) settle(a answer) {
	if !c.sent[a.place] {
		return // it was answered before
	}
	c.sent[a.place] = false
	c.underway--
	c.result(a.place, c.meaning(a))
}

// meaning says what an answer means.
func (c *pipeline) meaning(a answer) relay.Result {
	m := &c.batch[a.place]
	switch {
	case a.result != nil:
		return *a.result
	case a.err != nil:
		if neverSent(a.err) {
			a.err = notSentError{a.err}
		}
		return c.p.failed(c.ctx, a.subject, m, a.err)
	case c.p.confirms(a.msg.Data):
		return relay.Result{Outcome: relay.Stored}
	case len(a.msg.Data) == 0 && a.msg.Header.Get("Status") == "503":
		return c.p.failed(c.ctx, c.p.cfg.Subject(*m), m, client.ErrNoResponders)
	}
	return c.p.classify(m, a.msg)
}

// result notes what became of a message, and lets its key go on.
func (c *pipeline) result(place int, r relay.Result) {
	c.results[place] = r
	if r.Outcome == relay.Unavailable && c.rest == nil {
		c.rest = &r
	}
	next := c.next[place]
	switch {
	case next == 0:
	case r.Outcome.Delivered() || r.Outcome == relay.Unavailable:
		c.ready = append(c.ready, next)
	default:
		for ; next > 0; next = c.next[next] {
			c.results[next] = relay.Result{Outcome: relay.NotTried}
			if c.rest != nil && c.rest.Outcome == relay.Unavailable {
				c.results[next] = *c.rest
			}
		}
	}
}

// lost gives up what is under way.
func (c *pipeline) lost(why error) {
	c.over.Store(true)
	for _, a := range c.mail.take(nil) { // what came just before
		c.settle(a)
	}
	for place, under := range c.sent {
		if under {
			c.settle(answer{place: place, err: why})
		}
	}
}

// stop gives all that is not begun the same result.
func (c *pipeline) stop(r relay.Result) {
	if c.rest == nil {
		c.rest = &r
	}
	for len(c.ready) > 0 {
		place := int(c.ready[0])
		c.ready = c.ready[1:]
		c.result(place, *c.rest)
	}
}

// confirms reports whether an answer is the stream's usual one, which is not worth
// decoding: {"stream":"EVENTS","seq":17}.
func (p *Publisher) confirms(answer []byte) bool {
	rest, usual := bytes.CutPrefix(answer, p.usual)
	rest, numbered := bytes.CutPrefix(bytes.TrimPrefix(rest, []byte(" ")), []byte(`"seq":`))
	if !usual || !numbered || len(rest) < 2 || rest[len(rest)-1] != '}' {
		return false
	}
	for _, digit := range rest[:len(rest)-1] {
		if digit < '0' || digit > '9' {
			return false
		}
	}
	return true
}

func usualAnswer(stream string) []byte { return fmt.Appendf(nil, `{"stream":%q,`, stream) }
