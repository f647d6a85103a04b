// Package outbox is the transactional outbox: messages that are committed
// together with the changes they tell of, and published afterwards by a relay.
//
// # The log
//
// A unit appends messages (Append, or events that its aggregates record); its
// commit stores them in an append-only log. Each gets a position, and positions
// follow the order of commits: when a message can be read, no message with a
// smaller position will ever appear. The log has no mutable columns. A message is
// deleted by Trim when every cursor has passed it and its retention is over; until
// then it can be replayed.
//
// The columns keep the meaning that Debezium's outbox event router expects (id,
// aggregatetype, aggregateid, type, payload), so that change data capture can read
// the same table.
//
// # Cursors and held messages
//
// A relay reads the log from its cursor, publishes, and moves the cursor: one
// conditional update for a whole batch, and nothing for each message. What can not
// be published is held: it gets a row beside the cursor, and so does every later
// message of its key, while the cursor moves on with all other keys:
//
//	           publish fails                    attempts used up, or refused for good
//	(cursor) ────────────────▶ Retrying ───────────────────────────────▶ Parked
//	                           │      ▲                                   │   │
//	          publish succeeds │      └──────────── Redrive ──────────────┘   │ Discard
//	                           ▼                                              ▼
//	                       delivered                                       given up
//
// Messages of the same key behind it are Waiting; the first of them becomes due
// when the one before is delivered or given up.
//
// # Partitions and leases
//
// A cursor can have several partitions, each with a position of its own, over which the
// messages are spread by their keys; what is held belongs to the cursor. A partition is
// moved by one relay at a time: the one that acquired it last. Acquire raises the
// partition's epoch and every Settle is conditional on it, so that a relay that was
// paused and woke up can not move it back, forward, or at all. A lease that expires by
// the database's clock keeps others from acquiring meanwhile. Package relay specifies
// the protocol.
//
// # Delayed messages
//
// A message with At is kept apart from the log until then, and appended to it by a relay
// when it is due (Promote). Messages without At are not touched by this. Undelay takes a
// delayed message back.
//
// # Events over time
//
// Messages live longer than the programs that wrote them: in the log, in brokers, in
// read models that are made anew. An event's type is a name that stays (EventType), and
// where its payload changes in a way that a consumer must know of, the type gets a
// version: its method EventVersion() int, which travels in the header "eventversion".
// Decoder brings events of older versions to that of today, by upcasters, one for each step,
// and refuses those of newer ones with ErrNewerEvent. New members that may be missing need no
// version.
package outbox
