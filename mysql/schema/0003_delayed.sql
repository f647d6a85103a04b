-- Messages that are not to be published before a time. A relay moves them to the log
-- when they are due, where they get their positions.
CREATE TABLE IF NOT EXISTS uow_outbox_delayed (
	seq           BIGINT       NOT NULL AUTO_INCREMENT PRIMARY KEY,
	due_at        DATETIME(6)  NOT NULL,
	id            VARCHAR(255) COLLATE {bytes} NOT NULL,
	topic         VARCHAR(512) COLLATE {bytes} NOT NULL,
	ordering_key  VARCHAR(512) COLLATE {bytes} NOT NULL,
	type          VARCHAR(255) COLLATE {bytes} NOT NULL,
	aggregatetype VARCHAR(255) COLLATE {bytes} NOT NULL,
	aggregateid   VARCHAR(255) COLLATE {bytes} NOT NULL,
	sequence      BIGINT       NOT NULL,
	headers       MEDIUMTEXT   COLLATE {bytes} NULL,
	payload       LONGBLOB     NULL,
	KEY uow_outbox_delayed_due (due_at, seq)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4;
