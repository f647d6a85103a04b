package app

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"time"

	commonconfig "github.com/prometheus/common/config"
	"github.com/prometheus/common/model"
	promconfig "github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery"

	"github.com/uow-go/uow/outbox"
	"github.com/uow-go/uow/relay"

	"github.com/uow-go/uow/monitor/internal/application"
	"github.com/uow-go/uow/monitor/internal/domain"
	"github.com/uow-go/uow/monitor/internal/infrastructure/config"
	"github.com/uow-go/uow/monitor/internal/infrastructure/destination/alertmanager"
	"github.com/uow-go/uow/monitor/internal/infrastructure/destination/console"
	"github.com/uow-go/uow/monitor/internal/infrastructure/destination/webhook"
)

// sendersPerDestination is how many alerts one destination is told of at once.
const sendersPerDestination = 8

// destinationRunner delivers to one destination.
type destinationRunner struct {
	name  string
	relay *relay.Relay
}

func (a *App) destinationNames() []string {
	names := make([]string, len(a.dests))
	for i, d := range a.dests {
		names[i] = d.name
	}
	return names
}

func (a *App) alertmanagerNames() []string {
	names := make([]string, len(a.leases))
	for i, l := range a.leases {
		names[i] = l.Destination
	}
	return names
}

// openDestinations makes a relay for each destination, and leases for each
// Alertmanager. Without any, the console is told.
func (a *App) openDestinations(context.Context) error {
	cfg := a.cfg.Load()
	for _, d := range cfg.Destinations {
		if err := a.openDestination(cfg, d); err != nil {
			return fmt.Errorf("tocsin: destination %s: %w", d.Name, err)
		}
	}
	if err := a.openAlertmanagers(cfg); err != nil {
		return err
	}
	if len(a.dests) == 0 && len(a.leases) == 0 {
		return a.openDestination(cfg, config.Destination{Name: "console", Type: config.Console})
	}
	return nil
}

func (a *App) openDestination(cfg *config.Config, d config.Destination) error {
	switch d.Type {
	case config.Console:
		sender, err := console.New(console.Config{Out: a.opts.Console, Color: console.Colorful(a.opts.Console)})
		if err != nil {
			return err
		}
		return a.addDestination(d.Name, sender)
	case config.Webhook:
		sender, err := a.webhookSender(cfg, d)
		if err != nil {
			return err
		}
		return a.addDestination(d.Name, sender)
	case config.Alertmanager:
		return a.addAlertmanager(cfg, d.Name, alertmanager.Config{
			URL: string(d.URL), Timeout: time.Duration(d.Timeout),
		})
	}
	return fmt.Errorf("%w: type %q", ErrUsage, d.Type)
}

func (a *App) webhookSender(cfg *config.Config, d config.Destination) (application.Sender, error) {
	headers := make(map[string]string, len(d.Headers))
	for name, value := range d.Headers {
		headers[name] = string(value)
	}
	format := webhook.CloudEvents
	if d.Format == config.AlertmanagerFormat {
		format = webhook.Alertmanager
	}
	return webhook.New(webhook.Config{
		Name:    d.Name,
		URL:     string(d.URL),
		Format:  format,
		Secret:  d.ReadSecret,
		Headers: headers,
		Timeout: time.Duration(d.Timeout),
		Source:  a.url,

		ExternalLabels: cfg.ExternalLabels(),
		GeneratorURL: func(n domain.Notification) string {
			return a.url + "/alerts?id=" + url.QueryEscape(n.Transition.Alert)
		},
	})
}

func (a *App) addDestination(name string, sender application.Sender) error {
	delivery := &application.Delivery{
		DB: a.db, State: a.state, Destination: name,
		Sender: a.measured(name, sender), Clock: time.Now, Changed: a.hub.Notify,
	}
	r, err := relay.New(relay.Config{
		Log:       a.log,
		Cursor:    application.Topic(name),
		Topics:    []string{application.Topic(name)},
		TakeOver:  true, // the data directory is locked: nobody else has the log
		Publisher: relay.Each(publish(delivery), sendersPerDestination),
		// Alerts are few and wanted soon. What a destination does not take now is
		// kept for as long as it needs.
		Backoff:     relay.Backoff{Min: 500 * time.Millisecond, Max: time.Minute, Jitter: 0.5},
		MaxAttempts: -1,
		Retention:   time.Duration(a.cfg.Load().Retention.History),
		Logger:      a.opts.Logger.With("destination", name),
	})
	if err != nil {
		return err
	}
	a.dests = append(a.dests, &destinationRunner{name: name, relay: r})
	return nil
}

