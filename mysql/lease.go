package mysql

import (
	"context"
	"fmt"
	"time"

	sqldriver "database/sql/driver"

	"github.com/uow-go/uow/outbox"
)

// inOne runs fn's scripts on one connection, as a transaction that fn must end by
// COMMIT. When it fails the transaction is rolled back.
func (s *Store) inOne(ctx context.Context, what string, fn func(run func(*script) error) error) error {
	c, err := s.acquire(ctx)
	if err != nil {
		return err
	}
	defer c.release()
	var failed error // of the server, or the way to it
	err = fn(func(sc *script) error {
		_, failed = c.run(ctx, sc, s.maxPacket)
		return failed
	})
	if err != nil && !c.dead {
		c.rollback(s.maxPacket)
	}
	switch {
	case err == nil:
		return nil
	case failed != nil:
		return s.wrap(ctx, what, err)
	}
	return fmt.Errorf("mysql: %s: %w", what, err)
}

// partition is what a row of uow_outbox_cursor says.
type partition struct {
	split, position, epoch int64
	owner                  string
	leased                 bool // the lease has not expired
}

// partitions locks rows of uow_outbox_cursor and reads them.
func (s *Store) partitions(sc *script, found map[string]partition, names ...string) *script {
	return sc.add("SELECT name, split, position, epoch, owner, COALESCE(expires_at > UTC_TIMESTAMP(6), FALSE) FROM ", s.schema, "uow_outbox_cursor WHERE name IN ").
		ids(len(names), func(i int) string { return names[i] }).add(forUpdate).
		query(func(row []sqldriver.Value) error {
			found[text(row[0])] = partition{
				split: number(row[1]), position: number(row[2]), epoch: number(row[3]), owner: text(row[4]), leased: number(row[5]) != 0,
			}
			return nil
		})
}

// nextEpoch gives a lease its epoch, and finds out what it has to know of the log. The
// one row of uow_state puts those who acquire at once in an order.
func (s *Store) nextEpoch(sc *script, lease *outbox.Lease) *script {
	return sc.add("UPDATE ", s.schema, "uow_state SET epochs = epochs + 1").end().
		add("SELECT epochs, log_id, CAST(UTC_TIMESTAMP(6) AS CHAR) FROM ", s.schema, "uow_state").
		query(func(row []sqldriver.Value) error {
			lease.Epoch, lease.Log, lease.Now = number(row[0]), text(row[1]), timeOf(row[2])
			return nil
		})
}

// durable is true where what the server has committed is on the disk.
const durable = "@@GLOBAL.innodb_flush_log_at_trx_commit IN (1, 3) AND (@@GLOBAL.log_bin = 0 OR @@GLOBAL.sync_binlog = 1)"

// Acquire implements outbox.Log: one round trip, after which no lock is left, since a
// relay may be stopped at any moment, and others must be able to take over.
func (s *Store) Acquire(ctx context.Context, claim outbox.Claim) (outbox.Lease, error) {
	if err := claim.Check(); err != nil {
		return outbox.Lease{}, fmt.Errorf("mysql: acquire: %w", err)
	}
	lease := claim.Lease()
	end, found, synced, acquired := int64(0), map[string]partition{}, false, false
	sc := s.partitions(s.nextEpoch(s.change(), &lease), found, claim.Cursor, lease.Row()).
		add("SELECT ", durable).query(func(row []sqldriver.Value) error { synced = number(row[0]) == 1; return nil })
	s.makeMissing(sc, lease)
	s.judgeClaim(sc, claim, lease)
	sc.add("UPDATE ", s.schema, "uow_outbox_cursor SET epoch = (SELECT epochs FROM ", s.schema, "uow_state), owner = ").id(claim.Owner).
		add(", expires_at = UTC_TIMESTAMP(6) + INTERVAL ").int(claim.TTL.Microseconds()).add(" MICROSECOND WHERE @uow AND name = ").id(lease.Row()).end().
		// The end comes after the rows: until those are locked, positions may pass an earlier one.
		add("SELECT @uow, ", s.logEnd(), " FROM ", s.schema, "uow_state").query(func(row []sqldriver.Value) error {
		acquired, end = number(row[0]) == 1, number(row[1])
		return nil
	})
	if err := s.do(ctx, "acquire", sc.do("COMMIT")); err != nil {
		return outbox.Lease{}, err
	}
	if !acquired {
		return outbox.Lease{}, fmt.Errorf("mysql: acquire: %w", s.whyNot(claim, lease, found, end, synced))
	}
	lease.Position = found[lease.Row()].position
	return lease, nil
}

