package mysql

import (
	"errors"
	"testing"
	"time"

	"github.com/uow-go/uow/outbox"
)

// A database of the first version is opened by this one while a relay of the first
// version runs: what it has goes on, and the old relay is fenced or harmless. Its
// statements are here as it sends them. A migration that was interrupted runs again.
func TestOldSchemaAndOldRelay(t *testing.T) {
	ctx := t.Context()
	f := open(t, "", Options{})
	run := func(query string) error {
		t.Helper()
		_, err := f.store.db.ExecContext(ctx, query)
		return err
	}
	must := func(queries ...string) {
		t.Helper()
		for _, query := range queries {
			if err := run(query); err != nil {
				t.Fatalf("%v in: %s", err, query)
			}
		}
	}
	acquire := []string{`UPDATE uow_state SET epochs = LAST_INSERT_ID(epochs + 1)`, `INSERT INTO uow_outbox_cursor (name, position, epoch)
		VALUES ('relay', 0, (SELECT epochs FROM uow_state)) ON DUPLICATE KEY UPDATE epoch = VALUES(epoch)`}
	message := func(id string) string {
		return `INSERT INTO uow_outbox (id, topic, ordering_key, type, aggregatetype, aggregateid, sequence, created_at)
			VALUES ('` + id + `', 't', 'k', 'T', '', '', 0, UTC_TIMESTAMP(6))`
	}
	// Back to the first version.
	must(`ALTER TABLE uow_outbox_cursor DROP CONSTRAINT uow_outbox_cursor_split, DROP COLUMN split, DROP COLUMN part_of, DROP COLUMN owner, DROP COLUMN expires_at`,
		`ALTER TABLE uow_state DROP COLUMN log_id`, `DROP TABLE uow_outbox_member`, `DROP TABLE uow_outbox_delayed`, `DELETE FROM uow_schema WHERE version > 1`)
	must(message("a"), message("b"), message("c"))
	must(acquire...) // its epoch is 1
	must(`UPDATE uow_outbox_cursor SET position = 2 WHERE name = 'relay' AND epoch = 1`,
		"INSERT INTO uow_outbox_held VALUES ('relay', 1, 'k', 'parked', 3, NULL, 'no', UTC_TIMESTAMP(6))")
	for range 2 {
		s, err := OpenStore(ctx, f.dsn)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		must(`DELETE FROM uow_schema WHERE version > 1`) // as if it died before it said so
	}
	s, err := OpenStore(ctx, f.dsn)
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
	must(acquire...) // the old relay starts again, and takes over at once, as it always did
	if err := s.Settle(ctx, lease, outbox.Settlement{Position: 3}); !errors.Is(err, outbox.ErrLeaseLost) {
		t.Errorf("after the old relay took over: got %v, want ErrLeaseLost", err)
	}
	must(message("d")) // and old programs go on appending
	if err := (outbox.Repartition{Cursor: "relay", Partitions: 4}).Run(ctx, s); err != nil {
		t.Fatal(err)
	}
	must(acquire[0])
	if err := run(acquire[1]); err == nil {
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
