package app

import (
	"context"
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	versioncollector "github.com/prometheus/client_golang/prometheus/collectors/version"

	"github.com/uow-go/uow/monitor/internal/application"
	"github.com/uow-go/uow/monitor/internal/domain"
)

// telemetry is what tocsin tells of itself on /metrics.
type telemetry struct {
	registry    *prometheus.Registry
	evaluations *prometheus.CounterVec
	failures    *prometheus.CounterVec
	skipped     *prometheus.CounterVec
	duration    *prometheus.HistogramVec
	lastSlot    *prometheus.GaugeVec
	transitions *prometheus.CounterVec
	attempts    *prometheus.CounterVec
	slotToAck   *prometheus.HistogramVec
}

func newTelemetry() *telemetry {
	t := &telemetry{registry: prometheus.NewRegistry()}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
		t.registry.MustRegister(c)
		return c
	}
	histogram := func(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
		h := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, labels)
		t.registry.MustRegister(h)
		return h
	}
	t.evaluations = counter("tocsin_slots_committed_total", "Slots of rule groups that were evaluated and committed.", "rule_group")
	t.failures = counter("tocsin_slot_failures_total", "Tries to evaluate and commit a slot that failed; the slot is tried again.", "rule_group")
	t.skipped = counter("tocsin_slots_skipped_total", "Slots given up because the group was too far behind.", "rule_group")
	t.transitions = counter("tocsin_transitions_total", "Transitions of alerts that were committed.", "kind")
	t.attempts = counter("tocsin_delivery_attempts_total", "Attempts to deliver notifications.", "destination", "outcome")
	t.duration = histogram("tocsin_slot_duration_seconds", "Time from the start of the evaluation of a slot to its commit.",
		prometheus.ExponentialBuckets(0.001, 4, 8), "rule_group")
	t.slotToAck = histogram("tocsin_slot_to_acknowledgement_seconds", "Time from the slot of a transition to the good answer of a destination.",
		prometheus.ExponentialBuckets(0.01, 4, 10), "destination")
	t.lastSlot = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "tocsin_last_slot_timestamp_seconds", Help: "The last slot of a rule group that was committed.",
	}, []string{"rule_group"})
	t.registry.MustRegister(t.lastSlot,
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		versioncollector.NewCollector("tocsin"))
	return t
}

// Evaluated implements application.SchedulerObserver.
func (t *telemetry) Evaluated(group string, slot time.Time, took time.Duration, err error) {
	switch {
	case err == nil:
		t.evaluations.WithLabelValues(group).Inc()
		t.duration.WithLabelValues(group).Observe(took.Seconds())
		t.lastSlot.WithLabelValues(group).Set(float64(slot.UnixMilli()) / 1000)
	case !errors.Is(err, application.ErrSlotDone) && !errors.Is(err, context.Canceled):
		t.failures.WithLabelValues(group).Inc()
	}
}

// Skipped implements application.SchedulerObserver.
func (t *telemetry) Skipped(group string, slots int) {
	t.skipped.WithLabelValues(group).Add(float64(slots))
}

func (t *telemetry) transitioned(transitions []domain.Transition) {
	for _, tr := range transitions {
		t.transitions.WithLabelValues(string(tr.Kind)).Inc()
	}
}

func (t *telemetry) attempted(destination string, a application.Answer) {
	t.attempts.WithLabelValues(destination, string(a.Outcome)).Inc()
}

// outboxCollector reads the state of the outbox when it is asked.
type outboxCollector struct {
	reader *application.Reader
	clock  application.Clock

	oldest, undelivered, retrying, parked *prometheus.Desc
}

func newOutboxCollector(r *application.Reader, clock application.Clock) *outboxCollector {
	desc := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, []string{"destination"}, nil)
	}
	return &outboxCollector{
		reader:      r,
		clock:       clock,
		oldest:      desc("tocsin_outbox_oldest_seconds", "Age of the oldest notification without a good answer; 0 when there is none."),
		undelivered: desc("tocsin_outbox_undelivered", "Notifications without a good answer."),
		retrying:    desc("tocsin_outbox_retrying", "Notifications that failed and will be tried again."),
		parked:      desc("tocsin_outbox_parked", "Notifications that were refused for good and need a person."),
	}
}

// Describe implements prometheus.Collector.
func (c *outboxCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.oldest, c.undelivered, c.retrying, c.parked} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *outboxCollector) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	views, err := c.reader.Outbox(ctx)
	if err != nil {
		ch <- prometheus.NewInvalidMetric(c.oldest, err)
		return
	}
	for _, v := range views {
		age := 0.0
		if !v.OldestAt.IsZero() {
			age = max(0, c.clock().Sub(v.OldestAt).Seconds())
		}
		gauge := func(d *prometheus.Desc, value float64) {
			ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, v.Destination)
		}
		gauge(c.oldest, age)
		gauge(c.undelivered, float64(v.Undelivered))
		gauge(c.retrying, float64(v.Retrying))
		gauge(c.parked, float64(v.Parked))
	}
}
