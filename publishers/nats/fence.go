package nats

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	client "github.com/nats-io/nats.go"

	"github.com/uow-go/uow/outbox"
	"github.com/uow-go/uow/relay"
)

// headerExpectedLast has the stream refuse a message unless the one before it has this
// sequence.
const headerExpectedLast = "Nats-Expected-Last-Sequence"

// Codes of the server's answers to a message that is not the next.
const (
	errWrongLast         = 10071
	errWrongLastConstant = 10164
)

// ErrFenced is what errors.Is finds in the results of a publisher with Config.Fence when
// somebody else has written to the stream since it last did.
var ErrFenced = errors.New("nats: somebody else has written to the stream")

// fence is what a publisher knows of the end of the stream. What it learns about it in a
// call of Publish counts only from the next call on: in between the relay makes sure that
// it still has its lease, so that whoever has taken that over writes later.
type fence struct {
	turn  chan struct{} // full during a call
	last  uint64
	known bool
}

// publishFenced publishes in the order of the batch, each message behind the one before.
func (p *Publisher) publishFenced(ctx context.Context, batch []outbox.Message) []relay.Result {
	select {
	case p.fence.turn <- struct{}{}:
		defer func() { <-p.fence.turn }()
	case <-ctx.Done():
		return same(len(batch), relay.Result{Outcome: relay.NotTried, Err: named(ctx.Err())})
	}
	if !p.fence.known {
		return same(len(batch), p.learn(ctx))
	}
	if p.atomic && len(batch) > 1 {
		return p.publishAtomically(ctx, batch)
	}
	return p.publishInLine(ctx, batch)
}

// reached notes the end of the stream, where there is a fence.
func (p *Publisher) reached(last uint64) {
	if p.cfg.Fence {
		p.fence.last = last
	}
}

// lostTrack notes that nobody knows any more what was stored.
func (p *Publisher) lostTrack() {
	if p.cfg.Fence {
		p.fence.known = false
	}
}

func same(n int, r relay.Result) []relay.Result {
	all := make([]relay.Result, n)
	for i := range all {
		all[i] = r
	}
	return all
}

// learn asks for the end of the stream, for the next call.
func (p *Publisher) learn(ctx context.Context) relay.Result {
	if ctx.Err() != nil {
		return relay.Result{Outcome: relay.NotTried, Err: named(ctx.Err())}
	}
	ctx, cancel := context.WithTimeout(ctx, p.cfg.Timeout)
	defer cancel()
	stream, err := p.js.Stream(ctx, p.cfg.Stream)
	if err != nil {
		return relay.Result{Outcome: relay.Unavailable, Err: fmt.Errorf("nats: stream %s: %w", p.cfg.Stream, err)}
	}
	p.fence.last, p.fence.known = stream.CachedInfo().State.LastSeq, true
	return relay.Result{Outcome: relay.Unavailable, Err: errors.New("nats: the end of the stream had to be found out; the next attempt goes on behind it")}
}

// line is a call of Publish whose messages go one behind the other.
type line struct {
	*pipeline
	fence   *fence
	stopped map[string]bool // keys
	answers map[int]answer
}

func (p *Publisher) publishInLine(ctx context.Context, batch []outbox.Message) []relay.Result {
	c, cancel := p.newPipeline(ctx, batch)
	defer cancel()
	c.expected = make([]uint64, len(batch))
	if !p.join(c) {
		return same(len(batch), relay.Result{Outcome: relay.Unavailable, Err: named(client.ErrConnectionClosed)})
	}
	defer p.leave(c)
	l := &line{pipeline: c, fence: &p.fence, stopped: map[string]bool{}, answers: map[int]answer{}}
	pending := make([]int32, len(batch))
	for i := range pending {
		pending[i] = int32(i)
	}
	for len(pending) > 0 {
		if l.mayBegin(); l.rest != nil {
			break
		}
		n := min(len(pending), p.cfg.Concurrency)
		window := pending[:n]
		l.send(window)
		again := l.judge(window)
		pending = append(again, pending[n:]...)
		pending = l.withoutStopped(pending)
	}
	for _, place := range pending {
		l.results[place] = *l.rest
	}
	return l.results
}

