package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/memory"
	"github.com/uow-go/uow/outbox"

	"github.com/uow-go/uow/monitor/internal/application"
	"github.com/uow-go/uow/monitor/internal/domain"
)

// sample is a server over a store with some history.
type sample struct {
	t      testing.TB
	db     *uow.DB
	state  *application.State
	log    outbox.Log
	now    time.Time
	config Config
}

const (
	nodeGroup = "/etc/tocsin/rules/node.yml;node"
	shopGroup = "/etc/tocsin/rules/shop.yml;shop"
)

func sampleTime() time.Time { return time.Date(2026, 3, 14, 12, 30, 0, 0, time.UTC) }

// emptySample has destinations and rules, and no alerts.
func emptySample(t testing.TB, now time.Time) *sample {
	t.Helper()
	state := application.NewState()
	db, err := memory.Open(t.Context(), uow.Config{Collections: state.Collections(), Now: func() time.Time { return now }})
	check(t, err)
	log, err := outbox.Of(db)
	check(t, err)
	s := &sample{t: t, db: db, state: state, log: log, now: now}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector())
	s.config = Config{
		Reader: &application.Reader{
			DB: db, State: state, Log: log,
			Destinations: []string{"pager", "chat"}, Alertmanagers: []string{"alertmanager"},
			Clock: s.clock,
		},
		Groups: func() []GroupInfo { return sampleGroups(now) },
		Targets: func() (active, dropped []Target) {
			return sampleTargets(now), []Target{{ScrapePool: "node", DiscoveredLabels: map[string]string{"__address__": "old:9100"}}}
		},
		Registry: registry, HostRegistry: prometheus.NewRegistry(), Changes: NewHub(),
		Version: "0.1.0", Store: "SQLite tocsin.db",
		Clock: s.clock,
	}
	return s
}

func (s *sample) clock() time.Time { return s.now }

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (s *sample) server() *Server {
	s.t.Helper()
	server, err := New(s.config)
	check(s.t, err)
	return server
}

// do runs fn in a unit.
func (s *sample) do(fn func(u *uow.Unit) error) {
	s.t.Helper()
	check(s.t, s.db.Do(s.t.Context(), func(_ context.Context, u *uow.Unit) error { return fn(u) }))
}

func (s *sample) ago(d time.Duration) time.Time { return s.now.Add(-d) }

// alert makes an alert and stores it.
func (s *sample) alert(group, rule, name string, state domain.State, since time.Duration, labels map[string]string, change func(*domain.Alert)) domain.Alert {
	labels["alertname"] = name
	print := domain.Fingerprint(labels)
	a := domain.Alert{
		ID: group + "|" + rule + "|" + print, Group: group, Rule: rule, Name: name, Fingerprint: print, Labels: labels,
		State: state, Episode: 1, Changes: 1, ActiveAt: s.ago(since),
	}
	if state != domain.Pending {
		a.FiredAt = s.ago(since)
	}
	if change != nil {
		change(&a)
	}
	s.do(func(u *uow.Unit) error { return s.state.Alerts.In(u).Add(&a) })
	return a
}

// transition stores a transition of an alert.
func (s *sample) transition(a domain.Alert, number int64, kind domain.TransitionKind, from, to domain.State, ago time.Duration, value float64, change func(*domain.Transition)) domain.Transition {
	t := domain.Transition{
		ID: fmt.Sprintf("%s#%d", a.ID, number), Alert: a.ID, Group: a.Group, Rule: a.Rule, Name: a.Name, Episode: a.Episode,
		Number: number, Kind: kind, From: from, To: to, Slot: s.ago(ago), Value: domain.Decimal(value), Labels: a.Labels,
		Annotations: a.Annotations, ActiveAt: a.ActiveAt, FiredAt: a.FiredAt,
	}
	if change != nil {
		change(&t)
	}
	s.do(func(u *uow.Unit) error { return s.state.Transitions.In(u).Add(&t) })
	return t
}

