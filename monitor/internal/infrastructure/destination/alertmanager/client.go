// Package alertmanager sends alerts to one Alertmanager, by its API version 2.
//
// What Alertmanager's answers mean was measured: 400 says that at least one alert
// is bad while the good ones were stored, and 200 only that the request was read,
// since limits discard alerts silently. So Delivered means accepted, and the
// application sends the halves of a refused batch.
package alertmanager

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/uow-go/uow/monitor/internal/application"
	"github.com/uow-go/uow/monitor/internal/domain"
	"github.com/uow-go/uow/monitor/internal/infrastructure/destination"
)

// ErrConfig is found in the errors of New.
var ErrConfig = errors.New("alertmanager: bad configuration")

// Config says which Alertmanager, and what its alerts look like.
type Config struct {
	// URL is the Alertmanager's, http or https. It may hold a user and password,
	// which are kept out of every error.
	URL string
	// PathPrefix is put between the URL and /api/v2/alerts.
	PathPrefix string
	// ExternalLabels are added where an alert has none of that name.
	ExternalLabels map[string]string
	// Relabel, when set, gets the labels after the external ones were added, and
	// returns those to send. No labels mean that the alert is not sent.
	Relabel func(labels map[string]string) map[string]string
	// GeneratorURL, when set, returns where the alert's source can be seen.
	GeneratorURL func(labels map[string]string) string
	// Client has the TLS configuration and the credentials: NewClientFromConfig
	// of github.com/prometheus/common/config makes it. Its redirect policy is not
	// used. Default: one without credentials.
	Client *http.Client
	// Timeout is for one request, the answer included. Default: 10 seconds.
	Timeout time.Duration
}

// Client is an application.AlertmanagerClient. It may be used from many
// goroutines.
type Client struct {
	cfg      Config
	endpoint string
	http     *http.Client
	mask     destination.Mask
}

var _ application.AlertmanagerClient = (*Client)(nil)

// New checks the configuration.
func New(cfg Config) (*Client, error) {
	u, err := url.Parse(cfg.URL)
	if err != nil { // its text holds the URL
		return nil, fmt.Errorf("%w: URL can't be parsed", ErrConfig)
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("%w: URL must start with http:// or https:// and name a host", ErrConfig)
	}
	if cfg.Timeout < 0 {
		return nil, fmt.Errorf("%w: Timeout is negative", ErrConfig)
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = 10 * time.Second
	}
	if cfg.Client == nil {
		cfg.Client = &http.Client{}
	}
	endpoint := u.JoinPath(cfg.PathPrefix, "/api/v2/alerts")
	client := *cfg.Client
	// A POST that is redirected by 301, 302 or 303 becomes a GET, which an
	// Alertmanager answers with 200: nothing would be stored, and all look well.
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	mask := destination.NewMask(destination.URLSecrets(endpoint)...)
	return &Client{cfg: cfg, endpoint: endpoint.String(), http: &client, mask: mask}, nil
}

// Post makes one request with all alerts. Their labels get the external labels
// and the relabelling first; empty labels are left out.
//
// The outcome is Delivered for a status of 2xx, Refused for one that can be due
// to a single alert (400, 413, 422), and Retry for every other: it says nothing
// about the alerts. A request that was sent and not answered is Unknown.
func (c *Client) Post(ctx context.Context, alerts []application.LeasedAlert) application.Answer {
	posted := c.postable(alerts)
	if len(posted) == 0 {
		return application.Answer{Outcome: domain.OutcomeDelivered, Detail: "relabelling left no alert to send"}
	}
	body, err := json.Marshal(posted)
	if err != nil {
		return application.Answer{Outcome: domain.OutcomeRefused, Detail: c.mask.Clean("alertmanager: " + err.Error())}
	}
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.endpoint, bytes.NewReader(body))
	if err != nil {
		return application.Answer{Outcome: domain.OutcomeRetry, Detail: "alertmanager: the request could not be made"}
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("User-Agent", "tocsin")
	return destination.Exchange(c.http, request, outcome, c.mask)
}

// outcome never blames the alerts for what a proxy, a password or a path did:
// those can be put right, and the alerts are still to be sent.
func outcome(status int) domain.Outcome {
	switch {
	case status >= 200 && status <= 299:
		return domain.OutcomeDelivered
	case status == http.StatusBadRequest, status == http.StatusUnprocessableEntity,
		status == http.StatusRequestEntityTooLarge:
		return domain.OutcomeRefused
	}
	return domain.OutcomeRetry
}
