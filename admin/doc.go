// Package admin is the operations of an outbox and of inboxes: what an operator asks
// and does when something is not delivered. The command uow and Handler are made of it.
//
//	log, err := outbox.Of(db)
//	ops, err := admin.New(admin.Config{Log: log})
//	state, err := ops.Stats(ctx)                 // how far behind, and what holds it up
//	page, err := ops.List(ctx, admin.Query{Cursor: "default", Filter: admin.Filter{States: []admin.State{admin.Parked}}})
//	done, err := ops.Redrive(ctx, admin.Action{Cursor: "default", Filter: admin.Filter{Keys: []string{"orders/7"}}})
//
// Everything works beside running relays, which see what was changed at their next look
// (relay.Config.PollInterval) or when they are woken.
//
// # The states of a message
//
// At one cursor a message is in one of five:
//
//	pending    after the position of its partition: its relay has not looked at it, or
//	           is publishing it
//	retrying   held: publishing failed, and will be tried again
//	waiting    held behind an earlier message of its key
//	parked     held: attempts were used up, or the destination has refused it
//	delivered  none of these: published, discarded, or of a topic that the relay skips
//
// The log does not keep which of the three delivered was.
//
// # What the actions do
//
//	Redrive   parked → retrying at once, with its attempts forgotten
//	Discard   held → delivered, without having been published
//	Park      retrying, or waiting as the first of its key → parked;
//	          the last delivered of a key → parked, what follows waits
//	Replay    delivered → held, to be published again with the same id
//
// A replay leaves the position of the cursor where it is. Its messages are published
// beside the new ones; those of one key in order, and new messages of the key wait until
// they are through. It reaches back as far as the retention of the log (Log.Trim), and a
// replayed message is not trimmed before it has been delivered. Receivers that remember
// ids drop what they have had; that is what ids are for, so to have something processed
// anew, make the receiver forget first. A message that was discarded and is replayed
// arrives after later ones of its key.
//
// An action that fails half way has done what it says it has; doing it again does the
// rest. Each writes a line to Config.Logger, with who did it, what was selected and how
// much was changed, and one for each batch with the positions; a dry run one at Debug.
package admin
