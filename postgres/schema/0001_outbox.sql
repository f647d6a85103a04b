-- The log. Nothing in it is ever updated. That an aggregate's sequences are unique
-- follows from the check of its version in the same transaction. Positions are given
-- by the insert itself and never in advance (CACHE 1), on which the reading of the
-- log relies; they are never given twice. The names are those of Debezium's outbox
-- event router.
CREATE TABLE uow_outbox (
	position      bigint      GENERATED ALWAYS AS IDENTITY (CACHE 1) PRIMARY KEY,
	id            text        NOT NULL,
	topic         text        NOT NULL,
	ordering_key  text        NOT NULL,
	type          text        NOT NULL,
	aggregatetype text        NOT NULL,
	aggregateid   text        NOT NULL,
	sequence      bigint      NOT NULL,
	headers       json,       -- an object of strings
	created_at    timestamptz NOT NULL,
	payload       bytea
);

-- One small row for each relay, updated in place.
CREATE TABLE uow_outbox_cursor (
	name     text   COLLATE "C" PRIMARY KEY,
	position bigint NOT NULL,
	epoch    bigint NOT NULL
) WITH (fillfactor = 20);

CREATE TABLE uow_outbox_held (
	cursor   text        COLLATE "C" NOT NULL,
	position bigint      NOT NULL,
	key      text        COLLATE "C" NOT NULL,
	state    text        NOT NULL,
	attempts bigint      NOT NULL,
	next_at  timestamptz, -- NULL: no time
	reason   text        NOT NULL,
	since    timestamptz,
	PRIMARY KEY (cursor, position)
);

CREATE INDEX uow_outbox_held_state ON uow_outbox_held (cursor, state, next_at);
CREATE INDEX uow_outbox_held_key ON uow_outbox_held (cursor, key);
CREATE INDEX uow_outbox_held_position ON uow_outbox_held (position);

-- One row: the greatest epoch given to any lease, of cursors since dropped too; the
-- greatest position that was trimmed; the greatest unit whose marker was deleted.
CREATE TABLE uow_state (
	one      integer PRIMARY KEY CHECK (one = 1),
	epochs   bigint  NOT NULL DEFAULT 0,
	trimmed  bigint  NOT NULL DEFAULT 0,
	forgotten uuid
) WITH (fillfactor = 20);

INSERT INTO uow_state (one) VALUES (1);

-- The last version and sequence of rows that were deleted.
CREATE TABLE uow_tombstones (
	collection text   COLLATE "C" NOT NULL,
	id         text   COLLATE "C" NOT NULL,
	version    bigint NOT NULL,
	sequence   bigint NOT NULL,
	PRIMARY KEY (collection, id)
);

-- One row for each unit that was committed, written by its commit: who lost the
-- answer to a COMMIT asks here. fenced marks a unit that was asked for and was not
-- committed by then: its key is taken, and so it never can be.
CREATE TABLE uow_units (
	unit   uuid        PRIMARY KEY,
	at     timestamptz NOT NULL DEFAULT clock_timestamp(),
	fenced boolean     NOT NULL DEFAULT false
);

-- Ends a transaction that has found rows of another version than expected.
CREATE FUNCTION uow_refuse(collection text, ids text[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	RAISE EXCEPTION USING
		ERRCODE = 'UW001',
		MESSAGE = 'rows of ' || collection || ' do not have the expected version',
		DETAIL = to_json(ids[1:10])::text;
END $$;

-- Ends a settlement whose lease is not the cursor's newest.
CREATE FUNCTION uow_refuse_lease() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	RAISE EXCEPTION USING ERRCODE = 'UW002', MESSAGE = 'the lease is not the newest';
END $$;
