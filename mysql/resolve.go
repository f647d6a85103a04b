package mysql

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	sqldriver "database/sql/driver"
)

// key returns what stands for a unit in uow_units: its UUID, or a hash of an id
// that is none.
func key(unit string) []byte {
	if len(unit) == 36 {
		if id, err := hex.DecodeString(strings.ReplaceAll(unit, "-", "")); err == nil && len(id) == 16 {
			return id
		}
	}
	sum := sha256.Sum256([]byte(unit))
	return sum[:16]
}

// Resolve implements driver.Resolver: it takes the place of the unit's marker. The
// unique key makes the insert wait for a transaction that has inserted it and is
// not finished; when it then finds the key, the unit was committed, and when it does
// not, the key is its own and the unit's commit can't go through any more.
func (s *Store) Resolve(ctx context.Context, unit string) (committed bool, err error) {
	c, err := s.acquire(ctx)
	if err != nil {
		return false, err
	}
	defer c.release()
	inserted, fenced, found, forgotten := false, false, false, []byte(nil)
	id := key(unit)
	sc := newScript()
	s.begin(sc, ReadCommitted, false) // so that the select sees what the insert has waited for
	sc.add("INSERT IGNORE INTO ", s.schema, "uow_units (unit, at, lane, fenced) VALUES (").hex(id).do(", UTC_TIMESTAMP(6), -1, TRUE)").
		add("SELECT ROW_COUNT()").query(func(row []sqldriver.Value) error { inserted = number(row[0]) == 1; return nil }).
		add("SELECT u.fenced, s.forgotten FROM ", s.schema, "uow_units u, ", s.schema, "uow_state s WHERE u.unit = ").hex(id).
		query(func(row []sqldriver.Value) error {
			found, fenced, forgotten = true, number(row[0]) != 0, blob(row[1])
			return nil
		})
	if _, err := c.run(ctx, sc, s.maxPacket); err != nil {
		c.dead = true // with its transaction
		return false, s.wrap(ctx, "resolve", err)
	}
	old := inserted && bytes.Compare(id, forgotten) <= 0
	end := "COMMIT"
	if old || !found {
		end = "ROLLBACK"
	}
	if _, err := c.run(ctx, newScript().do(end), s.maxPacket); err != nil {
		c.dead = true
		return false, s.wrap(ctx, "resolve", err)
	}
	switch {
	case !found:
		return false, fmt.Errorf("%w: the marker that was written can't be read", ErrServer)
	case old:
		return false, fmt.Errorf("%w: unit %s", ErrForgotten, unit)
	}
	return !fenced, nil
}

// batchOfMarkers bounds what one statement deletes.
const batchOfMarkers = 1000

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
	c, err := s.acquire(ctx)
	if err != nil {
		return 0, err
	}
	defer c.release()
	var old [][]byte
	sc := newScript()
	s.begin(sc, ReadCommitted, false)
	sc.add("SELECT unit, at < UTC_TIMESTAMP(6) - INTERVAL ").int(s.options.MarkerRetention.Microseconds()).
		add(" MICROSECOND FROM ", s.schema, "uow_units ORDER BY unit LIMIT ").int(limit).add(" FOR UPDATE SKIP LOCKED").
		query(func(row []sqldriver.Value) error {
			if number(row[1]) != 0 {
				old = append(old, blob(row[0]))
			}
			return nil
		})
	if _, err := c.run(ctx, sc, s.maxPacket); err != nil {
		c.dead = true
		return 0, s.wrap(ctx, "delete old markers", err)
	}
	sc = newScript()
	if len(old) > 0 {
		sc.add("DELETE FROM ", s.schema, "uow_units WHERE unit IN (").list(len(old), func(i int) { sc.hex(old[i]) }).do(")")
		last := old[len(old)-1]
		sc.add("UPDATE ", s.schema, "uow_state SET forgotten = ").hex(last).
			add(" WHERE forgotten IS NULL OR forgotten < ").hex(last).end()
	}
	if _, err := c.run(ctx, sc.do("COMMIT"), s.maxPacket); err != nil {
		c.dead = true
		return 0, s.wrap(ctx, "delete old markers", err)
	}
	return int64(len(old)), nil
}
