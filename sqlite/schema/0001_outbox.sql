-- The log. Nothing in it is ever updated. That an aggregate's sequences are unique
-- follows from the check of its version in the same transaction; a unique index
-- that says so again would cost a quarter of the throughput. A position is one
-- more than the greatest there is; that none is given twice after the newest
-- messages were trimmed is seen to by uow_outbox_state.last, since AUTOINCREMENT
-- would write one more page in every commit. The payload is last, so that a scan of
-- the other columns need not read it.
CREATE TABLE uow_outbox (
	position      INTEGER PRIMARY KEY,
	id            TEXT    NOT NULL,
	topic         TEXT    NOT NULL,
	ordering_key  TEXT    NOT NULL,
	type          TEXT    NOT NULL,
	aggregatetype TEXT    NOT NULL,
	aggregateid   TEXT    NOT NULL,
	sequence      INTEGER NOT NULL,
	headers       TEXT,             -- a JSON object of strings
	created_at    INTEGER NOT NULL, -- microseconds since 1970, UTC, as all times
	payload       BLOB
) STRICT;

CREATE TABLE uow_outbox_cursor (
	name     TEXT    PRIMARY KEY,
	position INTEGER NOT NULL,
	epoch    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE uow_outbox_held (
	cursor   TEXT    NOT NULL,
	position INTEGER NOT NULL,
	key      TEXT    NOT NULL,
	state    TEXT    NOT NULL,
	attempts INTEGER NOT NULL,
	next_at  INTEGER, -- NULL: no time
	reason   TEXT    NOT NULL,
	since    INTEGER,
	PRIMARY KEY (cursor, position)
) STRICT, WITHOUT ROWID;

CREATE INDEX uow_outbox_held_state ON uow_outbox_held (cursor, state, next_at);
CREATE INDEX uow_outbox_held_key ON uow_outbox_held (cursor, key);
CREATE INDEX uow_outbox_held_position ON uow_outbox_held (position);

-- One row: the greatest epoch given to any lease, of cursors since dropped too,
-- how many messages were trimmed, which makes counting the rest cheap, and the
-- greatest position that was.
CREATE TABLE uow_outbox_state (
	one     INTEGER PRIMARY KEY CHECK (one = 1),
	epochs  INTEGER NOT NULL,
	trimmed INTEGER NOT NULL,
	last    INTEGER NOT NULL
) STRICT;

INSERT INTO uow_outbox_state VALUES (1, 0, 0, 0);

-- The last version and sequence of rows that were deleted.
CREATE TABLE uow_tombstones (
	collection TEXT    NOT NULL,
	id         TEXT    NOT NULL,
	version    INTEGER NOT NULL,
	sequence   INTEGER NOT NULL,
	PRIMARY KEY (collection, id)
) STRICT, WITHOUT ROWID;

-- What each collection's index columns mean: their SQL type does not tell.
CREATE TABLE uow_indexes (
	collection TEXT    NOT NULL,
	name       TEXT    NOT NULL,
	kind       TEXT    NOT NULL,
	is_unique  INTEGER NOT NULL,
	PRIMARY KEY (collection, name)
) STRICT, WITHOUT ROWID;