// told stores a delivery with its attempts, the last of which gives its state.
func (s *sample) told(t domain.Transition, destination string, attempts ...domain.Attempt) domain.Delivery {
	d := domain.Delivery{
		ID: domain.NotificationID(t.ID, destination), Transition: t.ID, Alert: t.Alert, Destination: destination,
		Kind: t.Kind, Number: t.Number, Slot: t.Slot, CreatedAt: t.Slot.Add(20 * time.Millisecond), State: domain.Undelivered,
	}
	for i := range attempts {
		a := &attempts[i]
		a.Notification, a.Transition, a.Alert, a.Destination = d.ID, t.ID, t.Alert, destination
		a.Number = i + 1
		a.ID = fmt.Sprintf("%s/%d", d.ID, a.Number)
		d.Attempts, d.LastAt = a.Number, a.FinishedAt
		d.LastAnswer = strings.TrimSpace(fmt.Sprintf("%s: %d: %s", a.Outcome, a.Status, a.Detail))
		switch a.Outcome {
		case domain.OutcomeDelivered:
			d.State, d.DeliveredAt = domain.Delivered, a.FinishedAt
		case domain.OutcomeRefused:
			d.State = domain.Refused
		}
	}
	s.do(func(u *uow.Unit) error {
		for i := range attempts {
			if err := s.state.Attempts.In(u).Add(&attempts[i]); err != nil {
				return err
			}
		}
		return s.state.Deliveries.In(u).Add(&d)
	})
	return d
}

func (s *sample) attempt(ago, took time.Duration, outcome domain.Outcome, status int, detail string) domain.Attempt {
	return domain.Attempt{StartedAt: s.ago(ago), FinishedAt: s.ago(ago - took), Outcome: outcome, Status: status, Detail: detail}
}

// hold puts the notification of a transition into the outbox, held.
func (s *sample) hold(t domain.Transition, destination string, h outbox.Hold) {
	payload, err := json.Marshal(domain.Notification{ID: domain.NotificationID(t.ID, destination), Destination: destination, Transition: t})
	check(s.t, err)
	topic := application.Topic(destination)
	s.do(func(u *uow.Unit) error {
		return outbox.Append(u, outbox.Message{
			ID: domain.NotificationID(t.ID, destination), Topic: topic, Key: t.Alert,
			Type: "tocsin.alert." + string(t.Kind), Payload: payload,
		})
	})
	lease, err := s.log.Acquire(s.t.Context(), outbox.Claim{Cursor: topic, Force: true})
	check(s.t, err)
	messages, next, err := s.log.Scan(s.t.Context(), outbox.Query{After: lease.Position, Limit: 100, Topics: []string{topic}})
	check(s.t, err)
	if len(messages) != 1 {
		s.t.Fatalf("%d messages, want 1", len(messages))
	}
	h.Position, h.Key = messages[0].Position, t.Alert
	check(s.t, s.log.Settle(s.t.Context(), lease, outbox.Settlement{Position: next, Hold: []outbox.Hold{h}}))
}

// fullSample has alerts in every state, and a history for each.
func fullSample(t testing.TB, now time.Time) *sample {
	s := emptySample(t, now)
	s.fillDisk()
	s.fillShop()
	s.fillOthers()
	s.do(func(u *uow.Unit) error {
		evaluations := s.state.Evaluations.In(u)
		if err := evaluations.Add(&domain.Evaluations{ID: shopGroup, Slot: s.ago(4 * time.Second), Rules: map[string]domain.RuleHealth{
			"CheckoutErrors": {}, "QueueGrows": {LastError: "query timed out in expression evaluation", ErrorSince: s.ago(9 * time.Minute)},
		}}); err != nil {
			return err
		}
		return evaluations.Add(&domain.Evaluations{ID: nodeGroup, Slot: s.ago(7 * time.Second), Missed: 48, Rules: map[string]domain.RuleHealth{
			"DiskFull": {}, "NodeDown": {}, "ClockSkew": {}, "HighLoad": {Refused: 3},
		}})
	})
	return s
}

