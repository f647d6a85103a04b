package postgres

import (
	"context"
	"time"

	"github.com/uow-go/uow/internal/logscan"
	"github.com/uow-go/uow/outbox"
)

// newScanner scans the log without gaps. The claim of a transaction that appends is
// its lock on the table: a position is given while it is held, and it is released
// after the transaction's rows have become visible.
func (s *Store) newScanner() *logscan.Scanner[string] {
	return logscan.New(logscan.Source[string]{
		Read:   s.readLog,
		Claims: s.holders,
		First:  5 * time.Millisecond,
		Background: func(fn func(ctx context.Context)) bool {
			if s.closed.Load() {
				return false
			}
			s.work.Go(func() { fn(s.wakes.ctx) })
			return true
		},
		Wake: func() { s.wakes.local.Wake(false) },
	})
}

// Scan implements outbox.Log. It returns no message before everything that comes
// earlier can be read, or never will be: it waits a little for transactions that may
// still write before what it has found, and calls those who subscribed when it is
// over later. Transactions that do not write to the outbox are never waited for.
func (s *Store) Scan(ctx context.Context, query outbox.Query) (messages []outbox.Message, next int64, err error) {
	if messages, next, ok := s.recent.Scan(query); ok {
		return messages, next, ctx.Err()
	}
	return s.scanner.Scan(ctx, query)
}

// readLog reads what can be seen after a position, with one snapshot, and returns it
// when it is on the disk.
func (s *Store) readLog(ctx context.Context, wanted outbox.Query) (rows []logscan.Row, err error) {
	query, synced := s.scanQuery(wanted), true
	query.row = func(row [][]byte) (err error) {
		r := logscan.Row{Position: number(row[0]), Wanted: truth(row[1])}
		synced = synced && len(row[2]) > 0 && truth(row[2])
		if r.Wanted {
			r.Message, err = decodeMessage(r.Position, row[3:])
		}
		rows = append(rows, r)
		return err
	}
	if err := s.do(ctx, "scan", query); err != nil {
		return nil, err
	}
	if !synced {
		err = s.onDisk(ctx)
	}
	return rows, err
}

// holders returns who holds a lock on the outbox, of those that are asked for.
func (s *Store) holders(ctx context.Context, asked map[string]bool) (map[string]bool, error) {
	now := map[string]bool{}
	locks := plain(s.sql.locks)
	locks.row = func(row [][]byte) error {
		if holder := string(row[0]); asked == nil || asked[holder] {
			now[holder] = true
		}
		return nil
	}
	return now, s.do(ctx, "ask for locks", locks)
}
