-- Relays share cursors: partitions, leases, members. A cursor that is split into
-- partitions has no position of its own: each partition has a row, called as
-- orders[2/8], that names the cursor it is part of. Programs that know nothing of this
-- would take the cursor's own row for one with a position: the constraint refuses the
-- epoch that they give it. owner has the lease until expires_at.
ALTER TABLE uow_outbox_cursor
	ADD COLUMN split      INT          NOT NULL DEFAULT 0,
	ADD COLUMN part_of    VARCHAR(255) COLLATE {bytes} NOT NULL DEFAULT '',
	ADD COLUMN owner      VARCHAR(255) COLLATE {bytes} NOT NULL DEFAULT '',
	ADD COLUMN expires_at DATETIME(6)  NULL,
	ADD CONSTRAINT uow_outbox_cursor_split CHECK (split = 0 OR epoch = 0);

-- The running relays of each cursor.
CREATE TABLE IF NOT EXISTS uow_outbox_member (
	`cursor`   VARCHAR(255) COLLATE {bytes} NOT NULL,
	member     VARCHAR(255) COLLATE {bytes} NOT NULL,
	expires_at DATETIME(6)  NOT NULL,
	PRIMARY KEY (`cursor`, member)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4;

-- The identity of the log, which a lease names.
ALTER TABLE uow_state ADD COLUMN log_id VARCHAR(64) COLLATE {bytes} NOT NULL DEFAULT '';

UPDATE uow_state SET log_id = UUID() WHERE log_id = '';
