// Package relay publishes the messages of an outbox: it reads the log in commit
// order, hands batches to a Publisher, and records what became of them.
//
//	log, err := outbox.Of(db)
//	r, err := relay.New(relay.Config{Log: log, Publisher: publisher})
//	err = r.Run(ctx) // until ctx ends
//
// This comment specifies the protocol. Package outbox says what is stored.
//
// # What is promised
//
// Delivery is at least once: each committed message is published until the
// publisher has confirmed it, or it is parked, with its reason, for an operator to
// decide. A message may be published again after a failure, always with the same
// id. A receiver that must not do things twice remembers the ids; no relay can
// promise that for it, since the confirmation of a message can always be lost.
//
// Messages with the same ordering key are published in commit order. What may
// happen is that some of them, already published, are published once more, from
// an earlier one on: 1 2 3 2 3 4. A receiver that drops the ids that it has seen
// sees 1 2 3 4. This holds across retries, crashes and several relays, and for
// publishers that keep the contract of Publisher.
//
// Nothing is published before its commit, since Log.Scan returns only what is
// committed, and nothing is forgotten before the publisher has confirmed it, since
// the cursor moves only after its answer.
//
// A message that can't be delivered stops the messages of its key and no others.
//
// # The happy path
//
// A batch costs one Scan, one Publish and one Settle, which moves the cursor to
// the batch's end; nothing is written for a single message. A commit of the same
// process wakes the relay (Log.Subscribe), commits of others are found by polling,
// or by Wake where somebody carries the signal.
//
// # Held keys
//
// A message that was not confirmed is held: the Settle that moves the cursor past
// it adds it to the cursor's held messages as retrying, or as parked when it was
// refused for good or has used up its attempts. Messages behind it in its key are
// held as waiting, those of the same batch and those that later scans meet, so
// that they cost no attempts. All other keys go on.
//
// The first message of a held key is published again when it is due, by itself.
// When it is delivered the rest of the key follows at once, in order, as many as
// fit a batch, until one fails, which is then the first. A key that holds nothing
// is free again. Messages without a key are held each by itself.
//
// An attempt whose answer was lost (Unknown) counts as one that failed: the
// message may have been stored, nobody may pass it, and it is sent again. A
// message that was not tried has used up no attempt. When the publisher as a whole
// is Unavailable nothing is held and no attempt is counted: the cursor waits.
//
// New messages and held ones are published side by side: one batch of new ones,
// and up to Config.Retries of held ones, never two batches with the same key. A
// key that hangs therefore holds up new messages of other keys once, for
// PublishTimeout at most, and is then held, beside them. So is a key that is slow
// though it works, until it has caught up.
//
// The relay keeps in memory which keys are held and when they are due, not the
// messages. It reads this from the log when it starts, when it polls and after
// Wake; the log is right wherever they differ. Operators may redrive, discard, park and replay
// beside a running relay: what it learns late is that a message is due, or that
// one it has just tried was discarded. One that is parked while it is tried is what
// the attempt makes of it. What is replayed is held as waiting, or due where it has no
// key, before or behind whatever its key holds, and published once its key is not being
// published otherwise; one behind it that was parked stays so.
//
// # Lease and epoch
//
// Run acquires the cursor, which raises its epoch and ends the lease of whoever
// had it: the database decides, by its own order of events, and no clock is
// involved. Every Settle is conditional on the epoch. A relay that was paused,
// cut off, or left behind by a restart can therefore change nothing; its next
// Settle fails with ErrLeaseLost, it cancels what it is publishing, and Run
// returns. It asks for its lease in every poll, and before publishing when it has
// not heard of it for two polls, which is what a paused process finds.
//
// The lease does not reach into the broker: what the paused relay was just
// publishing may arrive late. It is a repetition, in order, of what the new relay
// publishes too, since both begin at the same position: the first arrivals are in
// commit order.
//
// To run a relay in several processes, let an election choose one and start Run in
// it. Runs that are simply restarted by turns are safe, but take the cursor from
// each other.
//
// # Crashes
//
// Where a relay may die, and what the next one does, which begins at the cursor's
// position with the held messages of the log:
//
//   - Before Publish, or before any message was stored: it publishes them.
//   - After some were stored, before Settle: it publishes the batch again, from
//     its beginning; those that were stored are repeated.
//   - During Settle: it is one transaction, so one of its neighbours is the case.
//     A relay that lives on and only lost the answer repeats the Settle, which
//     changes nothing the second time.
//   - After Settle: nothing is repeated.
//   - While it tries held messages again: they are still held, with the attempts
//     of before; those that were stored are repeated.
//   - After a key's first message was delivered, before the next ones: the first
//     one held is then called waiting, and is due.
//   - While it drains: as above; a drain that ends in time leaves nothing to
//     repeat.
//
// # What is not promised
//
// Order between keys, or of messages without a key. Order in a publisher that
// stores a message of a key though an earlier one failed (the relay reports it).
// An end to repetitions while the log is down. A bound on how often a message is
// published, other than MaxAttempts for those that fail.
//
// # Sources
//
// The transactional outbox and the polling publisher are from Richardson,
// Microservices Patterns (2018), chapter 3. The epoch is a fencing token: Kleppmann,
// "How to do distributed locking" (2016). Holding a key behind its poison
// message is the sequenced dead-letter queue of Axon Framework. Full jitter:
// Brooker, "Exponential Backoff and Jitter" (AWS, 2015).
package relay
