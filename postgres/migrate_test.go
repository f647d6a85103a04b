package postgres

import (
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/uow-go/uow/outbox"
)

// A database of the first version is opened by this one while a relay of the first
// version runs: what it has goes on, and the old relay is fenced or harmless. Its
// statements are here as it sends them.
func TestOldSchemaAndOldRelay(t *testing.T) {
	ctx, dsn, schema := t.Context(), needServer(t), newSchema(t)
	old := before(t, schema, 2)
	run := func(sql string, args ...any) (changed int64, err error) {
		t.Helper()
		mode := pgx.QueryExecModeExec
		if len(args) == 0 {
			mode = pgx.QueryExecModeSimpleProtocol
		}
		tag, err := old.Exec(ctx, sql, append([]any{mode}, args...)...)
		return tag.RowsAffected(), err
	}
	must := func(_ int64, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	const appendOne = `INSERT INTO uow_outbox (id, topic, ordering_key, type, aggregatetype, aggregateid, sequence, created_at) VALUES ($1, 't', 'k', 'T', '', '', 0, now())`
	const acquire = `WITH e AS (UPDATE uow_state SET epochs = epochs + 1 RETURNING epochs)
		INSERT INTO uow_outbox_cursor AS c (name, position, epoch) SELECT $1, 0, epochs FROM e
		ON CONFLICT (name) DO UPDATE SET epoch = excluded.epoch RETURNING c.position, c.epoch`
	const settle = `UPDATE uow_outbox_cursor SET position = $3 WHERE name = $1 AND epoch = $2`
	for _, id := range []string{"a", "b", "c"} {
		must(run(appendOne, id))
	}
	must(run(acquire, "relay")) // its epoch is 1
	must(run(settle, "relay", 1, 2))
	must(run(`INSERT INTO uow_outbox_held VALUES ('relay', 1, 'k', 'parked', 3, NULL, 'no', now())`))

	s, err := Options{Schema: schema}.OpenStore(ctx, dsn)
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
	must(run(acquire, "relay")) // it starts again, and takes over at once, as it always did
	if err := s.Settle(ctx, lease, outbox.Settlement{Position: 3}); !errors.Is(err, outbox.ErrLeaseLost) {
		t.Errorf("after the old relay took over: got %v, want ErrLeaseLost", err)
	}
	must(run(appendOne, "d")) // and old programs go on appending
	if err := (outbox.Repartition{Cursor: "relay", Partitions: 4}).Run(ctx, s); err != nil {
		t.Fatal(err)
	}
	if _, err := run(acquire, "relay"); err == nil {
		t.Error("the old relay got the cursor that has partitions")
	}
	if n, err := run(settle, "relay", 3, 4); n != 0 || err != nil {
		t.Errorf("the old relay moved the cursor that has partitions: %d, %v", n, err)
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