// makeMissing appends the statements that make the rows of a cursor, unless there are
// any. Nobody else makes some meanwhile, who would need the row of uow_state.
func (s *Store) makeMissing(sc *script, lease outbox.Lease) {
	row := func(name, partOf string, split int) {
		sc.add("SELECT ").id(name).add(" AS name, ").id(partOf).add(" AS part_of, ").int(int64(split)).add(" AS split, 0 AS position, 0 AS epoch")
	}
	sc.add("SET @uow = ", s.mayPublish(), " AND NOT EXISTS (SELECT 1 FROM ", s.schema, "uow_outbox_cursor WHERE name = ").id(lease.Cursor).do(")")
	sc.add("INSERT INTO ", s.schema, "uow_outbox_cursor (name, part_of, split, position, epoch) SELECT v.* FROM (")
	if lease.Partitions == 1 {
		row(lease.Cursor, "", 0)
	} else {
		row(lease.Cursor, "", lease.Partitions)
		for i := range lease.Partitions {
			sc.add(" UNION ALL ")
			row(outbox.PartitionRow(lease.Cursor, i, lease.Partitions), lease.Cursor, 0)
		}
	}
	sc.do(") v WHERE @uow")
}

// mayPublish is true where a relay may publish from the server.
func (s *Store) mayPublish() string {
	if s.options.Volatile {
		return "TRUE"
	}
	return "(" + durable + ")"
}

// logEnd is the position of the newest message that there ever was, of the row of uow_state.
func (s *Store) logEnd() string {
	return "GREATEST(trimmed, COALESCE((SELECT MAX(position) FROM " + s.schema + "uow_outbox), 0))"
}

// judgeClaim appends the statement that decides whether a claim can be had. The rows are
// locked by then.
func (s *Store) judgeClaim(sc *script, claim outbox.Claim, lease outbox.Lease) {
	sc.add("SET @uow = ", s.mayPublish(), " AND EXISTS (SELECT 1 FROM ", s.schema, "uow_outbox_cursor c JOIN ", s.schema, "uow_outbox_cursor r ON r.name = ").id(lease.Row()).
		add(" WHERE c.name = ").id(claim.Cursor).add(" AND GREATEST(c.split, 1) = ").int(int64(lease.Partitions)).
		add(" AND r.position <= (SELECT ", s.logEnd(), " FROM ", s.schema, "uow_state)")
	if !claim.Force {
		sc.add(" AND (r.owner = ").id(claim.Owner).add(" OR NOT COALESCE(r.expires_at > UTC_TIMESTAMP(6), FALSE))")
	}
	sc.do(")")
}

// whyNot says why a claim could not be had.
func (s *Store) whyNot(claim outbox.Claim, lease outbox.Lease, found map[string]partition, end int64, synced bool) error {
	cursor, known := found[claim.Cursor]
	p := found[lease.Row()]
	switch {
	case !synced && !s.options.Volatile:
		return fmt.Errorf("innodb_flush_log_at_trx_commit is not 1, or sync_binlog is not, and Options.Volatile is not set: %w", outbox.ErrNotDurable)
	case known && max(cursor.split, 1) != int64(lease.Partitions):
		return outbox.ErrPartitions
	case p.position > end:
		return fmt.Errorf("the cursor is at %d, and the log ends at %d: %w", p.position, end, outbox.ErrRestored)
	}
	return outbox.ErrLeaseHeld
}

// makeCursor appends the statement that makes the rows of a cursor, and of its
// partitions where it has several.
func (s *Store) makeCursor(sc *script, name string, partitions int, position, epoch int64) *script {
	sc.add("INSERT INTO ", s.schema, "uow_outbox_cursor (name, part_of, split, position, epoch) VALUES (").id(name)
	if partitions == 1 {
		return sc.add(", '', 0, ").int(position).add(", ").int(epoch).add(")").end()
	}
	sc.add(", '', ").int(int64(partitions)).add(", 0, 0)")
	for i := range partitions {
		sc.add(", (").id(outbox.PartitionRow(name, i, partitions)).add(", ").id(name).add(", 0, ").int(position).add(", ").int(epoch).add(")")
	}
	return sc.end()
}

