package mysql

import (
	"context"
	"time"

	sqldriver "database/sql/driver"

	"github.com/uow-go/uow/internal/logscan"
	"github.com/uow-go/uow/outbox"
)

// lanes is how many lanes there are.
const lanes = 256

// newScanner scans the log without gaps. A transaction that appends messages shares a
// lock on its connection's lane before any position is given to it, until it ends; and
// the server makes its rows visible before it releases its locks. So a lane that is
// taken is the claim of those who were in it, and one that is found free, be it for a
// moment, has lost them.
func (s *Store) newScanner() *logscan.Scanner[int64] {
	return logscan.New(logscan.Source[int64]{
		Read:   s.readLog,
		Claims: s.takenLanes,
		First:  time.Millisecond,
		Background: func(fn func(ctx context.Context)) bool {
			return s.start(func() { fn(s.background) })
		},
		Wake: func() { s.subscribers.Wake(false) },
	})
}

// Scan implements outbox.Log. It returns no message before everything that comes
// earlier can be read, or never will be: it waits a little for transactions that may
// still write before what it has found, and calls those who subscribed when it is
// over later. Transactions that do not write to the outbox are never waited for.
func (s *Store) Scan(ctx context.Context, query outbox.Query) (messages []outbox.Message, next int64, err error) {
	return s.scanner.Scan(ctx, query)
}

// readLog reads what can be seen after a position, by one statement, which has one
// snapshot.
func (s *Store) readLog(ctx context.Context, wanted outbox.Query) (rows []logscan.Row, err error) {
	sc := s.scanQuery(wanted)
	sc.query(func(row []sqldriver.Value) (err error) {
		r := logscan.Row{Position: number(row[0]), Wanted: number(row[1]) != 0}
		if r.Wanted {
			r.Message, err = decodeMessage(r.Position, row[2:])
		}
		rows = append(rows, r)
		return err
	})
	err = s.do(ctx, "scan", sc)
	return rows, err
}

// takenLanes returns which lanes are taken, of those that are asked for: those that
// can't be locked for a moment.
func (s *Store) takenLanes(ctx context.Context, asked map[int64]bool) (map[int64]bool, error) {
	taken := make(map[int64]bool, lanes)
	sc := s.change().add("SELECT lane FROM ", s.schema, "uow_lanes")
	if asked == nil {
		for lane := range int64(lanes) {
			taken[lane] = true
		}
	} else {
		list := make([]int64, 0, len(asked))
		for lane := range asked {
			taken[lane] = true
			list = append(list, lane)
		}
		sc.add(" FORCE INDEX (PRIMARY) WHERE lane IN ").positions(list)
	}
	sc.add(" FOR UPDATE SKIP LOCKED").query(func(row []sqldriver.Value) error { delete(taken, number(row[0])); return nil })
	return taken, s.do(ctx, "ask for locks", sc.do("COMMIT"))
}
