package postgres

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/uow-go/uow/outbox"
)

// before is a connection to a schema as it was before a version.
func before(t *testing.T, schema string, version int) *pgx.Conn {
	t.Helper()
	c, err := pgx.Connect(t.Context(), needServer(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(context.Background()) })
	all, err := migrations.ReadDir("schema")
	if err != nil {
		t.Fatal(err)
	}
	sql := `CREATE SCHEMA ` + quote(schema) + `; SET search_path = ` + quote(schema) + `; ` + createVersions + `;`
	for i, file := range all[:version-1] {
		text, err := migrations.ReadFile("schema/" + file.Name())
		if err != nil {
			t.Fatal(err)
		}
		sql += fmt.Sprintf("%s; INSERT INTO uow_schema (version, name) VALUES (%d, %s);", text, i+1, literal(file.Name()))
	}
	if _, err := c.Exec(t.Context(), sql, pgx.QueryExecModeSimpleProtocol); err != nil {
		t.Fatal(err)
	}
	return c
}

// A log of one table becomes one of buckets: its rows stay where they are, positions go
// on, and the statements that running programs of an older version have prepared, of
// those who append and of relays, mean the new tables.
func TestOneTableBecomesBuckets(t *testing.T) {
	ctx, schema := t.Context(), newSchema(t)
	old := before(t, schema, 4)
	for name, sql := range map[string]string{
		"append": `INSERT INTO ` + quote(schema) + `.uow_outbox (id, topic, ordering_key, type, aggregatetype, aggregateid, sequence, created_at) VALUES ($1, 't', 'k', 'T', '', '', 0, now())`,
		"scan":   `SELECT position, id FROM ` + quote(schema) + `.uow_outbox WHERE position > $1 ORDER BY position LIMIT 10`,
		"locks": `SELECT virtualtransaction FROM pg_locks WHERE locktype = 'relation' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
			AND relation = ` + literal(quote(schema)+".uow_outbox") + `::regclass AND mode = 'RowExclusiveLock' AND granted`,
		"trim": `DELETE FROM ` + quote(schema) + `.uow_outbox WHERE position = $1`,
	} {
		if _, err := old.Prepare(ctx, name, sql); err != nil {
			t.Fatal(err)
		}
	}
	run := func(name string, args ...any) (n int64) {
		t.Helper()
		tag, err := old.Exec(ctx, name, args...)
		if err != nil {
			t.Fatal(err)
		}
		return tag.RowsAffected()
	}
	one := func(sql string) (value string) {
		t.Helper()
		if err := old.QueryRow(ctx, sql, pgx.QueryExecModeSimpleProtocol).Scan(&value); err != nil {
			t.Fatal(err)
		}
		return value
	}
	for _, id := range []string{"a", "b", "c", "d"} {
		run("append", id)
	}
	run("scan", 0)
	run("locks")
	run("trim", 4) // the position must not come back
	file := one(`SELECT pg_relation_filenode('uow_outbox')::text`)

	f := open(t, needServer(t), Options{Schema: schema})
	if now := one(`SELECT pg_relation_filenode('uow_outbox_0')::text`); now != file {
		t.Error("the table was written anew")
	}
	run("append", "e")
	f.Must(f.Tx().Commit(ctx, appending("1", "f")))
	if got, next := f.Drain(0); !slices.Equal(got, []string{"a", "b", "c", "e", "f"}) || next != 6 {
		t.Errorf("got %v up to %d", got, next)
	}
	if n := run("scan", 3); n != 2 {
		t.Errorf("the old relay reads %d messages, want 2", n)
	}
	if n := run("trim", 5); n != 1 {
		t.Errorf("the old relay has trimmed %d messages, want 1", n)
	}
	unit := f.Tx()
	f.Must(unit.Flush(ctx, appending("2", "g")))
	if n := run("locks"); n != 1 {
		t.Errorf("the old relay sees %d who append, want 1", n)
	}
	f.Must(unit.Rollback())
	if n := run("locks"); n != 0 {
		t.Errorf("the old relay sees %d who append, want none", n)
	}
}

// Roles may do what they could do before, and what has taken its place.
func TestRolesKeepTheirPrivileges(t *testing.T) {
	ctx, schema := t.Context(), newSchema(t)
	admin, role := before(t, schema, 4), fmt.Sprintf("uow_test_%d", os.Getpid())
	script := func(sql string) {
		t.Helper()
		if _, err := admin.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol); err != nil {
			t.Fatalf("%v in %s", err, sql)
		}
	}
	script(`CREATE ROLE ` + role)
	t.Cleanup(func() {
		_, err := admin.Exec(context.Background(), `ROLLBACK; RESET ROLE; DROP OWNED BY `+role+`; DROP ROLE `+role, pgx.QueryExecModeSimpleProtocol)
		if err != nil {
			t.Error(err)
		}
	})
	script(`GRANT USAGE ON SCHEMA ` + schema + ` TO ` + role + `; GRANT SELECT, INSERT, DELETE ON uow_outbox TO ` + role)
	open(t, needServer(t), Options{Schema: schema})
	script(`SET ROLE ` + role)
	script(`INSERT INTO uow_outbox (id, topic, ordering_key, type, aggregatetype, aggregateid, sequence, created_at) VALUES ('a', '', '', '', '', '', 0, now())`)
	script(`SELECT id FROM uow_outbox; SELECT id FROM uow_outbox_3; DELETE FROM uow_outbox_0`)
	script(`SELECT setval('uow_outbox_bucket', last_value) FROM uow_outbox_bucket`)
	script(`BEGIN; LOCK TABLE uow_outbox_2 IN ACCESS EXCLUSIVE MODE; TRUNCATE uow_outbox_2; COMMIT`)
	if _, err := admin.Exec(ctx, `UPDATE uow_outbox SET id = ''`); code(err) != "42501" {
		t.Errorf("an update: got %v, want that it is refused", err)
	}
}

