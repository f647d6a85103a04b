-- Relays share cursors: partitions, leases, members. A cursor that is split into
-- partitions has no position of its own: each partition has a row, called as
-- orders[2/8], that names the cursor it is part of. Programs that know nothing of this
-- would take the cursor's own row for one with a position: the check refuses the epoch
-- that they give it. owner has the lease until expires_at.
ALTER TABLE uow_outbox_cursor ADD COLUMN split INTEGER NOT NULL DEFAULT 0 CHECK (split = 0 OR epoch = 0);
ALTER TABLE uow_outbox_cursor ADD COLUMN part_of TEXT NOT NULL DEFAULT '';
ALTER TABLE uow_outbox_cursor ADD COLUMN owner TEXT NOT NULL DEFAULT '';
ALTER TABLE uow_outbox_cursor ADD COLUMN expires_at INTEGER NOT NULL DEFAULT 0;

-- The running relays of each cursor.
CREATE TABLE uow_outbox_member (
	cursor     TEXT    NOT NULL,
	member     TEXT    NOT NULL,
	expires_at INTEGER NOT NULL,
	PRIMARY KEY (cursor, member)
) STRICT, WITHOUT ROWID;

-- The identity of the log, which a lease names.
ALTER TABLE uow_outbox_state ADD COLUMN log TEXT NOT NULL DEFAULT '';
UPDATE uow_outbox_state SET log = lower(hex(randomblob(16)));
