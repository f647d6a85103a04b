package mysql

import (
	"context"
	"time"

	sqldriver "database/sql/driver"

	"github.com/uow-go/uow/outbox"
)

// lanes is how many lanes there are.
const lanes = 256

// gaps is what is known of the positions that are missing in the log. A missing
// position belongs to a transaction that is still open, or to one that was rolled
// back, or to a message that was trimmed.
//
// A transaction that appends messages shares a lock on its connection's lane before
// any position is given to it, until it ends; and the server makes its rows visible
// before it releases its locks. Positions are given in growing order. So when a row
// at u has been read, every missing position below u was given before, to a
// transaction that is still in its lane, or has ended. Lanes that are taken then are
// remembered. Each of them that is later found free, be it for a moment, has lost
// those who were in it; and when all were, what can still not be read below u will
// never be. Positions that are given later are above u, and do not matter.
type gaps struct {
	// turn is held by one scan, or watcher, at a time.
	turn chan struct{}
	// proven: what is missing at or before it is gone for good.
	proven int64
	// upTo and taken are the question that is open: who may still write below.
	upTo  int64
	taken map[int64]bool
	// watched says that somebody waits for the lanes in the background.
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

// readLog reads what can be seen after a position, by one statement, which has one
// snapshot.
func (s *Store) readLog(ctx context.Context, wanted outbox.Query) (rows []scanned, err error) {
	sc := s.scanQuery(wanted)
	sc.query(func(row []sqldriver.Value) (err error) {
		r := scanned{position: number(row[0]), wanted: number(row[1]) != 0}
		if r.wanted {
			r.message, err = decodeMessage(r.position, row[2:])
		}
		rows = append(rows, r)
		return err
	})
	err = s.do(ctx, "scan", sc)
	return rows, err
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
		if closed, err := s.askLanes(ctx, upTo); closed || err != nil {
			return closed, err
		}
		if err := pause(ctx, time.Duration(1+2*try)*time.Millisecond); err != nil {
			return false, err
		}
	}
	s.watchGap()
	return false, nil
}

// askLanes asks which of the lanes in question are still taken: those that can't be
// locked for a moment. The turn is taken.
func (s *Store) askLanes(ctx context.Context, upTo int64) (closed bool, err error) {
	g := &s.gaps
	if g.proven >= upTo {
		return true, nil
	}
	free := make(map[int64]bool, lanes)
	sc := s.change().add("SELECT lane FROM ", s.schema, "uow_lanes")
	if g.upTo >= upTo && len(g.taken) > 0 {
		asked := make([]int64, 0, len(g.taken))
		for lane := range g.taken {
			asked = append(asked, lane)
		}
		sc.add(" FORCE INDEX (PRIMARY) WHERE lane IN ").positions(asked)
	}
	sc.add(" FOR UPDATE SKIP LOCKED").query(func(row []sqldriver.Value) error { free[number(row[0])] = true; return nil })
	if err := s.do(ctx, "ask for locks", sc.do("COMMIT")); err != nil {
		return false, err
	}
	if g.upTo < upTo {
		g.upTo, g.taken = upTo, map[int64]bool{}
		for lane := range int64(lanes) {
			g.taken[lane] = true
		}
	}
	for lane := range free {
		delete(g.taken, lane)
	}
	if len(g.taken) > 0 {
		return false, nil
	}
	g.proven = max(g.proven, g.upTo)
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

func (g *gaps) leave() { <-g.turn }

// read returns what is proven.
func (g *gaps) read(ctx context.Context) (proven int64, err error) {
	if err := g.take(ctx); err != nil {
		return 0, err
	}
	defer g.leave()
	return g.proven, nil
}

// watchGap waits for the gap in the background, and then wakes those who subscribed:
// the end of a transaction that is rolled back wakes nobody. The turn is taken.
func (s *Store) watchGap() {
	g := &s.gaps
	if g.watched {
		return
	}
	g.watched = s.start(func() {
		ctx := s.background
		for delay := 20 * time.Millisecond; pause(ctx, delay) == nil; delay = min(2*delay, 500*time.Millisecond) {
			if g.take(ctx) != nil {
				return
			}
			closed, err := s.askLanes(ctx, g.upTo)
			if closed {
				g.watched = false
			}
			g.leave()
			if closed && err == nil {
				s.subscribers.Wake()
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