// fillDisk is an alert that a gap and a broken receiver have met.
func (s *sample) fillDisk() {
	disk := s.alert(nodeGroup, "DiskFull", "DiskFull", domain.Firing, 52*time.Minute,
		map[string]string{"instance": "db-1.example.net:9100", "job": "node", "mountpoint": "/var/lib/postgresql", "severity": "page", "team": "storage"},
		func(a *domain.Alert) {
			a.Value, a.Changes, a.Episode = 0.0381, 4, 2
			a.Annotations = map[string]string{"summary": "Less than 5 % is free on /var/lib/postgresql of db-1", "runbook": "https://runbooks.example.net/disk-full"}
		})
	in := func(t *domain.Transition) { t.Episode = 1 }
	fired := s.transition(disk, 1, domain.BecameFiring, domain.Pending, domain.Firing, 3*time.Hour, 0.049, in)
	s.told(fired, "pager", s.attempt(3*time.Hour-time.Second, 83*time.Millisecond, domain.OutcomeDelivered, 202, "accepted"))
	resolved := s.transition(disk, 2, domain.BecameResolved, domain.Firing, domain.Inactive, 2*time.Hour+10*time.Minute, 0.12, in)
	s.told(resolved, "pager", s.attempt(2*time.Hour+10*time.Minute-time.Second, 61*time.Millisecond, domain.OutcomeDelivered, 202, "accepted"))
	s.do(func(u *uow.Unit) error {
		return s.state.Gaps.In(u).Add(&domain.Gap{ID: nodeGroup + "@1", Group: nodeGroup, From: s.ago(80 * time.Minute), To: s.ago(68 * time.Minute), Missed: 48})
	})
	s.transition(disk, 3, domain.BecamePending, domain.Inactive, domain.Pending, 57*time.Minute, 0.0472, nil)
	again := s.transition(disk, 4, domain.BecameFiring, domain.Pending, domain.Firing, 52*time.Minute, 0.0466, nil)
	var tries []domain.Attempt
	for i := range 11 {
		tries = append(tries, s.attempt(52*time.Minute-time.Second-time.Duration(i*i)*20*time.Second, 10*time.Second, domain.OutcomeRetry, 503, "upstream connect error or disconnect/reset before headers"))
	}
	tries = append(tries, s.attempt(12*time.Minute, 142*time.Millisecond, domain.OutcomeDelivered, 202, "accepted"))
	s.told(again, "pager", tries...)
	s.told(again, "chat", s.attempt(52*time.Minute-time.Second, 44*time.Millisecond, domain.OutcomeRefused, 404, "channel_not_found"))
	s.lease(disk, 52*time.Minute-time.Second)
}

// lease stores what an Alertmanager was told of an alert.
func (s *sample) lease(a domain.Alert, ago time.Duration) {
	line := s.attempt(ago, 6*time.Millisecond, domain.OutcomeDelivered, 200, string(a.State))
	line.ID, line.Alert, line.Destination, line.Alerts = "lease/"+a.ID, a.ID, "alertmanager", 1
	s.do(func(u *uow.Unit) error { return s.state.Attempts.In(u).Add(&line) })
}

func (s *sample) fillShop() {
	errs := s.alert(shopGroup, "CheckoutErrors", "CheckoutErrors", domain.Firing, 6*time.Minute,
		map[string]string{"service": "checkout", "region": "eu-west-1", "severity": "page"}, func(a *domain.Alert) {
			a.Value, a.Annotations = 12.4517, map[string]string{"summary": "12 % of checkouts fail in eu-west-1"}
		})
	t := s.transition(errs, 1, domain.BecameFiring, domain.Inactive, domain.Firing, 6*time.Minute, 9.3, nil)
	var tries []domain.Attempt
	for i := range 3 {
		tries = append(tries, s.attempt(6*time.Minute-time.Duration(i)*90*time.Second, 10*time.Second, domain.OutcomeRetry, 503, "upstream connect error"))
	}
	s.told(t, "pager", tries...)
	s.told(t, "chat", s.attempt(6*time.Minute-time.Second, 210*time.Millisecond, domain.OutcomeDelivered, 200, "ok"))
	s.hold(t, "pager", outbox.Hold{State: outbox.Retrying, Attempts: 3, NextAt: s.now.Add(95 * time.Second), Since: s.ago(6 * time.Minute), Reason: "503: upstream connect error"})
	s.lease(errs, 6*time.Minute-2*time.Second)

	queue := s.alert(shopGroup, "QueueGrows", "QueueGrows", domain.Firing, 41*time.Minute,
		map[string]string{"queue": "invoices", "severity": "ticket"}, func(a *domain.Alert) {
			a.Value, a.Hold, a.HeldSince = 18250331, domain.HoldError, s.ago(9*time.Minute)
			a.Annotations = map[string]string{"summary": "The queue invoices has grown for half an hour"}
		})
	s.told(s.transition(queue, 1, domain.BecameFiring, domain.Pending, domain.Firing, 41*time.Minute, 9123444, nil), "pager",
		s.attempt(41*time.Minute-time.Second, 90*time.Millisecond, domain.OutcomeDelivered, 202, "accepted"))
	held := s.transition(queue, 2, domain.BecameHeld, domain.Firing, domain.Firing, 9*time.Minute, 18250331, func(t *domain.Transition) {
		t.Hold, t.Reason = domain.HoldError, "query timed out in expression evaluation"
	})
	s.told(held, "pager", s.attempt(9*time.Minute-time.Second, 70*time.Millisecond, domain.OutcomeDelivered, 202, "accepted"))
	s.told(held, "chat")
	s.hold(held, "chat", outbox.Hold{State: outbox.Parked, Attempts: 12, Since: s.ago(9 * time.Minute), Reason: "404: channel_not_found"})
}

