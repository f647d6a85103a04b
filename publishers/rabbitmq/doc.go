// Package rabbitmq publishes messages to an exchange of RabbitMQ, and consumes a queue.
//
//	p, err := rabbitmq.New(ctx, rabbitmq.Config{URL: "amqp://localhost:5672/", Exchange: "events", Source: "/orders"})
//	r, err := relay.New(relay.Config{Log: log, Publisher: p})
//
// # What confirmed means
//
// A message is relay.Stored when the broker has confirmed it (publisher confirms) and
// has not returned it (the mandatory flag): it is in each queue that it was routed to,
// on most nodes of a quorum queue, or written by a durable classic queue. Messages are
// persistent. A broker that loses its power loses what a classic queue has not synced;
// use quorum queues, such as the one that Config.Queue declares.
//
// # Order
//
// The messages of a key are published one after the other, each when the one before is
// confirmed, since a queue may reject one and take the next. Up to Config.Concurrency
// keys are under way at once, on one channel. Queues keep the order of a channel;
// whether consumers do is their own affair (one consumer, or a consistent hash
// exchange).
//
// # Duplicates
//
// The broker does not drop them. The property message-id has the message's id, by
// which consumers can.
//
// # What an answer means
//
//   - Confirmed: relay.Stored.
//   - Confirmed and returned, as no queue is bound for its routing key: relay.Retry, or
//     relay.Refused where Config.RefuseUnroutable says so.
//   - Rejected (nack), by a full queue for example: relay.Retry.
//   - No answer until the context ended, or the connection or channel broke:
//     relay.Unknown. An exchange that is deleted closes the channel.
//   - No connection, no such exchange, or the broker has blocked its publishers because
//     of an alarm (memory, disk): relay.Unavailable.
//   - Larger than Config.MaxPayload, names that are too long for the protocol, no id or
//     type, and the headers CC and BCC, by which the broker would route: relay.Refused.
//
// A connection that broke is opened again by the next call of Publish.
//
// # How a message looks
//
// As a CloudEvent in binary mode: the payload is the body, content-type a property of
// that name, and attributes are headers that begin with "cloudEvents_", as package
// webhook names them. Other headers are sent as
// they are. The properties message-id, type and timestamp are set too. Decode makes a
// message of it again.
//
// # Consuming
//
// A Consumer handles the messages of a queue, as package consumer says:
//
//   - Deliveries belong to the connection by which they came. When it breaks, the broker
//     puts them back to where they were in the queue; what had not begun is dropped here,
//     what is being handled is finished, and its repetition is a duplicate.
//   - The consumer is an exclusive one: after a break the broker takes the new one when it
//     has noticed the end of the old, so that what that had comes first, and the order
//     of keys is kept. With ConsumerConfig.Shared several processes consume at once, and
//     messages of one key may be with more than one of them; where order counts, declare
//     the queue with x-single-active-consumer, which lets the others stand by, or refuse
//     disorder in the inbox.
//   - The broker ends consumers that do not acknowledge for long (consumer_timeout, 30
//     minutes by default); a message that waits to be tried again counts. Then all of
//     them come again. Keep Backoff.Max and handlers below it.
//   - Quorum queues count deliveries, also those that were given back; from RabbitMQ 4 on
//     they drop a message after 20 (x-delivery-limit), or send it to the queue's own
//     dead-letter exchange. Declare the queue with one, or with a limit of -1.
//   - A refused message is published to DeadExchange with DeadKey, by a connection of its own,
//     with its headers, dead-letter-reason (DeadReason reads it) and dead-letter-queue; when
//     the broker has confirmed it, and has not returned it, the original is acknowledged.
//     That is safer than rejecting it, which classic queues confirm to nobody.
//   - Queues keep messages until they are acknowledged, unless they have a time to live,
//     for which the protocol has no question. The inbox' horizon must be longer than
//     consumers stand still, and than dead letters are replayed.
package rabbitmq
