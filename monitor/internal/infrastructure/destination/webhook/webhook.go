package webhook

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/uow-go/uow/monitor/internal/application"
	"github.com/uow-go/uow/monitor/internal/domain"
	"github.com/uow-go/uow/monitor/internal/infrastructure/destination"
)

// ErrConfig is found in the errors of New.
var ErrConfig = errors.New("webhook: bad configuration")

// Format says what the body is.
type Format string

// The formats.
const (
	CloudEvents  Format = "cloudevents"
	Alertmanager Format = "alertmanager"
)

// Config says where notifications go and in which form.
type Config struct {
	// Name is the destination's; it is the receiver in the format alertmanager.
	Name string
	// URL is the receiver's, http or https. It is a secret as a whole, but for the
	// host.
	URL string
	// Format of the body. Default: CloudEvents.
	Format Format
	// Secret, when set, returns the keys for the signatures, as in Standard
	// Webhooks: whsec_ and base64 of 24 to 64 bytes. Several, with spaces between
	// them, each sign, so that a receiver can change from one to the next. It is
	// read by New and for each attempt. An empty text means no signature.
	Secret func() (string, error)
	// Headers are sent too. They are secrets.
	Headers map[string]string
	// Source is the source of CloudEvents, a URI reference. Default: the external
	// URL of the notification, or else "tocsin".
	Source string
	// ExternalLabels are added where an alert has none of that name.
	ExternalLabels map[string]string
	// GeneratorURL, when set, returns where the alert's source can be seen.
	// Default: the external URL of the notification.
	GeneratorURL func(n domain.Notification) string
	// Client has the transport. Its redirect policy is not used. Default: one that
	// a receiver can't hold up or flood.
	Client *http.Client
	// Timeout is for one attempt, the answer included. Default: 10 seconds.
	Timeout time.Duration
	// Now is the clock of the signatures. Default: time.Now.
	Now func() time.Time
}

// Sender is an application.Sender that posts notifications. It may be used from
// many goroutines.
type Sender struct {
	cfg     Config
	client  *http.Client
	secrets []string // of the configuration, but for the keys
}

var _ application.Sender = (*Sender)(nil)

// New checks the configuration, reads the secret, and makes no request.
func New(cfg Config) (*Sender, error) {
	u, err := check(cfg)
	if err != nil {
		return nil, err
	}
	if cfg.Format == "" {
		cfg.Format = CloudEvents
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = 10 * time.Second
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	s := &Sender{cfg: cfg, client: newClient(cfg.Client)}
	s.secrets = append(destination.URLSecrets(u), destination.PathSecrets(u)...)
	for _, value := range cfg.Headers {
		s.secrets = append(s.secrets, value)
	}
	if _, _, err := s.keys(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	return s, nil
}

// newClient never follows a redirect: it would take the notification, with its
// headers, to a place that nobody configured, or make a GET of it that any page
// answers with 200.
func newClient(given *http.Client) *http.Client {
	client := http.Client{Transport: &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		ForceAttemptHTTP2:      true,
		TLSHandshakeTimeout:    5 * time.Second,
		MaxIdleConnsPerHost:    4,
		IdleConnTimeout:        3 * time.Second, // shorter than receivers', whose closing would cost an attempt
		MaxResponseHeaderBytes: 64 << 10,
		DisableCompression:     true,
	}}
	if given != nil {
		client = *given
	}
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &client
}

// Send posts the notification.
func (s *Sender) Send(ctx context.Context, n domain.Notification, number int) application.Answer {
	event, ok := s.body(n)
	if !ok {
		return application.Answer{Outcome: domain.OutcomeDelivered, Detail: "not expressible in this format, nothing sent"}
	}
	body, err := json.Marshal(event)
	if err != nil {
		return application.Answer{Outcome: domain.OutcomeRefused, Detail: s.mask().Clean("webhook: " + err.Error())}
	}
	keys, texts, err := s.keys()
	if err != nil { // an unsigned notification would be worse than a late one
		return application.Answer{Outcome: domain.OutcomeRetry, Detail: s.mask().Clean("webhook: " + err.Error())}
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.cfg.URL, bytes.NewReader(body))
	if err != nil { // its text holds the URL
		return application.Answer{Outcome: domain.OutcomeRetry, Detail: "webhook: the request could not be made"}
	}
	s.setHeaders(request, n, number)
	if len(keys) > 0 {
		sign(request.Header, keys, n.ID, s.cfg.Now(), body)
	}
	return destination.Exchange(s.client, request, outcome, s.mask(texts...))
}

func (s *Sender) setHeaders(request *http.Request, n domain.Notification, number int) {
	for name, value := range s.cfg.Headers {
		request.Header.Set(name, value)
		if http.CanonicalHeaderKey(name) == "Host" {
			request.Host = value
		}
	}
	request.Header.Set("Content-Type", s.cfg.Format.contentType())
	if request.Header.Get("User-Agent") == "" {
		request.Header.Set("User-Agent", "tocsin")
	}
	request.Header.Set("Tocsin-Attempt", strconv.Itoa(number))
	// With a key in its usual spelling net/http sends a request twice when the
	// connection breaks. That would be an attempt that the ledger does not have.
	request.Header["idempotency-key"] = []string{n.ID}
}

func (s *Sender) mask(more ...string) destination.Mask {
	return destination.NewMask(append(more, s.secrets...)...)
}

func (s *Sender) body(n domain.Notification) (event any, ok bool) {
	n = s.complete(n)
	if s.cfg.Format == Alertmanager {
		return s.message(n)
	}
	return s.cloudEvent(n), true
}

// outcome refuses for good where the receiver says that this notification can't
// be taken, or never anything again (410). All else can be put right without the
// notification being changed: a wrong password, a page that is not there yet, a
// redirect. 409 is the answer to an Idempotency-Key whose first attempt is still
// being handled.
func outcome(status int) domain.Outcome {
	if status >= 200 && status <= 299 {
		return domain.OutcomeDelivered
	}
	switch status {
	case http.StatusBadRequest, http.StatusGone, http.StatusRequestEntityTooLarge,
		http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity:
		return domain.OutcomeRefused
	}
	return domain.OutcomeRetry
}