func (s *sample) fillOthers() {
	for i, host := range []string{"web-1", "web-2", "web-3"} {
		a := s.alert(nodeGroup, "HighLoad", "HighLoad", domain.Pending, time.Duration(40+70*i)*time.Second,
			map[string]string{"instance": host + ".example.net:9100", "job": "node", "severity": "ticket"}, func(a *domain.Alert) {
				a.Value, a.Annotations = domain.Decimal(14.2+float64(i)), map[string]string{"summary": "The load of " + host + " is high for its cores"}
			})
		s.transition(a, 1, domain.BecamePending, domain.Inactive, domain.Pending, time.Duration(40+70*i)*time.Second, 14, nil)
	}
	down := s.alert(nodeGroup, "NodeDown", "NodeDown", domain.Firing, 27*time.Hour,
		map[string]string{"instance": "backup-2.example.net:9100", "job": "node", "severity": "ticket"}, func(a *domain.Alert) {
			a.Hold, a.HeldSince = domain.HoldStale, s.ago(3*time.Hour)
			a.Annotations = map[string]string{"summary": "backup-2 can not be reached"}
		})
	s.told(s.transition(down, 1, domain.BecameFiring, domain.Pending, domain.Firing, 27*time.Hour, 0, nil), "chat",
		s.attempt(27*time.Hour-time.Second, 400*time.Millisecond, domain.OutcomeDelivered, 200, "ok"))
	clock := s.alert(nodeGroup, "ClockSkew", "ClockSkew", domain.Inactive, 20*time.Minute,
		map[string]string{"instance": "web-2.example.net:9100", "job": "node", "severity": "ticket"}, func(a *domain.Alert) {
			a.ResolvedAt, a.Value = s.ago(4*time.Minute), 0.061
		})
	s.told(s.transition(clock, 1, domain.BecameResolved, domain.Firing, domain.Inactive, 4*time.Minute, 0.061, nil), "pager",
		s.attempt(4*time.Minute-time.Second, 77*time.Millisecond, domain.OutcomeDelivered, 202, "accepted"))
	s.alert(nodeGroup, "SwapUsed", "SwapUsed", domain.Inactive, 30*time.Minute,
		map[string]string{"instance": "web-2.example.net:9100", "severity": "ticket"}, func(a *domain.Alert) { a.ResolvedAt = s.ago(11 * time.Minute) })
}

