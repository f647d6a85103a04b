// Package kafka publishes messages to topics of Kafka, and consumes them.
//
//	p, err := kafka.New(ctx, kafka.Config{Brokers: []string{"localhost:9092"}, Source: "/orders"})
//	r, err := relay.New(relay.Config{Log: log, Publisher: p})
//
// # What confirmed means
//
// A message is relay.Stored when the leader of its partition has answered that all
// in-sync replicas have it (acks=all). How many these are at least is the topic's
// setting min.insync.replicas: with 1, which is the default, it may be the leader alone.
// Set it to 2 with three replicas. Brokers write to the system's cache and sync later:
// what is confirmed outlives the failure of a machine by its replicas, and the failure
// of all at once not at all.
//
// # Order
//
// The record's key is the message's, and decides on the partition, by the hash that the
// Java client uses too. The client is an idempotent producer: a broker takes its batches
// of a partition once and in order, whatever the client sends again by itself.
//
// That holds until a batch fails for good, after which the client goes on with the next.
// So the messages of a key are published one after the other, each when the one before
// is confirmed, up to Config.Concurrency keys at once. The client puts those that wait
// for the same partition into one batch.
//
// # Duplicates
//
// Brokers drop what the client repeats by itself, and not what the relay publishes
// again: it is stored again, with the same id in the header ce_id, by which consumers can
// drop it.
//
// # What an answer means
//
//   - Confirmed: relay.Stored.
//   - No answer until the context ended, or the producer has lost its state at the
//     broker: relay.Unknown. The client goes on with what it has sent; what is published
//     again comes after it.
//   - No broker can be reached: relay.Unavailable.
//   - Larger than Config.MaxBatchBytes, no id or type, or headers that can't be sent:
//     relay.Refused.
//   - An unknown topic, no permission, and whatever else a broker answers: relay.Retry.
//     So is a batch that is too large for the topic, since most of its messages are not.
//
// # How a message looks
//
// As a CloudEvent in binary mode: the payload is the value, attributes are headers that
// begin with "ce_", as package webhook names them;
// content-type is a header too, and so are all others. Decode makes a message of it
// again.
//
// # Consuming
//
// A Consumer handles the records of topics as one of a consumer group, as package consumer
// says:
//
//   - The records of a partition are one consumer's at a time, and those of a key are in one
//     partition, so the order of keys holds across processes too.
//   - A group remembers one offset for each partition. What is handled is committed, twice a
//     second, up to the first record that is not. A record that fails holds up its key
//     only; others of the partition go on, MaxAhead at most, and come again, as duplicates,
//     when the partition moves, or the process starts anew.
//   - When a partition is revoked, nothing new of it begins; what is being handled is waited
//     for, DrainTimeout at most, and committed. Of a partition that was lost nothing is
//     committed: the next consumer handles it again, and what was is a duplicate.
//   - The client's heartbeats keep the partitions here, however long handlers take; those
//     of a process that has died become others' after SessionTimeout. With an instance id
//     (kgo.InstanceID in Options, one for each process) the process that is started in its
//     place has them at once; others get them only when none has come by SessionTimeout.
//   - A refused message is produced to DeadTopic, with its key and headers, dead-letter-reason
//     (DeadReason reads it), -topic, -partition, -offset and -group. It counts as handled
//     when all in-sync replicas have it; when that answer is lost, it may be there twice.
//   - The inbox' horizon must be longer than the topics keep records (retention.ms), which
//     ConsumerConfig.Horizon checks. Compacted topics keep them for ever.
package kafka
