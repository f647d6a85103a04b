package sqlite

import (
	"database/sql"
	"errors"
	"testing"
	"time"

	"github.com/uow-go/uow/outbox"
)

// A file of the first version is opened by this one while a relay of the first version
// runs: what it has goes on, and the old relay is fenced or harmless. Its statements
// are here as it sends them.
func TestOldSchemaAndOldRelay(t *testing.T) {
	ctx, path := t.Context(), temporary(t)
	old, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	first, err := migrations.ReadFile("schema/0001_outbox.sql")
	if err != nil {
		t.Fatal(err)
	}
	run := func(query string, args ...any) (changed int64, err error) {
		t.Helper()
		result, err := old.ExecContext(ctx, query, args...)
		if err != nil {
			return 0, err
		}
		return result.RowsAffected()
	}
	must := func(_ int64, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(run(`PRAGMA journal_mode = WAL`))
	must(run(createVersions + `; ` + string(first) + `; INSERT INTO uow_schema VALUES (1, 'schema/0001_outbox.sql', 0)`))
	const appendOne = `INSERT INTO uow_outbox (id, topic, ordering_key, type, aggregatetype, aggregateid, sequence, created_at) VALUES (?, 't', 'k', 'T', '', '', 0, 0)`
	const settle = `UPDATE uow_outbox_cursor SET position = ?3 WHERE name = ?1 AND epoch = ?2`
	acquire := func() (int64, error) {
		t.Helper()
		must(run(`UPDATE uow_outbox_state SET epochs = epochs + 1`))
		return run(`INSERT INTO uow_outbox_cursor (name, position, epoch) SELECT 'relay', 0, epochs FROM uow_outbox_state WHERE true
			ON CONFLICT (name) DO UPDATE SET epoch = excluded.epoch`)
	}
	for _, id := range []string{"a", "b", "c"} {
		must(run(appendOne, id))
	}
	must(acquire()) // its epoch is 1
	must(run(settle, "relay", 1, 2))
	must(run(`INSERT INTO uow_outbox_held VALUES ('relay', 1, 'k', 'parked', 3, NULL, 'no', 0)`))

	s, err := OpenStore(ctx, path)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	claim := outbox.Claim{Cursor: "relay", Owner: "new", TTL: time.Hour}
	lease, err := s.Acquire(ctx, claim)
	if err != nil || lease.Position != 2 || lease.Epoch != 2 || lease.Log == "" {
		t.Fatalf("the old cursor: got %+v, %v, want it at position 2 with epoch 2", lease, err)
	}
	if held, err := s.Held(ctx, "relay", outbox.HeldFilter{}); len(held) != 1 || err != nil {
		t.Errorf("the old cursor holds %+v, %v, want one message", held, err)
	}
	if n, err := run(settle, "relay", 1, 3); n != 0 || err != nil {
		t.Errorf("the old relay moved the cursor: %d, %v", n, err)
	}
	must(acquire()) // it starts again, and takes over at once, as it always did
	if err := s.Settle(ctx, lease, outbox.Settlement{Position: 3}); !errors.Is(err, outbox.ErrLeaseLost) {
		t.Errorf("after the old relay took over: got %v, want ErrLeaseLost", err)
	}
	must(run(appendOne, "d")) // and old programs go on appending
	if err := (outbox.Repartition{Cursor: "relay", Partitions: 4}).Run(ctx, s); err != nil {
		t.Fatal(err)
	}
	if _, err := acquire(); err == nil {
		t.Error("the old relay got the cursor that has partitions")
	}
	claim.Partition, claim.Partitions = outbox.Partition("k", "", 4), 4
	if lease, err = s.Acquire(ctx, claim); err != nil || lease.Position != 2 {
		t.Fatalf("a partition of the old cursor: got %+v, %v", lease, err)
	}
	messages, _, err := s.Scan(ctx, outbox.Query{After: lease.Position, Limit: 10, Share: lease.Of()})
	if len(messages) != 2 || err != nil {
		t.Errorf("the messages of old programs have a partition: got %v, %v, want two", messages, err)
	}
}
