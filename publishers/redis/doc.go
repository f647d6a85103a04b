// Package redis publishes messages to Redis Streams, and consumes them.
//
//	p, err := redis.New(ctx, redis.Config{Options: client.Options{Addr: "localhost:6379"}, Source: "/orders"})
//	r, err := relay.New(relay.Config{Log: log, Publisher: p})
//
// # What confirmed means
//
// A Redis server answers before it has synced anything, unless it is told otherwise, so
// Config.Durability says what relay.Stored is to mean:
//
//   - Synced, the default: the server has synced the message to its append-only file
//     (appendonly yes, appendfsync always).
//   - EverySecond: the server has it, and syncs at least every second (appendonly yes):
//     a power failure takes the last second, which was confirmed.
//     Both demand a maxmemory-policy that drops no streams.
//   - InMemory: the server has it. When it dies, all since its last snapshot is lost.
//
// Each new connection checks that the server is set so, also after a failover; New fails
// with ErrConfig when it is not, and later Publish answers relay.Unavailable.
// Config.Replicas demands that so many replicas have it too (WAIT). A failover may choose
// one that has not.
//
// # Order
//
// A batch is one script, which the server runs with nothing else in between: it adds one
// message after the other, and stops a key at the first one that it can't add. Batches
// are sent one after the other.
//
// # Duplicates
//
// The script sets a key for each id, beside the stream, that lives for Config.Window. A
// message whose id is known is not added: relay.Duplicate. One that is published again
// after the window is added again.
//
// Streams are not trimmed, unless Config.MaxLen says so, since trimming also takes what
// no consumer has read. That is the consumers' affair (XTRIM MINID, or XDEL).
//
// # What an answer means
//
//   - Added: relay.Stored, or relay.Duplicate.
//   - No answer until the context ended or the connection broke, or not enough replicas
//     have it in time: relay.Unknown.
//   - No connection; out of memory, no snapshot possible (MISCONF), a replica, loading,
//     busy, no permission: relay.Unavailable.
//   - A stream's name that is the name of something else: relay.Retry, for its key.
//   - Larger than Config.MaxPayload, no id or type: relay.Refused.
//
// # How a message looks
//
// An entry has the field "data" with the payload, and attributes of a CloudEvent in
// fields that begin with "ce_", as package webhook names them. Other headers are fields that begin with "header_". Decode makes
// a message of it again.
//
// One server, or one that a proxy or Options.Dialer leads to, is what this is for: not a
// cluster, whose nodes can't run a script over several streams. The client writes failures
// to connect to stderr, unless its SetLogger says otherwise.
//
// # Consuming
//
// A Consumer handles the entries of a stream as one of a consumer group, as package consumer
// says:
//
//   - What a group has delivered and is not acknowledged stays pending at the server, for
//     the name that got it. At the start, and whenever an answer or an acknowledgement
//     may be lost, what is pending and not here is read again, before what is newer, so the
//     order of keys is kept. Acknowledgements are bound to no connection. An entry stays
//     in the stream when it is acknowledged.
//   - Without ConsumerConfig.Shared the process takes what is pending for all names, at once:
//     no other may consume at the time. With it, entries that have been idle for ClaimIdle
//     are taken from whoever has them; while they are here they are kept from becoming idle,
//     every third of it. Then messages of one key may be with several processes; where order
//     counts, refuse disorder in the inbox.
//   - When Run ends, the server is told that what is not handled has been idle for long.
//   - A refused message is added to DeadStream with all its fields, dead_reason (DeadReason
//     reads it), dead_stream, dead_group and dead_entry, and acknowledged, by one script. It
//     is as durable as the server.
//   - An entry that was trimmed while it was pending is refused for that. What is trimmed
//     before any consumer got it nobody can tell: trim by MINID, behind all groups.
//   - Streams keep entries until they are trimmed, for which there is no question. The inbox'
//     horizon must be longer than consumers stand still and replays go back. Servers from
//     6.2 on.
package redis
