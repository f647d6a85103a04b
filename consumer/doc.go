// Package consumer hands the messages that a broker delivers to a handler: in the order of
// their keys, and acknowledged when the handler has committed what it did, not before.
// The consumers of brokers are in the packages of their publishers; this is what they
// have in common.
//
//	mailer, err := inbox.New(db, records, inbox.Config{Consumer: "mailer"})
//	…
//	c, err := nats.NewConsumer(ctx, nats.ConsumerConfig{
//		Stream: "EVENTS", Durable: "mailer", DeadSubject: "dead.mailer",
//		Config: consumer.Config{
//			Handle: mailer.Handler(func(ctx context.Context, u *uow.Unit, m outbox.Message) error {
//				return letters.In(u).Add(…) // once for each message, however often it comes
//			}),
//		},
//	})
//	…
//	err = c.Run(ctx)
//
// # Order
//
// Messages of one key and one source are handled one after the other, in the order in which
// the broker delivers them; those of different keys at once, as many as
// Config.Concurrency says; those without a key in no order. A message that fails is tried
// again after a while, here, and what is behind it of its key waits; other keys go on, as
// long as no more than Config.Prefetch messages are waiting.
//
// That is the order within one process. Where several processes share the messages, and
// a broker gives those of one key to more than one of them, or where a process dies and
// its messages come later than others, only the numbers of the messages tell: an inbox
// with RefuseDisorder and FromFirst returns ErrGap for what comes too early, which is
// tried again until the one before has been handled by whomever. Each consumer says in
// its package what its broker does.
//
// # What is refused
//
// A message for which the handler returns an error of Refuse, which has failed as often
// as it may, or which is none of a publisher's (ErrMalformed), is put where the broker's
// consumer keeps such messages, with the reason, and acknowledged when it is there for
// certain. Its key goes on. The Handler of an inbox refuses ErrInvalid, ErrTooOld and
// ErrLate.
//
// Where no such place is configured, nothing is thrown away: the message stays the broker's,
// holds its key, takes a place of Config.Prefetch, and is tried again after the longest
// wait. Each time is reported.
//
// # Ends
//
// When the context of Run ends, nothing new begins. What is being handled may go on for
// Config.DrainTimeout, and is acknowledged; all else is given back to the broker. A process
// that is killed acknowledges nothing more, and its messages come again; so do those whose
// acknowledgement is lost. The inbox makes them duplicates.
//
// # The horizon
//
// The inbox remembers messages for its Horizon. It must be longer than the time between
// the handling of a message and its last delivery, which is that of its retention in the
// broker, since an acknowledgement may be lost just before the consumer is stopped for
// long. A message that comes later is refused with ErrTooOld, and never takes effect
// twice.
package consumer
