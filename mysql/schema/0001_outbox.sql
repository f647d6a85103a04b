-- Statements are separated by lines that end with a semicolon. All of them can run
-- again, since the server commits each by itself. {bytes} is the collation by which
-- strings are ordered by bytes and never padded.

-- The log. Nothing in it is ever updated. That an aggregate's sequences are unique
-- follows from the check of its version in the same transaction. A position is
-- given by the insert itself, while its transaction holds a lane (uow_lanes), on
-- which the reading of the log relies. The names are those of Debezium's outbox
-- event router.
CREATE TABLE IF NOT EXISTS uow_outbox (
	position      BIGINT       NOT NULL AUTO_INCREMENT PRIMARY KEY,
	id            VARCHAR(255) COLLATE {bytes} NOT NULL,
	topic         VARCHAR(512) COLLATE {bytes} NOT NULL,
	ordering_key  VARCHAR(512) COLLATE {bytes} NOT NULL,
	type          VARCHAR(255) COLLATE {bytes} NOT NULL,
	aggregatetype VARCHAR(255) COLLATE {bytes} NOT NULL,
	aggregateid   VARCHAR(255) COLLATE {bytes} NOT NULL,
	sequence      BIGINT       NOT NULL,
	headers       MEDIUMTEXT   COLLATE {bytes} NULL, -- a JSON object of strings
	created_at    DATETIME(6)  NOT NULL,             -- UTC, as all times
	payload       LONGBLOB     NULL
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4;

-- One small row for each relay, updated in place.
CREATE TABLE IF NOT EXISTS uow_outbox_cursor (
	name     VARCHAR(255) COLLATE {bytes} NOT NULL PRIMARY KEY,
	position BIGINT       NOT NULL,
	epoch    BIGINT       NOT NULL
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4;

CREATE TABLE IF NOT EXISTS uow_outbox_held (
	`cursor` VARCHAR(255) COLLATE {bytes} NOT NULL,
	position BIGINT       NOT NULL,
	`key`    VARCHAR(512) COLLATE {bytes} NOT NULL,
	state    VARCHAR(16)  COLLATE {bytes} NOT NULL,
	attempts BIGINT       NOT NULL,
	next_at  DATETIME(6)  NULL, -- NULL: no time
	reason   MEDIUMTEXT   COLLATE {bytes} NOT NULL,
	since    DATETIME(6)  NULL,
	PRIMARY KEY (`cursor`, position),
	KEY uow_outbox_held_state (`cursor`, state, next_at),
	KEY uow_outbox_held_key (`cursor`, `key`(255)),
	KEY uow_outbox_held_position (position)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4;

-- One row: the greatest epoch given to any lease, of cursors since dropped too; the
-- greatest position that was trimmed; the greatest unit whose marker was deleted.
CREATE TABLE IF NOT EXISTS uow_state (
	one       TINYINT    NOT NULL PRIMARY KEY,
	epochs    BIGINT     NOT NULL DEFAULT 0,
	trimmed   BIGINT     NOT NULL DEFAULT 0,
	forgotten BINARY(16) NULL
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4;

INSERT IGNORE INTO uow_state (one) VALUES (1);

-- The last version and sequence of rows that were deleted.
CREATE TABLE IF NOT EXISTS uow_tombstones (
	collection VARCHAR(48)  COLLATE {bytes} NOT NULL,
	id         VARCHAR(255) COLLATE {bytes} NOT NULL,
	version    BIGINT       NOT NULL,
	sequence   BIGINT       NOT NULL,
	PRIMARY KEY (collection, id)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4;

-- One row for each unit that was committed, written by its commit: who lost the
-- answer to a COMMIT asks here. fenced marks a unit that was asked for and was not
-- committed by then: its key is taken, and so it never can be. The key is no PRIMARY
-- KEY so that the server's errors name it.
CREATE TABLE IF NOT EXISTS uow_units (
	unit   BINARY(16)  NOT NULL,
	at     DATETIME(6) NOT NULL,
	lane   SMALLINT    NOT NULL, -- of a unit that has appended messages
	fenced BOOLEAN     NOT NULL DEFAULT FALSE,
	UNIQUE KEY uow_units_unit (unit)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4;

-- What transactions that append messages share a lock on, each on its connection's
-- lane: who finds a lane free knows that nobody who was in it then is still open.
CREATE TABLE IF NOT EXISTS uow_lanes (
	lane SMALLINT NOT NULL PRIMARY KEY
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4;

INSERT IGNORE INTO uow_lanes (lane) VALUES {lanes};
