-- Messages that are not to be published before a time. A relay moves them to the log
-- when they are due, where they get their positions. AUTOINCREMENT keeps the order of
-- those that are due at once.
CREATE TABLE uow_outbox_delayed (
	seq           INTEGER PRIMARY KEY AUTOINCREMENT,
	due_at        INTEGER NOT NULL,
	id            TEXT    NOT NULL,
	topic         TEXT    NOT NULL,
	ordering_key  TEXT    NOT NULL,
	type          TEXT    NOT NULL,
	aggregatetype TEXT    NOT NULL,
	aggregateid   TEXT    NOT NULL,
	sequence      INTEGER NOT NULL,
	headers       TEXT,
	payload       BLOB
) STRICT;

CREATE INDEX uow_outbox_delayed_due ON uow_outbox_delayed (due_at, seq);
