package sqlite

import (
	"context"
	"fmt"
	"time"

	sqldriver "database/sql/driver"

	"github.com/uow-go/uow/outbox"
)

// now is the clock of leases, in microseconds: that of the machine, as SQLite tells it.
const now = `CAST(round(unixepoch('subsec') * 1000000) AS INTEGER)`

// Acquire implements outbox.Log.
func (s *Store) Acquire(ctx context.Context, claim outbox.Claim) (lease outbox.Lease, err error) {
	if err := claim.Check(); err != nil {
		return outbox.Lease{}, fmt.Errorf("sqlite: acquire: %w", err)
	}
	err = s.writer.do(ctx, func(c *conn) error {
		lease = claim.Lease()
		split, known, err := c.integer(`SELECT max(split, 1) FROM uow_outbox_cursor WHERE name = ?`, claim.Cursor)
		if err != nil {
			return wrap("acquire", err)
		}
		if known && split != int64(lease.Partitions) {
			return &ownError{fmt.Errorf("sqlite: acquire: %w", outbox.ErrPartitions)}
		}
		if !known {
			if err := makeCursor(c, claim.Cursor, lease.Partitions, 0, 0); err != nil {
				return wrap("acquire", err)
			}
		}
		if err := refuseClaim(c, claim, &lease); err != nil {
			return err
		}
		if err := nextEpoch(c, &lease); err != nil {
			return wrap("acquire", err)
		}
		_, err = c.exec(`UPDATE uow_outbox_cursor SET epoch = ?, owner = ?, expires_at = `+now+` + ? WHERE name = ?`,
			lease.Epoch, claim.Owner, claim.TTL.Microseconds(), lease.Row())
		if err != nil {
			return wrap("acquire", err)
		}
		return nil
	})
	if err != nil {
		return outbox.Lease{}, err
	}
	return lease, nil
}

// makeCursor makes the rows of a cursor, and of its partitions where it has several.
func makeCursor(c *conn, name string, partitions int, position, epoch int64) error {
	const insert = `INSERT INTO uow_outbox_cursor (name, part_of, split, position, epoch) VALUES (?, ?, ?, ?, ?)`
	if partitions == 1 {
		_, err := c.exec(insert, name, "", int64(0), position, epoch)
		return err
	}
	if _, err := c.exec(insert, name, "", int64(partitions), int64(0), int64(0)); err != nil {
		return err
	}
	for i := range partitions {
		if _, err := c.exec(insert, outbox.PartitionRow(name, i, partitions), name, int64(0), position, epoch); err != nil {
			return err
		}
	}
	return nil
}

// refuseClaim returns an error when a claim can't be had, and otherwise finds out where
// the partition is.
func refuseClaim(c *conn, claim outbox.Claim, lease *outbox.Lease) (err error) {
	held := int64(0)
	found := c.query(context.Background(), func(row []sqldriver.Value) error {
		lease.Position, held = number(row[0]), number(row[1])
		return nil
	}, `SELECT position, owner <> ? AND expires_at > `+now+` FROM uow_outbox_cursor WHERE name = ?`, claim.Owner, lease.Row())
	if found != nil {
		return wrap("acquire", found)
	}
	end, _, err := c.integer(`SELECT max(coalesce((SELECT max(position) FROM uow_outbox), 0), last) FROM uow_outbox_state`)
	switch {
	case err != nil:
		return wrap("acquire", err)
	case held != 0 && !claim.Force:
		return &ownError{fmt.Errorf("sqlite: acquire: %w", outbox.ErrLeaseHeld)}
	case lease.Position > end:
		return &ownError{fmt.Errorf("sqlite: acquire: the cursor is at %d, and the log ends at %d: %w", lease.Position, end, outbox.ErrRestored)}
	}
	return nil
}