// publish makes of a delivery what the relay calls for each message.
func publish(d *application.Delivery) func(context.Context, outbox.Message) relay.Result {
	return func(ctx context.Context, m outbox.Message) relay.Result {
		answer := d.Deliver(ctx, m)
		result := relay.Result{After: answer.After}
		switch answer.Outcome {
		case domain.OutcomeDelivered:
			return relay.Result{Outcome: relay.Stored}
		case domain.OutcomeRefused:
			result.Outcome = relay.Refused
		case domain.OutcomeRetry:
			result.Outcome = relay.Retry
		default:
			result.Outcome = relay.Unknown
		}
		result.Err = errors.New(answer.String())
		return result
	}
}

// measuredSender counts attempts.
type measuredSender struct {
	application.Sender
	name      string
	telemetry *telemetry
}

func (a *App) measured(name string, s application.Sender) application.Sender {
	return &measuredSender{Sender: s, name: name, telemetry: a.telemetry}
}

// Send implements application.Sender.
func (m *measuredSender) Send(ctx context.Context, n domain.Notification, number int) application.Answer {
	answer := m.Sender.Send(ctx, n, number)
	m.telemetry.attempted(m.name, answer)
	if answer.Outcome == domain.OutcomeDelivered {
		m.telemetry.slotToAck.WithLabelValues(m.name).Observe(time.Since(n.Transition.Slot).Seconds())
	}
	return answer
}

// openAlertmanagers opens those of the alerting section. Each instance gets
// everything, as the members of a cluster must.
func (a *App) openAlertmanagers(cfg *config.Config) error {
	for _, am := range cfg.Alertmanagers {
		client, err := commonconfig.NewClientFromConfig(am.HTTPClientConfig, "alertmanager")
		if err != nil {
			return fmt.Errorf("tocsin: alerting.alertmanagers: %w", err)
		}
		for _, address := range addresses(am) {
			err := a.addAlertmanager(cfg, "alertmanager "+address, alertmanager.Config{
				URL:        am.Scheme + "://" + address,
				PathPrefix: am.PathPrefix,
				Timeout:    time.Duration(am.Timeout),
				Client:     client,
			})
			if err != nil {
				return fmt.Errorf("tocsin: alertmanager %s: %w", address, err)
			}
		}
	}
	return nil
}

func (a *App) addAlertmanager(cfg *config.Config, name string, c alertmanager.Config) error {
	if c.Client == nil {
		c.Client = &http.Client{}
	}
	c.ExternalLabels = cfg.ExternalLabels()
	c.Relabel = relabeler(cfg.AlertRelabelConfigs)
	c.GeneratorURL = func(labels map[string]string) string {
		return a.url + "/?q=" + url.QueryEscape(fmt.Sprintf("%s=%q", model.AlertNameLabel, labels[model.AlertNameLabel]))
	}
	client, err := alertmanager.New(c)
	if err != nil {
		return err
	}
	a.leases = append(a.leases, application.NewLeases(application.Leases{
		DB: a.db, State: a.state, Destination: name, Client: client,
		ResendDelay: a.opts.ResendDelay, Interval: a.groupInterval,
		Clock: time.Now, Logger: a.opts.Logger, Changed: a.hub.Notify,
	}))
	return nil
}

func (a *App) groupInterval(group string) time.Duration {
	for _, g := range a.cfg.Load().Groups {
		if g.ID() == group {
			return g.Interval
		}
	}
	return 0
}

// addresses returns the host and port of each instance of a configured cluster.
func addresses(am *promconfig.AlertmanagerConfig) []string {
	var all []string
	for _, sd := range am.ServiceDiscoveryConfigs {
		static, ok := sd.(discovery.StaticConfig)
		if !ok {
			continue
		}
		for _, group := range static {
			for _, target := range group.Targets {
				all = append(all, string(target[model.AddressLabel]))
			}
		}
	}
	return all
}

// sameDestinations reports whether a reload leaves everything as it is that is
// only taken at the start.
func sameDestinations(a, b *config.Config) bool {
	all := func(c *config.Config) []string {
		var all []string
		for _, am := range c.Alertmanagers {
			all = append(all, am.Scheme+am.PathPrefix)
			all = append(all, addresses(am)...)
		}
		return all
	}
	return reflect.DeepEqual(a.Tocsin, b.Tocsin) && slices.Equal(all(a), all(b)) &&
		maps.Equal(a.ExternalLabels(), b.ExternalLabels())
}
