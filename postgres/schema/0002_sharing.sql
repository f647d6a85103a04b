-- Relays share cursors: partitions, leases, members.
--
-- A cursor that is split into partitions has no position of its own: each partition
-- has a row, called as orders[2/8], that names the cursor it is part of. Programs that
-- know nothing of this would take the cursor's own row for one with a position: the
-- constraint refuses the epoch that they give it.
ALTER TABLE uow_outbox_cursor
	ADD COLUMN split      integer     NOT NULL DEFAULT 0,  -- how many partitions, if several
	ADD COLUMN part_of    text        COLLATE "C" NOT NULL DEFAULT '',
	ADD COLUMN owner      text        NOT NULL DEFAULT '', -- who has the lease,
	ADD COLUMN expires_at timestamptz,                     -- and until when; NULL: nobody
	ADD CONSTRAINT uow_outbox_cursor_split CHECK (split = 0 OR epoch = 0);

-- The running relays of each cursor.
CREATE TABLE uow_outbox_member (
	cursor     text        COLLATE "C" NOT NULL,
	member     text        COLLATE "C" NOT NULL,
	expires_at timestamptz NOT NULL,
	PRIMARY KEY (cursor, member)
) WITH (fillfactor = 20);

-- The identity of the log, which a lease names.
ALTER TABLE uow_state ADD COLUMN log text NOT NULL DEFAULT '';
UPDATE uow_state SET log = gen_random_uuid()::text;

-- Ends a transaction of a relay when there is a reason, which is the SQLSTATE: UW002 the
-- lease is not the newest, UW003 another number of partitions, UW004 the lease of
-- another stands, UW005 the log is not that of the lease, UW006 partitions at different
-- positions.
CREATE FUNCTION uow_refuse_relay(reason text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	IF reason IS NOT NULL THEN
		RAISE EXCEPTION USING ERRCODE = reason, MESSAGE = 'the relay is refused';
	END IF;
END $$;
