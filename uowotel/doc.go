// Package uowotel reports units of work, relays, consumers and inboxes to OpenTelemetry:
// a span for each unit, metrics, and the trace context in the messages of the outbox.
//
//	telemetry, err := uowotel.New(uowotel.Config{})
//	db, err := sqlite.Open(ctx, "bank.db", uow.Config{Observers: []uow.Observer{telemetry}, …})
//	log, err := outbox.Of(db)
//	stop, err := telemetry.WatchLog(log)
//	r, err := relay.New(relay.Config{
//		Log: log, Observer: telemetry.Relay("default"),
//		Publisher: telemetry.Publisher("default", publisher),
//	})
//
// And where the messages come to, with the Config of any broker's consumer:
//
//	in, err := inbox.New(db, records, inbox.Config{Consumer: "mailer", Observer: telemetry.Inbox()})
//	cfg := consumer.Config{Handle: in.Handler(…), Observer: telemetry.Consumer("mailer")}
//
// # Spans
//
// The span of a unit is called "uow" and the unit's name, where it has one. It is
// the parent of what the closure of DB.Do starts with the context that it gets. It
// has an event "uow.attempt" for each attempt; that of a conflict names the
// collection and the id. A unit that was not committed has the status Error and the
// error's text, unless it was simply rolled back or closed.
//
// A batch that Publisher hands on has a span called "uow publish" and the name of
// the cursor, with links to the units whose messages it publishes.
//
// # Messages
//
// Where Config.Propagator is set, the messages of a unit get the headers that carry
// its span's context. A consumer goes on with the trace by
//
//	ctx = propagator.Extract(ctx, propagation.MapCarrier(message.Headers))
//
// # Metrics
//
// In the names that the Prometheus exporter makes of these, dots are underscores,
// and the unit (_seconds, _bytes) and _total come behind.
//
//	uow.unit.duration         histogram, s   units of DB.Do and DB.Begin
//	uow.unit.attempts         histogram      attempts of each unit
//	uow.commit.duration       histogram, s   commits in the store, of each attempt
//	uow.store.duration        histogram, s   all calls of the store, of each attempt
//	uow.units.active          up-down        units that have started and not ended
//	uow.unit.rows             counter        rows of committed units, by uow.row.operation:
//	                                         insert, update, delete or check
//	uow.unit.messages         counter        messages of committed units
//	uow.unit.size             counter, By    bodies and payloads of committed units
//	uow.unit.nested           counter        nested units, by uow.nested.fate: kept or undone
//	uow.conflicts             counter        attempts that conflicted, by db.collection.name
//	uow.in_doubt              counter        commits whose answer was lost, by uow.outcome:
//	                                         what the store said of them later
//	uow.hook.failures         counter        after-hooks that failed
//	uow.relay.published       counter        messages that the publisher stored
//	uow.relay.failures        counter        attempts that failed, by uow.relay.outcome
//	uow.relay.parked          counter        messages that were parked
//	uow.relay.disorders       counter        messages that were not the next of their stream in the
//	                                         log, by uow.relay.disorder: gap or late
//	uow.relay.delivery.lag    histogram, s   from a unit's time to the confirmation
//	uow.relay.publish.duration histogram, s  batches
//	uow.outbox.lag            gauge, s       age of the oldest message that waits or is held
//	uow.outbox.backlog        gauge          messages that wait or are held, at most
//	uow.outbox.held           gauge          held messages, by uow.hold.state
//	uow.outbox.messages       gauge          messages in the log, delivered ones included
//	uow.relay.epoch           gauge          rises when a relay takes the cursor over
//	uow.inbox.delivery.duration histogram, s deliveries, by uow.inbox.outcome: handled,
//	                                         duplicate, failed, invalid, too_old, gap or late
//	uow.inbox.lag             histogram, s   from a message's time to the end of its handling
//	uow.inbox.missing         counter        messages that streams lacked before one handled
//	uow.consumer.attempts     counter        of a broker's consumer, by uow.delivery.outcome: handled
//	                                         (and acknowledged), failed (and tried again),
//	                                         refused, or kept, where refused messages have no
//	                                         place and are tried again after long
//	uow.consumer.process.duration histogram, s handlers of messages that were handled
//	uow.consumer.lag          histogram, s   from a message's time to its acknowledgement
//
// Those of units have uow.unit.name and db.system.name where known, and uow.view
// where they are views, which are committed when they went well; duration and
// attempts have uow.outcome (committed, rolled_back, conflict, duplicate, in_doubt),
// and the duration of units that were not committed has error.type. Those of relays
// and the outbox have uow.cursor, and those of inboxes and consumers uow.consumer.
// Attempts that did not go well have error.type: malformed, invalid, too_old, gap,
// late, timeout, canceled or _OTHER. None has data or ids of aggregates, so that
// their number is bounded by the program and not by its data: keep names of units
// constant.
package uowotel
