// Package inbox is the consumer's side of an outbox: it lets a message that is
// delivered at least once take effect once (the idempotent consumer).
//
//	records := inbox.NewRecords()
//	db, err := sqlite.Open(ctx, "mail.db", uow.Config{
//		Collections: append(records.Collections(), letters),
//	})
//	…
//	mailer, err := inbox.New(db, records, inbox.Config{Consumer: "mailer"})
//	…
//	receipt, err := mailer.Handle(ctx, message, func(ctx context.Context, u *uow.Unit) error {
//		return letters.In(u).Add(…) // committed with the mark, or not at all
//	})
//	if err == nil {
//		// acknowledge: it was handled, now or before (receipt.Duplicate)
//	}
//
// The effects must be in the unit's database. What handling does elsewhere, a mail that
// is sent, happens as often as it is tried; let the unit append a message for it, and
// have that delivered with its id.
//
// # The mark
//
// A message is known by (consumer, source, id). Its mark is a row with that key, which
// is inserted by the unit that has the effects, so that both are there or neither is.
// A delivery is one unit:
//
//  1. Deliveries of one key take turns within the process (Inbox).
//  2. The unit reads, by one question: the mark, what the consumer has forgotten, and the
//     place of the stream.
//  3. When there is a mark, it is a duplicate: the result that was kept is returned.
//  4. When there is none, and the message is not newer than marks that were deleted, it is
//     refused: ErrTooOld. When it is not the next of its stream and disorder is refused,
//     it is refused: ErrGap or ErrLate.
//  5. The mark is inserted, and the place of the stream moved. With BeforeHandling this is
//     sent to the database now, inside the unit.
//  6. The handler runs, and the unit commits.
//
// Two deliveries in different processes both find no mark. The key is unique, so that one
// of the two inserts fails: at once where the other is committed, and otherwise, on
// databases of several processes, it waits until the other unit ends. With
// BeforeHandling that is before the handler runs, so that never both do: the second
// waits, its insert fails, and its next attempt finds the mark. (Where the first was rolled
// back, the second goes on.) With AtCommit it is the commit that fails, after the
// handler has run, and undoes what it did. In both cases the loser returns as a duplicate.
// Stores of one process (memory, files) do not wait in step 5, and need not: step 1 is
// enough there. Where the database itself ends the first unit while its handler runs (a
// serialization failure, a session that is killed), the second goes on at once; the first
// handler may not know yet, and whatever it does by its unit is void.
//
// When a process dies, its transaction is rolled back, and the mark with it. When the
// answer to a commit is lost (uow.ErrInDoubt), the next delivery finds the mark, or it
// inserts it, and the transaction that may still be on its way fails by the key.
//
// # Where messages come from
//
// What a handler appends, or records, tells what it comes from: its header
// "causationid" is the id of the message that was handled, and "correlationid" is taken
// over from it, or its id where it has none, so that all that one request has set off
// can be found.
//
// # What a claim costs
//
// The unit of step 5 has written, and holds what its database locks for writes while the
// handler runs. On SQLite that is the only writer, and units that hold it are not
// committed in groups: measured with 16 deliveries at once, of handlers that do little,
// AtCommit handles six times as many as BeforeHandling; one at a time there is no great
// difference. On servers it is one more round trip, and the unit keeps its snapshot to
// the end, so that rows which others change meanwhile are conflicts; on PostgreSQL
// AtCommit was measured to be no faster. So a consumer that is the only process of its
// SQLite file takes AtCommit, and others have little reason to.
//
// # Forgetting
//
// Marks are rows, and must go some time. Inbox.Trim deletes those that are older than
// Config.Horizon, counted from the time of handling, or of the message where that is
// later. Choose the horizon by the broker: longer than it keeps messages or tries to
// deliver them, dead letters and replays by hand included. What was deleted
// is remembered as one time for each consumer: that of the newest message of a deleted mark.
// A message without a mark that is newer was never handled; about any other nobody
// knows, and it is refused with ErrTooOld. So a horizon that is too short, or was raised,
// costs messages that are refused, and none that take effect twice. After a long standstill of
// the consumer what has queued is still newer than all marks, and is handled. This needs
// Message.Time; a message without it is handled again once its mark is gone.
//
// It holds while no unit takes longer than the horizon, and messages keep their time in
// each delivery. Clocks of producers matter where they are behind by more than the
// horizon: their messages look too old.
//
// # Order
//
// Events of an aggregate are numbered in their stream, 1, 2, 3 … without gaps. With
// ReportDisorder or RefuseDisorder the inbox keeps the greatest number that it has
// handled for each stream (consumer, source, stream), in the same unit, so that a loss and
// a reorder are seen whatever relay and broker do:
//
//	number         is          ReportDisorder         RefuseDisorder
//	last + 1       the next    handled                handled
//	above that     a gap       handled, Receipt.Gap   ErrGap: deliver it later again
//	last or below  late        handled, Receipt.Late  ErrLate: it will never be the next
//
// A number that has its mark is a duplicate, in all rows. Gaps that are filled later by
// late messages are not kept. Skip lets a stream go on over a message that
// is lost. There is one record for each stream, and it is never deleted.
//
// # Sources
//
// "Idempotent Receiver" of Hohpe and Woolf's Enterprise Integration Patterns; Pat
// Helland, "Life beyond Distributed Transactions" (2007), on remembering messages with
// the entity that they change.
package inbox
