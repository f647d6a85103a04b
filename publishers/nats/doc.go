// Package nats publishes messages to a JetStream stream of NATS, and consumes them.
//
//	p, err := nats.New(ctx, nats.Config{URL: "nats://localhost:4222", Stream: "EVENTS", Source: "/orders"})
//	r, err := relay.New(relay.Config{Log: log, Publisher: p})
//
// Package embedded runs a server within the process.
//
// # What confirmed means
//
// A message is relay.Stored when the stream has acknowledged it: a stream with one
// replica has written it, one with three has it on two servers. Written is not synced:
// a server syncs its files every two minutes unless its setting sync_interval is
// "always", so a power failure can take what was acknowledged on the server of a
// stream with one replica, or on all servers at once. Clients can't see that setting.
// Package embedded sets it.
//
// New checks what can be seen: that the stream exists, keeps its messages in files, has
// the replicas and the window of duplicates that the Config demands.
//
// # Order
//
// Where the stream allows atomic batches (servers from 2.12 on, AllowAtomicPublish), a
// batch is stored as a whole or not at all, with one acknowledgement. A batch that the
// server refuses, since one of its messages is a duplicate for example, is published
// message by message, which says what each of them comes to.
//
// Elsewhere the messages of a key are published one after the other, each when the one
// before it is acknowledged, and up to Config.Concurrency keys at once.
//
// The client would keep messages while it is not connected, and send them later: that is
// switched off, since by then others may have been published. So are its repetitions.
//
// # The fence
//
// A relay that was paused beyond its lease, and wakes up in the middle of a batch, may
// still send what another relay has long published: repetitions, in order, which the
// stream drops within its window. With Config.Fence the server refuses them: each message,
// or batch, names the sequence that must be the stream's last (expected last sequence), as
// the publisher knows it from its own confirmations. Messages are sent one behind the
// other without waiting; what is behind one that was not stored, or was a duplicate, is
// refused for its place, and sent again. When the end of the stream is not known, at the
// first refusal or after a lost answer, it is asked for, and counts from the next call of
// Publish on: before that the relay makes sure of its lease, so that whoever has taken it
// over writes later. The idea is Kleppmann's: a fencing token that the storage checks.
//
// # Duplicates
//
// Nats-Msg-Id has the message's id, which the stream drops when it comes again within
// the stream's window of duplicates: relay.Duplicate. What is published again after the
// window is stored again; set it to the longest outage that is to be bridged.
//
// # What an answer means
//
//   - Acknowledged: relay.Stored, or relay.Duplicate.
//   - No answer until the context ended or the connection broke: relay.Unknown.
//   - Not connected, no leader, no space, too many requests: relay.Unavailable.
//   - Larger than the server or the stream takes, a subject or a header that can't be
//     sent, no id or type: relay.Refused.
//   - A subject that is not among the stream's, and whatever else the server answers:
//     relay.Retry.
//
// # How a message looks
//
// As a CloudEvent in binary mode: the payload is the body, attributes are headers that
// begin with "ce-", as package webhook names them;
// their values are percent-encoded. Headers whose names can be those of attributes are
// attributes too. Others are sent as they are, and must be printable ASCII: a message
// with one that is not is refused. Decode makes a message of it again.
//
// # Consuming
//
// A Consumer handles the messages of a durable pull consumer, as package consumer says:
//
//   - Acknowledgements are sent and not waited for. One that is lost brings the message
//     again after AckWait. They are bound to no connection.
//   - While messages are here, the server is told every third of AckWait that they are in
//     progress, so handlers may take as long as they like. Those of a process that has
//     died come to others after AckWait.
//   - What the server has sent to a connection that broke, or to a process that died, it
//     does not send again before AckWait is over, and would send what is newer at once.
//     So after a break, and at the start, nothing new is handled until that is over or
//     nothing is missing, which keeps the order of keys. What a process gives back when
//     its Run ends is there at once. With ConsumerConfig.Shared there is no such wait, and
//     no such order.
//   - JetStream gives messages of one key to several processes at once. Where order counts,
//     let one process consume, or refuse disorder in the inbox.
//   - A refused message is published to DeadSubject, with its headers, Dead-Letter-Reason
//     (DeadReason reads it), Dead-Letter-Stream and Dead-Letter-Consumer; when the stream
//     of that subject has acknowledged it, the original is terminated, of which the
//     server tells in an advisory. A repetition within that stream's window is dropped.
//   - The inbox' horizon must be longer than the stream keeps messages (max_age), which
//     ConsumerConfig.Horizon checks; where it keeps them for ever, longer than consumers
//     stand still and replays go back.
package nats
