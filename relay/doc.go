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
// the batch's end; nothing is written for a single message. They overlap where
// more is waiting: while a batch is being published the next one is scanned, and when it
// has been, its Publish begins as soon as the one before has been answered, beside its
// Settle. There is one Publish
// of new messages at a time, and batches are settled in order. A commit of the same
// process wakes the relay (Log.Subscribe), commits of others are found by polling,
// or by Wake where somebody carries the signal.
//
// What this process has just appended is scanned from memory where the store can do that
// (Query.Recent). A relay asks for no more than that only as long as it has seen the log's end and has
// since heard of nothing else: neither of another process, nor of a gap that closed, nor its own poll,
// nor has it gone back to messages that it had scanned.
//
// With Config.Pace batches that are not full begin so long one after the other. They are
// larger then, and cost the log and the broker less.
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
// New messages and held ones are published side by side: in each partition one batch of
// new ones, and up to Config.Retries of held ones, never two batches with the same key. A
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
// published otherwise; one behind it that was parked stays so. A key that delivers normally is
// stopped by parking its last message that was delivered, which is held again like that.
//
// # Partitions and sharing
//
// A cursor has Config.Partitions partitions. A message belongs to one by its ordering
// key, or by its id when it has no key (outbox.Partition), so that a key is always one
// partition's, and messages without a key never wait for each other. Each partition has
// a position, an epoch and a lease of its own; what is held belongs to the cursor, and a
// partition's owner sees only its part. Owners publish side by side. A relay that has
// several reads the log once for all of those that are at the same place, and keeps what it
// has read for each until that has its turn.
//
// Relays with the same cursor are its members, and share:
//
//   - Join: a relay says that it is there, and is told who is (Log.Join). A membership
//     expires after 7/10 of Config.Lease, and is renewed each 1/5.
//   - Share: from the list of members alone each works out the same partitions for
//     each: rendezvous hashing, with shares that differ by one at most. Lists may
//     differ for a while. That costs time and no correctness: membership gives no
//     right to anything.
//   - Acquire: a relay acquires the partitions of its share that are free. One that
//     another still owns is asked for again each 1/40 of Config.Lease.
//   - Hand over: a relay drains a partition that is another's share (what is under way
//     is finished and settled, nothing new begun), and releases it.
//   - Leave: a relay that is stopped ends its membership, drains, and releases.
//
// What a relay leaves that dies is free when its leases expire, and shared anew when its
// membership does, so that others have it within Config.Lease; a relay that is new has
// its share within Config.Lease too, plus what a batch takes.
//
// # The states of a partition
//
// For a relay, a partition is in one of these states. The names are those of the
// model's.
//
//	Free      nobody's lease stands, by the database's clock
//	Foreign   another's lease stands
//	Owned     this relay has the newest epoch, and its lease stands as far as it knows
//	Unsure    as Owned, but the log has not confirmed it for half of the lease
//	          (or two polls): nothing is published before it does, and what has been
//	          answered is settled first
//	Draining  as Owned, but nothing new is begun
//	Lost      another has a newer epoch, or the log is not the one that it was
//
// And these are the transitions, each one transaction of the log, but for those by
// themselves:
//
//	Acquire  Free → Owned       raises the epoch, sets owner and expiry
//	Force    Free, Foreign → Owned   the same, with TakeOver or by an operator
//	Expire   the owner's lease ends by the database's clock; the owner stays Owned, as
//	         the epoch is still its own, until somebody acquires
//	Settle   Owned, Unsure, Draining → Owned, Draining   if the epoch and the owner are
//	         the newest, the log is the lease's and the position is where it was left
//	         (so that one which comes late, when it was repeated, moves nothing back):
//	         moves the position, holds, releases what is held, extends the lease
//	Refuse   Settle otherwise → Lost: changes nothing
//	Doubt    Owned → Unsure     by itself, when time passes
//	Yield    Owned → Draining   by itself, when the share is another's or Run ends
//	Release  Draining → Free    ends the lease at once, if the epoch is the newest
//
// Invariants, on which the promises rest:
//
//   - OneWriter: a partition's position and what is held of it change only by Settle
//     with its newest epoch (and by operators: Redrive, Discard, Park, Replay,
//     Drop, Resplit).
//   - Monotone: epochs grow and are never given twice, and a position never goes back.
//   - NoGap: a message at or before its partition's position was confirmed, or
//     discarded, or is held.
//   - KeyOrder: no message is published while an earlier one of its key is after the
//     position and unpublished, or is held (but behind it in the same batch).
//   - Repetition: what a relay in Lost has under way, its successor publishes too, from
//     the same position and in the same order.
//
// What follows from them, and is checked with them:
//
//   - FirstArrivals: where nothing is discarded, a message comes to the destination for
//     the first time after all earlier ones of its key have.
//   - Discarded: what an operator discarded is not held again, unless it is replayed.
//   - Delivered: when nothing goes wrong any more, each message is delivered, or parked,
//     or waits behind one that is parked.
//
// The model is relay/model/relay.pml; spin visits all that can happen to two relays, two
// keys and a few messages when answers, settlements, leases and relays are lost. Its
// README tells what it takes for granted, and which code makes that true.
//
// Safety rests on the epoch alone. Leases and membership only make takeovers rare: with
// clocks that jump, leases that expire at once, or lists of members that never agree,
// messages are repeated, and neither lost nor out of order.
//
// The clock of leases is the database's (that of the machine, where the database has
// none), and so is that of held messages. Those of the processes may be hours apart; what
// counts of them is how fast they run while a relay is in Owned.
//
// With Config.TakeOver a relay forces all partitions, its leases keep nobody off, and
// ErrLeaseLost ends Run: the newest run wins at once.
//
// The lease does not reach into the broker: what a paused relay was just publishing may
// arrive late. It is a repetition, in order, of what the new relay publishes too, since
// both begin at the same position: the first arrivals are in commit order.
//
// The number of partitions is kept with the cursor, and another one is refused
// (ErrPartitions). outbox.Repartition changes it: it forces all old partitions, brings
// them to one position by holding what lies between, and makes the new ones there.
//
// # Restored databases
//
// A log has an identity, and a lease remembers where its owner has left the position.
// When a database is restored from a backup beneath a running relay, its next Settle
// finds the log or the position to be other ones, and Run ends with ErrRestored; it
// settles in each poll. Until then it may have published messages that were committed
// after the restore, before some that were too. Started again it begins where the
// cursor is then: what was published since the backup is published again, with the same
// ids. Stop relays before restoring, and nothing of this happens. Where cursors were
// restored without their log, or the log without its cursors, a cursor may be behind the
// end, which Acquire refuses: Drop it, and it begins at the first message. A restore that
// brings back exactly the position at which a relay is, with a batch under way, read
// ahead, or kept by the store for the second that it is recent, and lets new messages have the positions of that batch before it is settled, is not
// noticed.
//
// # Delayed messages
//
// A message with At is not in the log. The owner of partition 0 moves those that are
// due there (Log.Promote), in one transaction, when it polls, a second at most after a
// commit, and when the next is due that it knows of. It needs no lease of its own: of
// two who promote at once, one finds nothing. The message gets its position then.
//
// # Streams
//
// The events of an aggregate are a stream: 1, 2, 3 …, by AggregateType, AggregateID and
// Sequence, and by the way units are committed the log has them in this order. That is
// none of what the relay's guarantees rest on, and so it is a second, independent check
// of them: of the few thousand streams that a partition has passed last the relay
// remembers how far they are, and of a message that is not the next it warns, and tells
// Observer.Disordered. The message is published all the same.
//
//	sequence        is     because something was
//	above the next  a gap  skipped, or deleted
//	last or below   late   repeated, restored, or written by hand
//
// A message is looked at once, when the settlement that passes it has been recorded: what
// is scanned, published or tried again, and what is held or replayed, is no disorder.
// Neither is where a stream begins that the relay has not met, or has forgotten, nor
// another 1, since an id of a disposable collection may begin again.
//
// All events of an aggregate have the same topic and key (AggregateType, and
// AggregateType/AggregateID), and are one partition's, so that the check is the same with
// Topics and Partitions. Messages with another topic or key were appended by hand, and
// are not looked at, whatever sequence they have; those that look like events are. The log
// has one warning a minute for each partition at most, which says how many others there were.
//
// # Crashes
//
// Where a relay may die, and what the partition's next owner does, which begins at its
// position with the held messages of the log:
//
//   - Before Publish, or before any message was stored: it publishes them.
//   - After some were stored, before Settle: it publishes the batch again, from
//     its beginning; those that were stored are repeated.
//   - Before the Settle of a batch, while the next one is being published: it publishes
//     both again, from the beginning of the first.
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
//   - After Acquire, before anything else: the lease expires.
//   - After it drained, before Release: nothing is repeated, and the lease expires.
//   - During Promote: it is one transaction; the next look finds what is due.
//
// # What is not promised
//
// Order between keys, or of messages without a key. Order in a publisher that
// stores a message of a key though an earlier one failed (the relay reports it).
// The place of a message that is discarded while it is under way: it may come behind
// those that it held up. An end to repetitions while the log is down. A bound on how often a message is
// published, other than MaxAttempts for those that fail.
//
// # Sources
//
// The transactional outbox and the polling publisher are from Richardson,
// Microservices Patterns (2018), chapter 3. The epoch is a fencing token: Kleppmann,
// "How to do distributed locking" (2016); leases are Gray and Cheriton's (1989), and the
// shares rendezvous hashing: Thaler and Ravishankar (1998). Holding a key behind its poison
// message is the sequenced dead-letter queue of Axon Framework. Full jitter:
// Brooker, "Exponential Backoff and Jitter" (AWS, 2015).
package relay
