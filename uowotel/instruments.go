package uowotel

import (
	"errors"

	"go.opentelemetry.io/otel/metric"
)

// unitInstruments are the metrics of units.
type unitInstruments struct {
	duration, commit, store                                metric.Float64Histogram
	attempts                                               metric.Int64Histogram
	active                                                 metric.Int64UpDownCounter
	rows, messages, size, nested, conflicts, doubts, hooks metric.Int64Counter
}

// relayInstruments are the metrics of relays.
type relayInstruments struct {
	published, failures, parked, disorders metric.Int64Counter
	lag, publish                           metric.Float64Histogram
}

// inboxInstruments are the metrics of inboxes.
type inboxInstruments struct {
	duration, lag metric.Float64Histogram
	missing       metric.Int64Counter
}

// consumerInstruments are the metrics of consumers.
type consumerInstruments struct {
	attempts     metric.Int64Counter
	process, lag metric.Float64Histogram
}

// instruments makes them, and collects what goes wrong.
type instruments struct {
	meter metric.Meter
	err   error
}

// fast returns buckets, in seconds, for what a program waits for.
func fast() []float64 {
	return []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}
}

// slow returns buckets, in seconds, for what a message may wait for.
func slow() []float64 {
	return []float64{.01, .05, .1, .5, 1, 5, 15, 60, 300, 900, 3600, 14400, 86400}
}

func (i *instruments) ofUnits() unitInstruments {
	return unitInstruments{
		duration:  i.seconds("uow.unit.duration", "Duration of units, pauses between attempts included.", fast()),
		commit:    i.seconds("uow.commit.duration", "Duration of commits in the store.", fast()),
		store:     i.seconds("uow.store.duration", "Duration of all calls of the store in an attempt.", fast()),
		attempts:  i.attempts(),
		active:    i.active(),
		rows:      i.counter("uow.unit.rows", "{row}", "Rows of committed units."),
		messages:  i.counter("uow.unit.messages", "{message}", "Messages of committed units."),
		size:      i.counter("uow.unit.size", "By", "Bodies and payloads of committed units."),
		nested:    i.counter("uow.unit.nested", "{unit}", "Nested units."),
		conflicts: i.counter("uow.conflicts", "{conflict}", "Attempts that another unit was faster than."),
		doubts:    i.counter("uow.in_doubt", "{commit}", "Commits whose answer was lost."),
		hooks:     i.counter("uow.hook.failures", "{failure}", "After-hooks that failed."),
	}
}

func (i *instruments) ofRelays() relayInstruments {
	return relayInstruments{
		published: i.counter("uow.relay.published", "{message}", "Messages that the publisher stored."),
		failures:  i.counter("uow.relay.failures", "{attempt}", "Attempts to publish a message that failed."),
		parked:    i.counter("uow.relay.parked", "{message}", "Messages that were parked."),
		disorders: i.counter("uow.relay.disorders", "{message}", "Messages that were not the next of their stream in the log."),
		lag:       i.seconds("uow.relay.delivery.lag", "Time from a unit to the confirmation of its message.", slow()),
		publish:   i.seconds("uow.relay.publish.duration", "Duration of batches at the publisher.", fast()),
	}
}

func (i *instruments) ofInboxes() inboxInstruments {
	return inboxInstruments{
		duration: i.seconds("uow.inbox.delivery.duration", "Duration of deliveries to the inbox.", fast()),
		lag:      i.seconds("uow.inbox.lag", "Time from a message's creation to the end of its handling.", slow()),
		missing:  i.counter("uow.inbox.missing", "{message}", "Messages that were missing of streams before one that was handled."),
	}
}

func (i *instruments) ofConsumers() consumerInstruments {
	return consumerInstruments{
		attempts: i.counter("uow.consumer.attempts", "{attempt}", "Attempts to handle messages, and what came of them."),
		process:  i.seconds("uow.consumer.process.duration", "Duration of the handlers of messages that were handled.", fast()),
		lag:      i.seconds("uow.consumer.lag", "Time from a unit to the acknowledgement of its message by the consumer.", slow()),
	}
}

func (i *instruments) seconds(name, description string, buckets []float64) metric.Float64Histogram {
	h, err := i.meter.Float64Histogram(name, metric.WithUnit("s"), metric.WithDescription(description),
		metric.WithExplicitBucketBoundaries(buckets...))
	i.err = errors.Join(i.err, err)
	return h
}

func (i *instruments) attempts() metric.Int64Histogram {
	h, err := i.meter.Int64Histogram("uow.unit.attempts", metric.WithUnit("{attempt}"),
		metric.WithDescription("Attempts of units."), metric.WithExplicitBucketBoundaries(1, 2, 3, 5, 10, 20))
	i.err = errors.Join(i.err, err)
	return h
}

func (i *instruments) active() metric.Int64UpDownCounter {
	c, err := i.meter.Int64UpDownCounter("uow.units.active", metric.WithUnit("{unit}"),
		metric.WithDescription("Units that have started and not ended."))
	i.err = errors.Join(i.err, err)
	return c
}

func (i *instruments) counter(name, unit, description string) metric.Int64Counter {
	c, err := i.meter.Int64Counter(name, metric.WithUnit(unit), metric.WithDescription(description))
	i.err = errors.Join(i.err, err)
	return c
}
