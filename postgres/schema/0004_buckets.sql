-- The log in four buckets, of which one is written to at a time: a bucket whose
-- messages nobody needs any more is truncated, which leaves no dead rows. What there was
-- is bucket 0; its rows stay where they are, and are read once.
ALTER TABLE uow_outbox RENAME TO uow_outbox_0;
ALTER INDEX uow_outbox_pkey RENAME TO uow_outbox_0_pkey;
ALTER TABLE uow_outbox_0 ADD COLUMN bucket smallint NOT NULL DEFAULT 0;
ALTER TABLE uow_outbox_0 ALTER COLUMN bucket DROP DEFAULT;

-- Whether the commit of a message waits for the disk, so that nobody can see it before:
-- what its session says when it is appended. NULL of messages of before.
ALTER TABLE uow_outbox_0 ADD COLUMN synced boolean;

CREATE TABLE uow_outbox (LIKE uow_outbox_0) PARTITION BY LIST (bucket);

-- Positions go on from where they are. They are still given by the insert itself and
-- never in advance (CACHE 1), and when it has its lock on uow_outbox: that on the bucket
-- comes later, so that a bucket has no defaults and nothing can be inserted into it past
-- uow_outbox.
CREATE SEQUENCE uow_outbox_position CACHE 1 OWNED BY uow_outbox.position;

-- The bucket that is written to. Its value is read by each insert, and set without a
-- lock that an insert would wait for.
CREATE SEQUENCE uow_outbox_bucket MINVALUE 0 MAXVALUE 3 START 0 OWNED BY uow_outbox.bucket;

ALTER TABLE uow_outbox
	ALTER COLUMN position SET DEFAULT nextval('uow_outbox_position'),
	ALTER COLUMN synced SET DEFAULT current_setting('synchronous_commit') <> 'off',
	ALTER COLUMN bucket SET DEFAULT coalesce(pg_sequence_last_value('uow_outbox_bucket'), 0)::smallint;

CREATE TABLE uow_outbox_1 (LIKE uow_outbox_0 INCLUDING INDEXES);
CREATE TABLE uow_outbox_2 (LIKE uow_outbox_0 INCLUDING INDEXES);
CREATE TABLE uow_outbox_3 (LIKE uow_outbox_0 INCLUDING INDEXES);

DO $$
DECLARE
	given record;
BEGIN
	EXECUTE 'SELECT setval(''uow_outbox_position'', last_value, is_called) FROM ' || pg_get_serial_sequence('uow_outbox_0', 'position');

	-- Who may do something to the log may go on doing it.
	FOR given IN SELECT a.privilege_type AS what, coalesce(quote_ident(r.rolname), 'PUBLIC') AS whom
		FROM pg_class c, aclexplode(coalesce(c.relacl, acldefault('r', c.relowner))) a LEFT JOIN pg_roles r ON r.oid = a.grantee
		WHERE c.oid = 'uow_outbox_0'::regclass
	LOOP
		EXECUTE format('GRANT %s ON uow_outbox, uow_outbox_1, uow_outbox_2, uow_outbox_3 TO %s', given.what, given.whom);
		IF given.what = 'INSERT' THEN
			EXECUTE format('GRANT USAGE ON SEQUENCE uow_outbox_position, uow_outbox_bucket TO %s', given.whom);
		ELSIF given.what = 'DELETE' THEN
			EXECUTE format('GRANT TRUNCATE ON uow_outbox_0, uow_outbox_1, uow_outbox_2, uow_outbox_3 TO %s', given.whom);
			EXECUTE format('GRANT SELECT, UPDATE ON SEQUENCE uow_outbox_bucket TO %s', given.whom);
		END IF;
	END LOOP;
END $$;

ALTER TABLE uow_outbox_0 ALTER COLUMN position DROP IDENTITY;

ALTER TABLE uow_outbox
	ATTACH PARTITION uow_outbox_0 FOR VALUES IN (0);
ALTER TABLE uow_outbox
	ATTACH PARTITION uow_outbox_1 FOR VALUES IN (1);
ALTER TABLE uow_outbox
	ATTACH PARTITION uow_outbox_2 FOR VALUES IN (2);
ALTER TABLE uow_outbox
	ATTACH PARTITION uow_outbox_3 FOR VALUES IN (3);
