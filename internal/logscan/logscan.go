// Package logscan reads a log whose positions are given before their rows can be seen:
// what comes earlier may appear later. It is the part of outbox.Log.Scan that stores
// of servers share; they say how rows are read, and who may still write.
//
// A missing position belongs to a transaction that is still open, or to one that was
// rolled back, or to a message that was trimmed. A store sees to it that
//
//   - positions are given in growing order, each while its transaction holds a claim;
//   - a claim is given up after the transaction's rows have become visible.
//
// So when a row at u has been read, every missing position below u was given before,
// by a transaction that still has its claim, or has ended. The claims that exist then
// are remembered; when all of them were given up, what can still not be read below u
// will never be. Positions that are given later are above u, and do not matter.
//
// relay/model/scan.pml is a model of this, in which spin checks NothingSkipped (what a
// scan has passed, it has received, or never appears) and Delivered (what is committed is
// received in the end, and what was rolled back holds up nobody).
package logscan

import (
	"context"
	"time"

	"github.com/uow-go/uow/internal/pause"
	"github.com/uow-go/uow/outbox"
)

// Source is a store's log. All fields are required.
type Source[C comparable] struct {
	// Read returns what can be seen of a query, in one snapshot and in order: as many
	// wanted messages as its limit at most, and as many other rows between them as it
	// likes.
	Read func(ctx context.Context, query outbox.Query) ([]Row, error)
	// Claims returns which claims are held now: all of them where asked is nil, and
	// else those of asked that have not been given up since it was returned.
	Claims func(ctx context.Context, asked map[C]bool) (map[C]bool, error)
	// First is how long a scan waits before it asks again for the first time.
	First time.Duration
	// Background runs fn beside the scans; it returns false when the store is closed.
	// The context of fn ends with the store.
	Background func(fn func(ctx context.Context)) bool
	// Wake is called when something can be read that a scan has given up waiting for.
	Wake func()
}

// Row is a row of the log. Those that are not asked for have no message.
type Row struct {
	Position int64
	Wanted   bool
	Message  outbox.Message
}

// Scanner scans a log. It may be used from many goroutines.
type Scanner[C comparable] struct {
	source Source[C]
	// turn is held by one scan, or watcher, at a time.
	turn chan struct{}
	// proven: what is missing at or before it is gone for good.
	proven int64
	// upTo and claims are the question that is open: who may still write below.
	upTo   int64
	claims map[C]bool
	// watched says that somebody waits in the background until what is below awaited can
	// be read.
	watched bool
	awaited int64
}

// New returns a scanner of a log of which nothing is known.
func New[C comparable](source Source[C]) *Scanner[C] {
	return &Scanner[C]{source: source, turn: make(chan struct{}, 1)}
}

// Scan is outbox.Log's. It returns no message before everything that comes earlier
// can be read, or never will be: it waits a little for those who may still write
// before what it has found, and calls Wake when that is over later. Those who have
// no claim are never waited for.
func (s *Scanner[C]) Scan(ctx context.Context, query outbox.Query) (messages []outbox.Message, next int64, err error) {
	after, limit := query.After, query.Limit
	if limit <= 0 {
		return nil, after, ctx.Err()
	}
	for {
		// What is proven of a position counts only for what is read afterwards:
		// another scan may prove that nobody will write below it any more just after
		// the last one has, unseen by a read that began before.
		proven, err := s.Proven(ctx)
		if err != nil {
			return nil, after, err
		}
		rows, err := s.source.Read(ctx, query)
		if err != nil || len(rows) == 0 {
			return nil, after, err
		}
		safe, err := s.Prefix(ctx, max(after, proven), after <= proven, rows)
		if err != nil {
			return nil, after, err
		}
		last := rows[len(rows)-1].Position
		if safe > 0 {
			if safe < len(rows) {
				if err := s.announce(ctx, last); err != nil {
					return nil, after, err
				}
			}
			messages, next := wanted(rows[:safe], limit)
			return messages, next, nil
		}
		closed, err := s.closeGap(ctx, last)
		if err != nil || !closed {
			return nil, after, err
		}
	}
}

