package config

import (
	"fmt"
	"net/url"
	"os"
	"strings"
	"time"

	commonconfig "github.com/prometheus/common/config"
	"github.com/prometheus/common/model"
	"go.yaml.in/yaml/v3"

	"github.com/uow-go/uow/publishers/webhook"

	"github.com/uow-go/uow/monitor/internal/domain"
)

// Tocsin is tocsin's own section.
type Tocsin struct {
	// Destinations are told of every transition.
	Destinations []Destination `yaml:"destinations,omitempty"`
	// OnGap says what time without evaluations counts for: shift (default),
	// count or reset.
	OnGap     domain.GapPolicy `yaml:"on_gap"`
	Retention Retention        `yaml:"retention"`
}

// Retention is how long things are kept.
type Retention struct {
	// History is for transitions and deliveries; 90 days by default.
	History model.Duration `yaml:"history"`
	// Samples is for the embedded metrics store; 15 days by default.
	Samples model.Duration `yaml:"samples"`
}

// DestinationType says how a destination is reached.
type DestinationType string

// The types of destinations.
const (
	Webhook      DestinationType = "webhook"
	Console      DestinationType = "console"
	Alertmanager DestinationType = "alertmanager"
)

// Format says what a webhook is sent.
type Format string

// The formats.
const (
	CloudEvents        Format = "cloudevents"  // one CloudEvents 1.0 event for each transition
	AlertmanagerFormat Format = "alertmanager" // what Alertmanager's webhook receiver sends
)

// Destination is somewhere that alerts are sent to. Its own text, JSON and YAML
// leave the secrets out: the URL, the secret and the headers.
type Destination struct {
	Name string          `yaml:"name" json:"name"`
	Type DestinationType `yaml:"type" json:"type"`
	// URL is a secret, since those of many receivers hold a token; Host is not.
	// Empty for the console.
	URL commonconfig.Secret `yaml:"url,omitempty" json:"url,omitempty"`
	// Format is for webhooks; CloudEvents by default.
	Format Format `yaml:"format,omitempty" json:"format,omitempty"`
	// Secret signs the requests. At most one of it and SecretFile is set.
	Secret     commonconfig.Secret `yaml:"secret,omitempty" json:"secret,omitempty"`
	SecretFile string              `yaml:"secret_file,omitempty" json:"secretFile,omitempty"`
	// Timeout is for one attempt; 10 seconds by default.
	Timeout model.Duration                 `yaml:"timeout,omitempty" json:"timeout,omitempty"`
	Headers map[string]commonconfig.Secret `yaml:"headers,omitempty" json:"headers,omitempty"`
}

// Host returns the scheme and host of the URL, which may be shown.
func (d Destination) Host() string {
	u, err := url.Parse(string(d.URL))
	if err != nil || u.Host == "" {
		return ""
	}
	return u.Scheme + "://" + u.Host
}

// String returns the name, type and host.
func (d Destination) String() string {
	return strings.TrimSpace(fmt.Sprintf("%s (%s) %s", d.Name, d.Type, d.Host()))
}

// GoString is String, so that %#v shows no secret.
func (d Destination) GoString() string { return d.String() }

// ReadSecret returns the secret, from the file where one is named: read it again
// for each use, so that it can be changed while tocsin runs. Empty means none.
func (d Destination) ReadSecret() (string, error) {
	if d.SecretFile == "" {
		return string(d.Secret), nil
	}
	data, err := os.ReadFile(d.SecretFile)
	if err != nil {
		return "", fmt.Errorf("config: destination %s: secret_file: %w", d.Name, err)
	}
	return strings.TrimSpace(string(data)), nil
}

func defaultTocsin() Tocsin {
	const day = 24 * time.Hour
	return Tocsin{
		OnGap:     domain.GapShift,
		Retention: Retention{History: model.Duration(90 * day), Samples: model.Duration(15 * day)},
	}
}

