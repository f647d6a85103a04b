package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgtype"
)

const (
	// buckets is how many tables the log has, called uow_outbox_0 and so on.
	buckets = 4

	// enough is how many positions a bucket has, at least, before another one is written
	// to. Fewer messages are deleted one by one, which costs less than to truncate.
	enough = 10_000

	// young is how many messages at a bucket's ends are looked at for their age, and how
	// many beyond the limit where they are deleted: positions follow time but for
	// differing clocks, and a whole bucket is not read to find a straggler.
	young = 1000

	// patience is how long a bucket's lock is waited for. Who reads the log meanwhile
	// waits behind; who appends does not.
	patience = "50ms"
)

// bucketNames returns the names of the log's tables.
func bucketNames() []string {
	names := make([]string, buckets)
	for i := range names {
		names[i] = fmt.Sprintf("uow_outbox_%d", i)
	}
	return names
}

// bucket is what a trim knows of one of the log's tables.
type bucket struct {
	first, last int64 // positions; 0 when it is empty
	old         bool  // it has a message at its beginning that may go
	passed      bool  // by every cursor
	spent       bool  // nobody needs any of its messages
}

// Trim implements outbox.Log. Nothing is deleted while there is no cursor.
//
// A bucket of which nobody needs any message is truncated: it counts by its positions,
// and whatever the limit is. When the one that is written to is large, and has messages
// that may go, another one is written to from then on. Where none is empty, because of a
// message that is held, and where it is small, messages are deleted one by one.
func (s *Store) Trim(ctx context.Context, before time.Time, limit int) (n int, err error) {
	if limit <= 0 {
		return 0, ctx.Err()
	}
	all, current, err := s.buckets(ctx, before)
	if err != nil {
		return 0, err
	}
	for i := range all {
		b := &all[i]
		if i == current || !b.spent {
			continue
		}
		emptied, err := s.empty(ctx, i, before)
		if err != nil {
			return n, err
		}
		if emptied {
			n += int(b.last - b.first + 1)
			*b = bucket{}
		}
	}
	b := all[current]
	if !b.old || n >= limit {
		return n, nil
	}
	from := bucketNames()[current]
	if b.last-b.first+1 >= s.enough {
		from = `uow_outbox`
		next, held := following(all, current)
		if next != current {
			return n, s.turn(ctx, current, next)
		}
		if !held {
			return n, nil
		}
	}
	deleted, err := s.deleteOld(ctx, from, before, limit-n)
	return n + deleted, err
}

// following returns the empty bucket that comes next, and the current one where there is
// none: held says that it is because of a message that every cursor has passed.
func following(all [buckets]bucket, current int) (next int, held bool) {
	for i := 1; i < buckets; i++ {
		next := (current + i) % buckets
		if all[next].last == 0 {
			return next, false
		}
		held = held || all[next].passed && !all[next].spent
	}
	return current, held
}

// buckets looks at the log's tables, and which of them is written to.
func (s *Store) buckets(ctx context.Context, before time.Time) (all [buckets]bucket, current int, err error) {
	query, union := "", ""
	for i, name := range bucketNames() {
		query += fmt.Sprintf(`%s SELECT %d::bigint, f.position, l.position, f.created_at < $1, (%s) IS TRUE, (%s) IS TRUE FROM %s`, union, i, s.passed(), s.spent(name), s.ends(name))
		union = ` UNION ALL`
	}
	err = s.do(ctx, "trim", step{
		statement: newStatement(query, pgtype.TimestamptzOID),
		args:      newArgs(1).time(before),
		row: func(row [][]byte) error {
			all[number(row[0])] = bucket{first: number(row[1]), last: number(row[2]), old: truth(row[3]), passed: truth(row[4]), spent: truth(row[5])}
			return nil
		},
	}, step{
		statement: s.sqlf(`SELECT last_value FROM %[1]s.uow_outbox_bucket`),
		row:       func(row [][]byte) error { current = int(number(row[0])); return nil },
	})
	return all, current, err
}

// ends are the first and the last message of a bucket, as f and l. Of the first ones the
// oldest counts.
func (s *Store) ends(name string) string {
	return fmt.Sprintf(`(SELECT min(position) AS position, min(created_at) AS created_at FROM
			(SELECT position, created_at FROM %[1]s.%[2]s ORDER BY position LIMIT %[3]d) y HAVING count(*) > 0) f,
		(SELECT position FROM %[1]s.%[2]s ORDER BY position DESC LIMIT 1) l`, s.schema, name, young)
}