func sampleGroups(now time.Time) []GroupInfo {
	last := now.Add(-7 * time.Second)
	rule := func(name, query string, pending, keep time.Duration, severity string) RuleInfo {
		return RuleInfo{
			Type: Alerting, UID: name, Name: name, Query: query, For: pending, KeepFiringFor: keep, Labels: map[string]string{"severity": severity},
			LastEvaluation: last, EvaluationTime: 1400 * time.Microsecond,
		}
	}
	return []GroupInfo{
		{ID: nodeGroup, Name: "node", File: "/etc/tocsin/rules/node.yml", Interval: 15 * time.Second, Limit: 100, LastEvaluation: last, EvaluationTime: 38 * time.Millisecond, Rules: []RuleInfo{
			{Type: Recording, Name: "instance:node_cpu:rate5m", Query: "sum by (instance) (rate(node_cpu_seconds_total{mode!=\"idle\"}[5m]))", Health: HealthOK, LastEvaluation: last, EvaluationTime: 5 * time.Millisecond},
			rule("DiskFull", "node_filesystem_avail_bytes{fstype!~\"tmpfs|overlay\"} / node_filesystem_size_bytes < 0.05", 5*time.Minute, 0, "page"),
			rule("NodeDown", "up{job=\"node\"} == 0", 2*time.Minute, 0, "ticket"),
			rule("HighLoad", "node_load5 / on (instance) count by (instance) (node_cpu_seconds_total{mode=\"idle\"}) > 2", 10*time.Minute, 5*time.Minute, "ticket"),
			rule("ClockSkew", "abs(node_timex_offset_seconds) > 0.05", 5*time.Minute, 0, "ticket"),
		}},
		{ID: shopGroup, Name: "shop", File: "/etc/tocsin/rules/shop.yml", Interval: 5 * time.Second, LastEvaluation: last, EvaluationTime: 3400 * time.Millisecond, Rules: []RuleInfo{
			rule("CheckoutErrors", "100 * sum by (service, region) (rate(http_requests_total{service=\"checkout\", code=~\"5..\"}[5m]))\n  / sum by (service, region) (rate(http_requests_total{service=\"checkout\"}[5m])) > 5", 0, 0, "page"),
			rule("QueueGrows", "deriv(queue_messages{queue=\"invoices\"}[30m]) > 0", 30*time.Minute, 0, "ticket"),
		}},
	}
}

func sampleTargets(now time.Time) []Target {
	target := func(pool, address, health, problem string, took time.Duration) Target {
		return Target{
			ScrapePool: pool, ScrapeURL: "http://" + address + "/metrics", GlobalURL: "http://" + address + "/metrics",
			Labels: map[string]string{"instance": address, "job": pool}, DiscoveredLabels: map[string]string{"__address__": address, "__metrics_path__": "/metrics", "__scheme__": "http", "job": pool},
			Health: health, LastError: problem, LastScrape: now.Add(-took * 100), LastScrapeDuration: took, ScrapeInterval: "15s", ScrapeTimeout: "10s",
		}
	}
	return []Target{
		target("node", "backup-2.example.net:9100", "down", "Get \"http://backup-2.example.net:9100/metrics\": dial tcp 10.0.3.12:9100: connect: connection refused", 2*time.Millisecond),
		target("node", "db-1.example.net:9100", "up", "", 41*time.Millisecond),
		target("node", "web-1.example.net:9100", "up", "", 28*time.Millisecond),
		target("shop", "checkout.example.net:8080", "up", "", 9*time.Millisecond),
		{ScrapePool: "shop", ScrapeURL: "http://invoices.example.net:8080/metrics", Labels: map[string]string{"instance": "invoices.example.net:8080", "job": "shop"}, ScrapeInterval: "15s", ScrapeTimeout: "10s"},
	}
}

// TestSampleServer serves the sample to look at, where TOCSIN_SAMPLE is an
// address, such as localhost:9999.
func TestSampleServer(t *testing.T) {
	address := os.Getenv("TOCSIN_SAMPLE")
	if address == "" {
		return // it is no test when nobody wants to look
	}
	s := fullSample(t, time.Now())
	if os.Getenv("TOCSIN_SAMPLE_EMPTY") != "" {
		s = emptySample(t, time.Now())
	}
	s.config.Clock = time.Now
	if os.Getenv("TOCSIN_SAMPLE_LIVE") != "" {
		go s.live()
	}
	l, err := net.Listen("tcp", address)
	check(t, err)
	if err := s.server().Serve(t.Context(), l); err != nil && !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
}

// live adds an alert every few seconds.
func (s *sample) live() {
	for i := range 1000 {
		time.Sleep(3 * time.Second)
		s.alert(shopGroup, "CheckoutErrors", "CheckoutErrors", domain.Firing, time.Duration(i)*time.Second,
			map[string]string{"service": fmt.Sprintf("live-%d", i), "severity": "page"}, nil)
		s.config.Changes.Notify()
	}
}