// nextEpoch gives a lease its epoch.
func nextEpoch(c *conn, lease *outbox.Lease) error {
	return c.query(context.Background(), func(row []sqldriver.Value) error {
		lease.Epoch, lease.Log, lease.Now = number(row[0]), text(row[1]), time.UnixMicro(number(row[2]))
		return nil
	}, `UPDATE uow_outbox_state SET epochs = epochs + 1 RETURNING epochs, log, `+now)
}

// leased returns the position of the partition of a lease, which must be the newest.
func leased(c *conn, lease outbox.Lease) (position int64, err error) {
	known, log := false, ""
	err = c.query(context.Background(), func(row []sqldriver.Value) error {
		position, log, known = number(row[0]), text(row[1]), true
		return nil
	}, `SELECT c.position, s.log FROM uow_outbox_cursor c, uow_outbox_state s WHERE c.name = ? AND c.epoch = ? AND c.owner = ?`,
		lease.Row(), lease.Epoch, lease.Owner)
	switch {
	case err != nil:
		return 0, wrap("settle", err)
	case !known:
		return 0, &ownError{outbox.ErrLeaseLost}
	case log != lease.Log:
		return 0, &ownError{fmt.Errorf("sqlite: settle: the log is %s, the lease of %s: %w", log, lease.Log, outbox.ErrRestored)}
	}
	return position, nil
}

// Release implements outbox.Log.
func (s *Store) Release(ctx context.Context, lease outbox.Lease) error {
	return s.writer.do(ctx, func(c *conn) error {
		if _, err := c.exec(`UPDATE uow_outbox_cursor SET expires_at = 0 WHERE name = ? AND epoch = ? AND owner = ?`,
			lease.Row(), lease.Epoch, lease.Owner); err != nil {
			return wrap("release", err)
		}
		return nil
	})
}

// Join implements outbox.Log.
func (s *Store) Join(ctx context.Context, cursor, member string, ttl time.Duration) (members []string, err error) {
	err = s.writer.do(ctx, func(c *conn) error {
		members = nil
		_, err := c.exec(`INSERT INTO uow_outbox_member (cursor, member, expires_at) VALUES (?, ?, `+now+` + ?)
			ON CONFLICT (cursor, member) DO UPDATE SET expires_at = excluded.expires_at`, cursor, member, ttl.Microseconds())
		if err != nil {
			return wrap("join", err)
		}
		if _, err := c.exec(`DELETE FROM uow_outbox_member WHERE cursor = ? AND expires_at <= `+now, cursor); err != nil {
			return wrap("join", err)
		}
		err = c.query(context.Background(), func(row []sqldriver.Value) error {
			members = append(members, text(row[0]))
			return nil
		}, `SELECT member FROM uow_outbox_member WHERE cursor = ? ORDER BY member`, cursor)
		if err != nil {
			return wrap("join", err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return members, nil
}

// Resplit implements outbox.Log.
func (s *Store) Resplit(ctx context.Context, leases []outbox.Lease, partitions int) error {
	if err := outbox.CheckResplit(leases, partitions); err != nil {
		return fmt.Errorf("sqlite: resplit: %w", err)
	}
	return s.writer.do(ctx, func(c *conn) error {
		name, common := leases[0].Cursor, int64(-1)
		for _, lease := range leases {
			position, err := leased(c, lease)
			if err != nil {
				return err
			}
			if common >= 0 && common != position {
				return &ownError{fmt.Errorf("sqlite: resplit: the partitions of %q are at different positions", name)}
			}
			common = position
		}
		if len(leases) == partitions {
			return nil
		}
		next := outbox.Lease{}
		if err := nextEpoch(c, &next); err != nil {
			return wrap("resplit", err)
		}
		if _, err := c.exec(`DELETE FROM uow_outbox_cursor WHERE name = ? OR part_of = ?`, name, name); err != nil {
			return wrap("resplit", err)
		}
		if err := makeCursor(c, name, partitions, common, next.Epoch); err != nil {
			return wrap("resplit", err)
		}
		return nil
	})
}