// A log that is partitioned in another way is refused, since those who append might not
// be seen.
func TestOtherPartitionsAreRefused(t *testing.T) {
	for name, sql := range map[string]string{
		"a bucket is missing": `ALTER TABLE uow_outbox DETACH PARTITION uow_outbox_3`,
		"one is another's":    `ALTER TABLE uow_outbox DETACH PARTITION uow_outbox_3; CREATE TABLE mine PARTITION OF uow_outbox FOR VALUES IN (3)`,
		"there is one more":   `CREATE TABLE uow_outbox_4 PARTITION OF uow_outbox FOR VALUES IN (4)`,
		"one is partitioned": `ALTER TABLE uow_outbox DETACH PARTITION uow_outbox_3; DROP TABLE uow_outbox_3;
			CREATE TABLE uow_outbox_3 PARTITION OF uow_outbox FOR VALUES IN (3) PARTITION BY LIST (topic)`,
		"one gives positions":   `ALTER TABLE uow_outbox_1 ALTER COLUMN position SET DEFAULT nextval('uow_outbox_position')`,
		"the sequence is loose": `ALTER SEQUENCE uow_outbox_position OWNED BY NONE`,
	} {
		t.Run(name, func(t *testing.T) {
			o := Options{Schema: newSchema(t)}
			f := open(t, needServer(t), o)
			script(t, f.store, `SET search_path = `+f.store.schema+`; `+sql+`; RESET search_path`)
			if _, err := o.OpenStore(t.Context(), needServer(t)); !errors.Is(err, ErrServer) {
				t.Errorf("got %v, want ErrServer", err)
			}
		})
	}
}

// Nothing can be appended past uow_outbox, whose lock tells of it.
func TestBucketsTakeNoInserts(t *testing.T) {
	f := open(t, needServer(t), Options{})
	for _, name := range bucketNames() {
		_, err := f.store.pool.Exec(t.Context(), `INSERT INTO `+f.store.schema+`.`+name+` (id, topic, ordering_key, type, aggregatetype, aggregateid, sequence, created_at, bucket)
			VALUES ('a', '', '', '', '', '', 0, now(), `+name[len(name)-1:]+`)`)
		if code(err) != "23502" {
			t.Errorf("%s: got %v, want that there is no position", name, err)
		}
	}
	if stats, err := f.store.Stats(t.Context()); stats.Messages != 0 || err != nil {
		t.Error(stats, err)
	}
}

// TestLogIsReadByItsIndexes asks for the plans of what relays do all the time, as they
// are kept for any parameters: of a log that is new, and of a larger one.
func TestLogIsReadByItsIndexes(t *testing.T) {
	f := open(t, needServer(t), Options{})
	for _, when := range []string{"when it is new", "before it is analyzed", "after it was analyzed"} {
		checked := bucketNames()
		switch when {
		case "before it is analyzed":
			for i := range buckets - 1 {
				script(t, f.store, fmt.Sprintf(`SELECT setval('%s.uow_outbox_bucket', %d)`, f.store.schema, i))
				script(t, f.store, `INSERT INTO `+f.store.schema+`.uow_outbox (`+messageColumns+`)
					SELECT i, '', '', '', '', '', 0, NULL, now(), decode(repeat('00', 200), 'hex') FROM generate_series(1, 5000) i`)
			}
		case "after it was analyzed":
			script(t, f.store, `ANALYZE `+f.store.schema+`.uow_outbox`)
			checked = checked[:buckets-1] // the last is known to be empty
		}
		for name, query := range map[string]*statement{
			"scan":    f.store.sql.scan,
			"topics":  f.store.sql.scanTopics,
			"share":   f.store.sql.scanShare,
			"cursors": newStatement(f.store.cursorStats()),
			"end":     f.store.sqlf(`SELECT ` + end + ` FROM %[1]s.uow_state`),
			"held":    f.store.heldQuery("relay", outbox.HeldFilter{State: outbox.Retrying, Limit: 10}).statement,
			"replay":  f.store.replay("relay", []int64{1}, nil).statement,
		} {
			plan := f.explain(query)
			for _, bucket := range checked {
				if strings.Contains(plan, "Seq Scan on "+bucket) {
					t.Errorf("%s, %s:\n%s", name, when, plan)
					break
				}
			}
		}
	}
}

// explain returns the plan of a statement that is kept for any parameters.
func (f *fixture) explain(q *statement) string {
	f.Helper()
	c := f.session(`SET plan_cache_mode = force_generic_plan`)
	defer c.Close(f.Context())
	_, err := c.PgConn().Prepare(f.Context(), "q", q.sql, q.oids)
	f.Must(err)
	call := `EXPLAIN EXECUTE q`
	if n := len(q.oids); n > 0 {
		call += `(NULL` + strings.Repeat(", NULL", n-1) + `)`
	}
	rows, err := c.Query(f.Context(), call, pgx.QueryExecModeSimpleProtocol)
	f.Must(err)
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	f.Must(err)
	return strings.Join(lines, "\n")
}