// withoutStopped leaves out, as not tried, what is behind a message of its key that was
// not stored.
func (l *line) withoutStopped(pending []int32) []int32 {
	kept := pending[:0]
	for _, place := range pending {
		if l.stopped[l.batch[place].Key] && l.rest == nil {
			l.results[place] = relay.Result{Outcome: relay.NotTried}
			continue
		}
		kept = append(kept, place)
	}
	return kept
}

// send sends messages, and waits until each has its answer or nobody will bring it.
func (l *line) send(window []int32) {
	for i, place := range window {
		l.expected[place] = l.fence.last + uint64(i)
		l.sent[place] = true
	}
	clear(l.answers)
	l.hand(append([]int32(nil), window...))
	for len(l.answers) < len(window) {
		select {
		case <-l.mail.signal:
			l.take()
			continue
		case <-l.link.Done():
			l.rest = &relay.Result{Outcome: relay.Unavailable, Err: named(errNotConnected)}
		case <-l.ctx.Done():
			l.rest = &relay.Result{Outcome: relay.NotTried, Err: named(l.ctx.Err())}
		}
		l.over.Store(true)
		l.take() // what came just before
		return
	}
}

// take takes the answers that are there.
func (l *line) take() {
	for _, a := range l.mail.take(nil) {
		if l.sent[a.place] {
			l.sent[a.place] = false
			l.answers[a.place] = a
		}
	}
}

// judge gives messages their results, and returns those that were refused only because
// one before them was not stored, or was there already: they are to be sent again.
func (l *line) judge(window []int32) (again []int32) {
	stored := l.storedUpTo(window)
	broken := false
	for i, place := range window {
		if i <= stored { // also where its own answer was lost
			l.results[place] = relay.Result{Outcome: relay.Stored}
			continue
		}
		r, behind := l.outcome(int(place))
		switch {
		case behind && broken:
			again = append(again, place)
			continue
		case behind:
			l.fence.known = false
			r = relay.Result{Outcome: relay.Unavailable, Err: fmt.Errorf("%w: %w", ErrFenced, r.Err)}
			l.rest = &r
		case r.Outcome == relay.Unknown:
			l.fence.known = false
			if l.rest == nil {
				l.rest = &relay.Result{Outcome: relay.NotTried, Err: r.Err}
			}
		case r.Outcome == relay.Unavailable && l.rest == nil:
			l.rest = &r
		}
		broken = true
		l.results[place] = r
		if key := l.batch[place].Key; key != "" && !r.Outcome.Delivered() {
			l.stopped[key] = true
		}
	}
	if stored >= 0 {
		l.fence.last += uint64(stored + 1)
	}
	return again
}

// storedUpTo returns the last of the messages that was stored behind all before it; -1
// for none.
func (l *line) storedUpTo(window []int32) int {
	for i := len(window) - 1; i >= 0; i-- {
		a, ok := l.answers[int(window[i])]
		if !ok || a.msg == nil {
			continue
		}
		if ack, err := l.p.answered(a.msg); err == nil && ack.Error == nil && !ack.Duplicate && ack.Sequence == l.fence.last+uint64(i)+1 {
			return i
		}
	}
	return -1
}

// outcome says what became of a message; behind, that it was refused for its place.
func (l *line) outcome(place int) (r relay.Result, behind bool) {
	a, ok := l.answers[place]
	switch {
	case !ok && l.ctx.Err() != nil:
		a = answer{place: place, err: l.ctx.Err()}
	case !ok:
		a = answer{place: place, err: errBroken}
	}
	if a.msg != nil {
		ack, err := l.p.answered(a.msg)
		behind = err == nil && isWrongLast(ack.Error)
	}
	return l.meaning(a), behind
}

func isWrongLast(e *apiError) bool {
	return e != nil && (e.ErrCode == errWrongLast || e.ErrCode == errWrongLastConstant)
}

// expect has the server refuse a message unless it is the next.
func (e *envelope) expect(last uint64) {
	e.set(headerExpectedLast, strconv.FormatUint(last, 10))
}
