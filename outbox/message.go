package outbox

import "github.com/uow-go/uow/driver"

// Message is one entry of the outbox.
//
//   - Position is the place in the log, in commit order; the store gives it.
//   - ID is stable: the same in every attempt, at every destination. Append gives
//     a new one (a UUID of version 7) where it is empty.
//   - Topic is what publishers map to their destination (a subject, a topic, an
//     endpoint). For events of aggregates it is the collection's name.
//   - Key is the ordering key: messages with the same key are published in commit
//     order. Messages with no key have no order among themselves. For events of
//     aggregates it is collection/id.
//   - Type is the event's type name.
//   - AggregateType, AggregateID and Sequence name the stream and the place in it:
//     1, 2, 3 … without gaps, so that a consumer can see a loss, a duplicate and a
//     reorder by itself. They are empty for messages appended by hand.
//   - Payload is the body and Headers whatever else travels with it;
//     "content-type" is its media type, application/json for events.
//     DB.WithHeaders gives headers to all messages of units. "correlationid" and
//     "causationid" are those of CloudEvents' extension: what set off all this, and the
//     message that was handled when this one was appended. Package inbox gives them.
//   - CreatedAt is the unit's time, or At where that is given.
//   - At delays the message: it is not published before, by the database's clock, and
//     comes to the log only then, which is what its position, and its place among the
//     messages of its key, go by. Messages that are due at once come in the order of At,
//     and then in that of their commits. A relay looks for them at least once in each
//     of its polls, and sleeps no longer than until the next is due.
type Message = driver.Message
