package postgres

import (
	"context"
	"time"

	"github.com/uow-go/uow/outbox"
)

// gaps is what is known of the positions that are missing in the log. A missing
// position belongs to a transaction that is still open, or to one that was rolled
// back, or to a message that was trimmed.
//
// A position is given while its transaction holds a lock on the table, and the lock
// is released after the transaction's rows have become visible. So when a row at u
// has been read, every missing position below u was given before, by a transaction
// that still holds its lock, or has ended. Those that hold one then are remembered;
// when all of them are gone, what can still not be read below u will never be.
// Positions that are given later are above u, and do not matter.
type gaps struct {
	// turn is held by one scan, or watcher, at a time.
	turn chan struct{}
	// proven: what is missing at or before it is gone for good.
	proven int64
	// upTo and holders are the question that is open: who may still write below.
	upTo    int64
	holders map[string]bool
	// watched says that somebody waits for the holders in the background.
	watched bool
}

// scanned is a row of the log. Those whose topic is not asked for have no message.
type scanned struct {
	position int64
	wanted   bool
	message  outbox.Message
}

// Scan implements outbox.Log. It returns no message before everything that comes
// earlier can be read, or never will be: it waits a little for transactions that may
// still write before what it has found, and calls those who subscribed when it is
// over later. Transactions that do not write to the outbox are never waited for.
func (s *Store) Scan(ctx context.Context, query outbox.Query) (messages []outbox.Message, next int64, err error) {
	after, limit := query.After, query.Limit
	if limit <= 0 {
		return nil, after, ctx.Err()
	}
	for {
		// What is proven of a position counts only for what is read afterwards:
		// another scan may prove that nobody will write below it any more just after
		// the last one has, unseen by a read that began before.
		proven, err := s.gaps.read(ctx)
		if err != nil {
			return nil, after, err
		}
		rows, err := s.readLog(ctx, query)
		if err != nil || len(rows) == 0 {
			return nil, after, err
		}
		safe, err := s.prefix(ctx, max(after, proven), after <= proven, rows)
		if err != nil {
			return nil, after, err
		}
		if safe > 0 {
			messages, next := taken(rows[:safe], limit)
			return messages, next, nil
		}
		closed, err := s.closeGap(ctx, rows[len(rows)-1].position)
		if err != nil || !closed {
			return nil, after, err
		}
	}
}

// taken returns the wanted messages, and how far the log was looked at.
func taken(rows []scanned, limit int) (messages []outbox.Message, next int64) {
	for i := range rows {
		if next = rows[i].position; !rows[i].wanted {
			continue
		}
		if messages = append(messages, rows[i].message); len(messages) == limit {
			break
		}
	}
	return messages, next
}

// readLog reads what can be seen after a position, with one snapshot.
func (s *Store) readLog(ctx context.Context, wanted outbox.Query) (rows []scanned, err error) {
	query := s.scanQuery(wanted)
	query.row = func(row [][]byte) (err error) {
		r := scanned{position: number(row[0]), wanted: truth(row[1])}
		if r.wanted {
			r.message, err = decodeMessage(r.position, row[2:])
		}
		rows = append(rows, r)
		return err
	}
	return rows, s.do(ctx, "scan", query)
}

// prefix returns how many of the rows have nothing missing between them and last.
// whole says that nothing is missing before last either.
func (s *Store) prefix(ctx context.Context, last int64, whole bool, rows []scanned) (n int, err error) {
	if err := s.gaps.take(ctx); err != nil {
		return 0, err
	}
	defer s.gaps.leave()
	for _, r := range rows {
		if r.position > last+1 {
			break
		}
		last = max(last, r.position)
		n++
	}
	if whole {
		s.gaps.proven = max(s.gaps.proven, last)
	}
	return n, nil
}

// patience is how often a scan looks whether a gap has closed before it leaves that
// to the background.
const patience = 6

// closeGap waits until nothing can be written below a position that has been read.
// It returns false when that takes longer.
func (s *Store) closeGap(ctx context.Context, upTo int64) (closed bool, err error) {
	if err := s.gaps.take(ctx); err != nil {
		return false, err
	}
	defer s.gaps.leave()
	for try := range patience {
		if closed, err := s.askHolders(ctx, upTo); closed || err != nil {
			return closed, err
		}
		if err := pause(ctx, time.Duration(5+2*try)*time.Millisecond); err != nil {
			return false, err
		}
	}
	s.gaps.watch(s)
	return false, nil
}

// askHolders asks who of the transactions in question are still open. The turn is
// taken.
func (s *Store) askHolders(ctx context.Context, upTo int64) (closed bool, err error) {
	if s.gaps.proven >= upTo {
		return true, nil
	}
	now := map[string]bool{}
	locks := plain(s.sql.locks)
	locks.row = func(row [][]byte) error { now[string(row[0])] = true; return nil }
	if err := s.do(ctx, "ask for locks", locks); err != nil {
		return false, err
	}
	if s.gaps.upTo < upTo {
		s.gaps.upTo, s.gaps.holders = upTo, now
	}
	for holder := range s.gaps.holders {
		if !now[holder] {
			delete(s.gaps.holders, holder)
		}
	}
	if len(s.gaps.holders) > 0 {
		return false, nil
	}
	s.gaps.proven = max(s.gaps.proven, s.gaps.upTo)
	return true, nil
}

func (g *gaps) take(ctx context.Context) error {
	select {
	case g.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// read returns what is proven.
func (g *gaps) read(ctx context.Context) (proven int64, err error) {
	if err := g.take(ctx); err != nil {
		return 0, err
	}
	defer g.leave()
	return g.proven, nil
}

func (g *gaps) leave() { <-g.turn }

// watch waits for the gap in the background, and then wakes those who subscribed:
// the end of a transaction that is rolled back wakes nobody. The turn is taken.
func (g *gaps) watch(s *Store) {
	if g.watched || s.closed.Load() {
		return
	}
	g.watched = true
	s.work.Go(func() {
		ctx := s.wakes.ctx
		for delay := 20 * time.Millisecond; pause(ctx, delay) == nil; delay = min(2*delay, 500*time.Millisecond) {
			if g.take(ctx) != nil {
				return
			}
			closed, err := s.askHolders(ctx, g.upTo)
			if closed {
				g.watched = false
			}
			g.leave()
			if closed && err == nil {
				s.wakes.local.Wake()
				return
			}
		}
	})
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