func (r *reader) readTocsin(n *yaml.Node) {
	const path = "tocsin"
	section := defaultTocsin()
	if !r.checker.read(n, &section, path) {
		return
	}
	switch section.OnGap {
	case domain.GapShift, domain.GapCount, domain.GapReset:
	default:
		r.add(lookup(n, "on_gap"), "tocsin.on_gap", "found %q, expected shift, count or reset", shorten(string(section.OnGap)))
	}
	for _, keep := range []struct {
		name  string
		value model.Duration
	}{{"history", section.Retention.History}, {"samples", section.Retention.Samples}} {
		if time.Duration(keep.value) < time.Hour {
			r.add(lookup(lookup(n, "retention"), keep.name), "tocsin.retention."+keep.name, "found %q, expected at least 1h", keep.value)
		}
	}
	names := map[string]int{}
	for i := range section.Destinations {
		item := items(lookup(n, "destinations"))[i]
		r.checkDestination(item, &section.Destinations[i], index("tocsin.destinations", i))
		if first, ok := names[section.Destinations[i].Name]; ok {
			r.add(item, child(index("tocsin.destinations", i), "name"), "found %q, expected a name that no other destination has; %s has it too",
				shorten(section.Destinations[i].Name), index("tocsin.destinations", first))
		}
		names[section.Destinations[i].Name] = i
	}
	r.cfg.Tocsin = section
}

// checkDestination fills the defaults in too.
func (r *reader) checkDestination(n *yaml.Node, d *Destination, path string) {
	field := func(key string) *yaml.Node {
		if value := lookup(n, key); value != nil {
			return value
		}
		return n
	}
	if d.Name == "" {
		r.add(n, child(path, "name"), "found nothing, expected a name")
	}
	switch d.Type {
	case Webhook, Alertmanager:
		r.checkDestinationURL(field("url"), d, path)
	case Console:
		if d.URL != "" {
			r.add(field("url"), child(path, "url"), "found a URL, expected none for the console")
		}
	default:
		r.add(field("type"), child(path, "type"), "found %s, expected webhook, console or alertmanager", found(lookup(n, "type"), path))
	}
	switch {
	case d.Type == Webhook && d.Format == "":
		d.Format = CloudEvents
	case d.Type == Webhook && d.Format != CloudEvents && d.Format != AlertmanagerFormat:
		r.add(field("format"), child(path, "format"), "found %q, expected cloudevents or alertmanager", shorten(string(d.Format)))
	case d.Type != Webhook && d.Format != "":
		r.add(field("format"), child(path, "format"), "found %q, expected none: only a webhook has a format", shorten(string(d.Format)))
	}
	if d.Secret != "" && d.SecretFile != "" {
		r.add(field("secret_file"), path, "found both secret and secret_file, expected one of them")
	}
	for _, secret := range strings.Fields(string(d.Secret)) {
		if webhook.CheckSecret(secret) != nil {
			r.add(field("secret"), child(path, "secret"), "found <secret>, expected whsec_ and base64 of 24 to 64 bytes, as in Standard Webhooks")
		}
	}
	if d.Timeout == 0 {
		d.Timeout = model.Duration(10 * time.Second)
	}
}

func (r *reader) checkDestinationURL(n *yaml.Node, d *Destination, path string) {
	u, err := url.Parse(string(d.URL))
	switch {
	case d.URL == "":
		r.add(n, child(path, "url"), "found nothing, expected the http or https URL of the %s", d.Type)
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		r.add(n, child(path, "url"), "found <secret>, expected a URL that starts with http:// or https:// and names a host")
	}
}

// checkSecretFiles tells of missing files at the start, not at the first alert.
func (r *reader) checkSecretFiles() {
	for _, d := range r.cfg.Destinations {
		secrets, err := d.ReadSecret()
		if err != nil {
			r.errs = append(r.errs, at(r.file, nil, "tocsin.destinations", "%s: found no readable secret_file: %v", d.Name, err))
		}
		for _, secret := range strings.Fields(secrets) {
			if d.SecretFile != "" && webhook.CheckSecret(secret) != nil {
				r.errs = append(r.errs, at(r.file, nil, "tocsin.destinations", "%s: found something else in secret_file, expected whsec_ and base64 of 24 to 64 bytes", d.Name))
			}
		}
	}
}
