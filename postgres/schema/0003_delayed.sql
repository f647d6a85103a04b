-- Messages that are not to be published before a time. A relay moves them to the log
-- when they are due, where they get their positions.
CREATE TABLE uow_outbox_delayed (
	seq           bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	due_at        timestamptz NOT NULL,
	id            text        NOT NULL,
	topic         text        NOT NULL,
	ordering_key  text        NOT NULL,
	type          text        NOT NULL,
	aggregatetype text        NOT NULL,
	aggregateid   text        NOT NULL,
	sequence      bigint      NOT NULL,
	headers       json,
	payload       bytea
);

CREATE INDEX uow_outbox_delayed_due ON uow_outbox_delayed (due_at, seq);