// wanted returns the wanted messages, and how far the log was looked at.
func wanted(rows []Row, limit int) (messages []outbox.Message, next int64) {
	n := 0
	for i := range rows {
		if rows[i].Wanted {
			n++
		}
	}
	messages = make([]outbox.Message, 0, min(n, limit))
	for i := range rows {
		if next = rows[i].Position; !rows[i].Wanted {
			continue
		}
		if messages = append(messages, rows[i].Message); len(messages) == limit {
			break
		}
	}
	return messages, next
}

// Proven returns the position below which nothing that is missing will appear.
func (s *Scanner[C]) Proven(ctx context.Context) (int64, error) {
	if err := s.take(ctx); err != nil {
		return 0, err
	}
	defer s.leave()
	return s.proven, nil
}

// Prefix returns how many of the rows have nothing missing between them and last.
// whole says that nothing is missing before last either.
func (s *Scanner[C]) Prefix(ctx context.Context, last int64, whole bool, rows []Row) (n int, err error) {
	if err := s.take(ctx); err != nil {
		return 0, err
	}
	defer s.leave()
	for _, r := range rows {
		if r.Position > last+1 {
			break
		}
		last = max(last, r.Position)
		n++
	}
	if whole {
		s.proven = max(s.proven, last)
	}
	return n, nil
}

// Quiet waits until no scan has its turn, of a store that is being closed: those that
// come later find it closed.
func (s *Scanner[C]) Quiet() {
	s.turn <- struct{}{}
	s.leave()
}

// patience is how often a scan looks whether a gap has closed before it leaves that
// to the background.
const patience = 6

// closeGap waits until nothing can be written below a position that has been read.
// It returns false when that takes longer.
func (s *Scanner[C]) closeGap(ctx context.Context, upTo int64) (closed bool, err error) {
	if err := s.take(ctx); err != nil {
		return false, err
	}
	defer s.leave()
	for try := range patience {
		if closed, err := s.ask(ctx, upTo); closed || err != nil {
			return closed, err
		}
		if err := pause.For(ctx, s.source.First+time.Duration(2*try)*time.Millisecond); err != nil {
			return false, err
		}
	}
	s.watch(upTo)
	return false, nil
}

// announce lets the background tell when what is below a position can be read: a scan
// that has found something leaves the rest to the next one, which somebody must call.
func (s *Scanner[C]) announce(ctx context.Context, upTo int64) error {
	if err := s.take(ctx); err != nil {
		return err
	}
	defer s.leave()
	s.watch(upTo)
	return nil
}

// ask asks which of the claims in question are still held. The turn is taken.
func (s *Scanner[C]) ask(ctx context.Context, upTo int64) (closed bool, err error) {
	if s.proven >= upTo {
		return true, nil
	}
	var asked map[C]bool
	if s.upTo >= upTo {
		asked = s.claims
	}
	held, err := s.source.Claims(ctx, asked)
	if err != nil {
		return false, err
	}
	s.upTo, s.claims = max(s.upTo, upTo), held
	if s.claims == nil {
		s.claims = map[C]bool{} // nil asks for all
	}
	if len(held) > 0 {
		return false, nil
	}
	s.proven = max(s.proven, s.upTo)
	return true, nil
}

// watch waits for the gap in the background, and then wakes those who subscribed: the
// end of a transaction that is rolled back wakes nobody. The turn is taken.
func (s *Scanner[C]) watch(upTo int64) {
	s.awaited = max(s.awaited, upTo)
	if s.watched {
		return
	}
	s.watched = s.source.Background(func(ctx context.Context) {
		for delay := 20 * time.Millisecond; pause.For(ctx, delay) == nil; delay = min(2*delay, 500*time.Millisecond) {
			if s.take(ctx) != nil {
				return
			}
			closed, err := s.ask(ctx, s.awaited)
			if closed {
				s.watched = false
			}
			s.leave()
			if closed && err == nil {
				s.source.Wake()
				return
			}
		}
	})
}

func (s *Scanner[C]) take(ctx context.Context) error {
	select {
	case s.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (s *Scanner[C]) leave() { <-s.turn }
