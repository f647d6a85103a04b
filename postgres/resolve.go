package postgres

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgtype"
)

// key returns what stands for a unit in uow_units: its UUID, or a hash of an id
// that is none.
func key(unit string) []byte { return appendKey(nil, unit) }

func appendKey(b []byte, unit string) []byte {
	if len(unit) == 36 {
		var digits [32]byte
		plain := digits[:0]
		for i := range len(unit) {
			if unit[i] != '-' && len(plain) < len(digits) {
				plain = append(plain, unit[i])
			}
		}
		var id [16]byte
		if n, err := hex.Decode(id[:], plain); err == nil && n == len(id) {
			return append(b, id[:]...)
		}
	}
	sum := sha256.Sum256([]byte(unit))
	return append(b, sum[:16]...)
}

func (a *args) unit(unit string) *args {
	start := len(a.buf)
	a.buf = appendKey(a.buf, unit)
	a.values = append(a.values, a.buf[start:len(a.buf):len(a.buf)])
	return a
}

// Resolve implements driver.Resolver: it takes the place of the unit's marker. The
// unique key makes the insert wait for a transaction that has inserted it and is
// not finished; when it then finds the key, the unit was committed, and when it does
// not, the key is its own and the unit's commit can't go through any more.
//
// A marker that can be seen may yet be lost: a commit whose wait for a synchronous
// standby was cancelled, which a client that gives up asks for, is on the primary
// alone. So the marker is written once more, though nothing changes: this commit then
// waits for the standby, and the unit's, being before it, is there too.
func (s *Store) Resolve(ctx context.Context, unit string) (committed bool, err error) {
	c, err := s.acquire(ctx)
	if err != nil {
		return false, err
	}
	defer c.Release()
	inserted, fenced, forgotten := false, false, []byte(nil)
	id := key(unit)
	steps := []step{
		plain(s.sql.begin[ReadCommitted]), // so that the update sees what the insert has waited for
		{
			statement: newStatement(`INSERT INTO `+s.schema+`.uow_units (unit, fenced) VALUES ($1, true) ON CONFLICT (unit) DO NOTHING RETURNING true`, pgtype.UUIDOID),
			args:      newArgs(1).bytes(id),
			row:       func([][]byte) error { inserted = true; return nil },
		}, {
			statement: newStatement(`UPDATE `+s.schema+`.uow_units u SET fenced = u.fenced FROM `+s.schema+`.uow_state s WHERE u.unit = $1 RETURNING u.fenced, s.forgotten`, pgtype.UUIDOID),
			args:      newArgs(1).bytes(id),
			row: func(row [][]byte) error {
				fenced, forgotten = truth(row[0]), blob(row[1])
				return nil
			},
		},
	}
	if _, err := s.run(ctx, c.Conn(), steps); err != nil {
		destroy(c.Conn())
		return false, s.wrap(ctx, "resolve", err)
	}
	old := inserted && bytes.Compare(id, forgotten) <= 0
	last := []step{plain(s.sql.commit)}
	if old {
		last[0] = plain(s.sql.rollback)
	}
	if _, err := s.run(ctx, c.Conn(), last); err != nil {
		destroy(c.Conn())
		return false, s.wrap(ctx, "resolve", err)
	}
	if old {
		return false, fmt.Errorf("%w: unit %s", ErrForgotten, unit)
	}
	return !fenced, nil
}

// batchOfMarkers bounds what one statement deletes.
const batchOfMarkers = 5000

// maintain deletes old markers from time to time.
func (s *Store) maintain(ctx context.Context) {
	every := min(max(s.options.MarkerRetention/10, time.Second), time.Minute)
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		for {
			n, err := s.forgetMarkers(ctx, batchOfMarkers)
			if err != nil || n < batchOfMarkers { // what failed is tried again the next time
				break
			}
		}
	}
}

// forgetMarkers deletes old markers, at most limit. Units' ids begin with their
// time, so that the oldest come first. Processes that do it at once skip each
// other's rows. What is the greatest of them is remembered: Resolve can't tell
// about units that are not greater.
func (s *Store) forgetMarkers(ctx context.Context, limit int64) (n int64, err error) {
	err = s.do(ctx, "delete old markers", step{
		statement: newStatement(`WITH old AS (SELECT unit, at FROM `+s.schema+`.uow_units ORDER BY unit LIMIT $1 FOR UPDATE SKIP LOCKED),
			d AS (DELETE FROM `+s.schema+`.uow_units u USING old WHERE u.unit = old.unit AND old.at < clock_timestamp() - $2 * interval '1 microsecond' RETURNING u.unit),
			f AS (UPDATE `+s.schema+`.uow_state SET forgotten = greatest(forgotten, (SELECT unit FROM d ORDER BY unit DESC LIMIT 1)) WHERE EXISTS (SELECT FROM d))
			SELECT count(*) FROM d`, pgtype.Int8OID, pgtype.Int8OID),
		args: newArgs(2).int(limit).int(s.options.MarkerRetention.Microseconds()),
		row:  func(row [][]byte) error { n = number(row[0]); return nil },
	})
	return n, err
}