// whereLease appends the condition that a row of uow_outbox_cursor is that of a lease.
func (s *Store) whereLease(sc *script, lease outbox.Lease) *script {
	return sc.add(" WHERE name = ").text(lease.Row(), unlimited).add(" AND epoch = ").int(lease.Epoch).
		add(" AND owner = ").text(lease.Owner, unlimited)
}

// leased locks the row of a lease, and ends the script unless the lease is the newest,
// and the log and the position are those that it knows.
func (s *Store) leased(sc *script, lease outbox.Lease, settlement outbox.Settlement) *script {
	sc.add("SELECT ", most, "(COUNT(*) <> 1) FROM ", s.schema, "uow_outbox_cursor")
	s.whereLease(sc, lease).add(" AND (SELECT log_id FROM ", s.schema, "uow_state) = ").text(lease.Log, unlimited)
	if at, moved, asked := settlement.Left(); asked {
		sc.add(" AND position IN (").int(at).add(", ").int(moved).add(")")
	}
	return sc.add(forUpdate).query(nil)
}

// refused says why leased has ended a script.
func (s *Store) refused(ctx context.Context, lease outbox.Lease) error {
	reason := outbox.ErrLeaseLost
	sc := newScript().add("SELECT 1 FROM ", s.schema, "uow_outbox_cursor")
	s.whereLease(sc, lease).query(func([]sqldriver.Value) error { reason = outbox.ErrRestored; return nil })
	if err := s.do(ctx, "settle", sc); err != nil {
		return err
	}
	return fmt.Errorf("mysql: settle: %w", reason)
}

// Release implements outbox.Log.
func (s *Store) Release(ctx context.Context, lease outbox.Lease) error {
	sc := s.change().add("UPDATE ", s.schema, "uow_outbox_cursor SET expires_at = NULL")
	return s.do(ctx, "release", s.whereLease(sc, lease).end().do("COMMIT"))
}

// Join implements outbox.Log. Members that are gone for an hour are forgotten by the
// way; no sooner, so that two that come back can't wait for each other.
func (s *Store) Join(ctx context.Context, cursor, member string, ttl time.Duration) (members []string, err error) {
	sc := s.change().add("INSERT INTO ", s.schema, "uow_outbox_member (`cursor`, member, expires_at) VALUES (").id(cursor).add(", ").id(member).
		add(", UTC_TIMESTAMP(6) + INTERVAL ").int(ttl.Microseconds()).do(" MICROSECOND) ON DUPLICATE KEY UPDATE expires_at = VALUES(expires_at)").
		add("DELETE FROM ", s.schema, "uow_outbox_member WHERE `cursor` = ").id(cursor).
		do(" AND expires_at < UTC_TIMESTAMP(6) - INTERVAL 1 HOUR").
		add("SELECT member FROM ", s.schema, "uow_outbox_member WHERE `cursor` = ").id(cursor).
		add(" AND expires_at > UTC_TIMESTAMP(6) ORDER BY member").
		query(func(row []sqldriver.Value) error { members = append(members, text(row[0])); return nil }).do("COMMIT")
	if err := s.do(ctx, "join", sc); err != nil {
		return nil, err
	}
	return members, nil
}

// Resplit implements outbox.Log.
func (s *Store) Resplit(ctx context.Context, leases []outbox.Lease, partitions int) error {
	if err := outbox.CheckResplit(leases, partitions); err != nil {
		return fmt.Errorf("mysql: resplit: %w", err)
	}
	return s.inOne(ctx, "resplit", func(run func(*script) error) error {
		names, found := make([]string, len(leases)), map[string]partition{}
		for i, lease := range leases {
			names[i] = lease.Row()
		}
		next := outbox.Lease{}
		if err := run(s.partitions(s.nextEpoch(s.change(), &next), found, names...)); err != nil {
			return err
		}
		name, position := leases[0].Cursor, found[names[0]].position
		for i, lease := range leases {
			p, ok := found[names[i]]
			switch {
			case !ok || p.epoch != lease.Epoch || p.owner != lease.Owner:
				return outbox.ErrLeaseLost
			case lease.Log != next.Log:
				return outbox.ErrRestored
			case p.position != position:
				return fmt.Errorf("the partitions of %q are at different positions", name)
			}
		}
		sc := newScript()
		if len(leases) != partitions {
			sc.add("DELETE FROM ", s.schema, "uow_outbox_cursor WHERE name = ").id(name).add(" OR part_of = ").id(name).end()
			s.makeCursor(sc, name, partitions, position, next.Epoch)
		}
		return run(sc.do("COMMIT"))
	})
}