// spent is true of a bucket, with its ends, when every cursor has passed its messages,
// none is held, and they were created before $1; null when there is no cursor. A cursor
// has passed a message only when everything before it could be seen, or never will be.
func (s *Store) spent(name string) string {
	return s.passed() + fmt.Sprintf(`
		AND NOT EXISTS (SELECT FROM (SELECT created_at FROM %[1]s.%[2]s ORDER BY position DESC LIMIT %[3]d) y WHERE created_at >= $1)
		AND NOT EXISTS (SELECT FROM %[1]s.uow_outbox_held h WHERE h.position BETWEEN f.position AND l.position
			AND EXISTS (SELECT FROM %[1]s.%[2]s m WHERE m.position = h.position))`, s.schema, name, young)
}

// passed is true of a bucket, with its ends, that every cursor has passed; null when there
// is no cursor.
func (s *Store) passed() string {
	return `l.position <= (SELECT min(position) FROM ` + s.schema + `.uow_outbox_cursor WHERE split = 0)`
}

// empty truncates a bucket, unless somebody has come to need it, or has a lock on it
// for longer than patience: then it is left for the next time.
//
// The state's row is locked before the bucket, in the order in which others use them. The
// bucket is looked at when its lock is held, by a statement that sees all that was
// committed until then: nobody has a message in it then that can't be seen. Who replays
// messages reads all buckets, and keeps the locks of that until what it holds can be
// seen.
func (s *Store) empty(ctx context.Context, i int, before time.Time) (emptied bool, err error) {
	c, err := s.acquire(ctx)
	if err != nil {
		return false, err
	}
	defer c.Release()
	name := bucketNames()[i]
	table := s.schema + "." + name
	_, err = s.run(ctx, c.Conn(), []step{
		plain(s.sql.begin[ReadCommitted]),
		plain(newStatement(`SELECT set_config('lock_timeout', '` + s.patience + `', true)`)),
		plain(s.sqlf(`SELECT FROM %[1]s.uow_state FOR UPDATE`)),
		plain(newStatement(`LOCK TABLE ` + table + ` IN ACCESS EXCLUSIVE MODE`)),
		{
			statement: newStatement(`SELECT `+s.schema+`.uow_refuse_relay(CASE WHEN (SELECT `+s.spent(name)+` FROM `+s.ends(name)+`) THEN NULL ELSE '`+codeNeeded+`' END)`, pgtype.TimestamptzOID),
			args:      newArgs(1).time(before),
		},
		plain(newStatement(`UPDATE ` + s.schema + `.uow_state SET trimmed = greatest(trimmed, (SELECT max(position) FROM ` + table + `))`)),
		plain(newStatement(`TRUNCATE ` + table)),
		plain(s.sql.commit),
	})
	if err == nil {
		return true, nil
	}
	if _, undone := s.runFor(cleanupTime, c.Conn(), []step{plain(s.sql.rollback)}); undone != nil {
		destroy(c.Conn())
	}
	switch code(err) {
	case codeNeeded, codeLockNotAvailable, codeDeadlock:
		return false, nil
	}
	return false, s.wrap(ctx, "trim", err)
}

// turn has the next bucket written to, where it is empty and nobody was faster. Units
// that are under way may still write to the current one, or to this one: nothing but
// thrift depends on it.
func (s *Store) turn(ctx context.Context, current, next int) error {
	return s.do(ctx, "trim", step{
		statement: s.sqlf(`SELECT setval(`+literal(s.schema+".uow_outbox_bucket")+`::regclass, $2) FROM %[1]s.uow_outbox_bucket
			WHERE last_value = $1 AND NOT EXISTS (SELECT FROM %[1]s.`+bucketNames()[next]+`)`, pgtype.Int8OID, pgtype.Int8OID),
		args: newArgs(2).int(int64(current)).int(int64(next)),
	})
}

// deleteOld deletes messages of a table that nobody needs.
func (s *Store) deleteOld(ctx context.Context, table string, before time.Time, limit int) (n int, err error) {
	table = s.schema + "." + table
	err = s.do(ctx, "trim", step{
		statement: newStatement(`WITH first AS MATERIALIZED (SELECT m.position, m.created_at FROM `+table+` m
				WHERE m.position <= (SELECT min(position) FROM `+s.schema+`.uow_outbox_cursor WHERE split = 0)
				AND NOT EXISTS (SELECT FROM `+s.schema+`.uow_outbox_held h WHERE h.position = m.position)
				ORDER BY m.position LIMIT $2 + $3),
			old AS MATERIALIZED (SELECT position FROM first WHERE created_at < $1 ORDER BY position LIMIT $2),
			d AS (DELETE FROM `+table+` m USING old WHERE m.position = old.position RETURNING m.position),
			u AS (UPDATE `+s.schema+`.uow_state SET trimmed = greatest(trimmed, (SELECT max(position) FROM d)) WHERE EXISTS (SELECT FROM d))
			SELECT count(*) FROM d`, pgtype.TimestamptzOID, pgtype.Int8OID, pgtype.Int8OID),
		args: newArgs(3).time(before).int(int64(limit)).int(young),
		row:  func(row [][]byte) error { n = int(number(row[0])); return nil },
	})
	return n, err
}
