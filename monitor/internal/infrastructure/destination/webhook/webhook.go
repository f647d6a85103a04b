package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/uow-go/uow/publishers/webhook"

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
	// Transport sends the requests. Default: one that a receiver can't hold up or
	// flood.
	Transport http.RoundTripper
	// Timeout is for one attempt, the answer included. Default: 10 seconds.
	Timeout time.Duration
	// Now is the clock of the signatures. Default: time.Now.
	Now func() time.Time
}

// Sender is an application.Sender that posts notifications. It may be used from
// many goroutines.
type Sender struct {
	cfg       Config
	transport http.RoundTripper
	secrets   []string // of the configuration, but for the keys

	mu     sync.Mutex
	secret string // the one that poster signs with
	poster *webhook.Publisher
}

var _ application.Sender = (*Sender)(nil)

// New checks the configuration, reads the secret, and makes no request.
func New(cfg Config) (*Sender, error) {
	switch cfg.Format {
	case "":
		cfg.Format = CloudEvents
	case CloudEvents, Alertmanager:
	default:
		return nil, fmt.Errorf("%w: Format is %q, and not cloudevents or alertmanager", ErrConfig, cfg.Format)
	}
	if _, err := url.Parse(cfg.Source); err != nil {
		return nil, fmt.Errorf("%w: Source: %w", ErrConfig, err)
	}
	s := &Sender{cfg: cfg, transport: newTransport(cfg.Transport)}
	if _, _, err := s.current(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	if u, err := url.Parse(cfg.URL); err == nil {
		s.secrets = append(destination.URLSecrets(u), destination.PathSecrets(u)...)
	}
	for _, value := range cfg.Headers {
		s.secrets = append(s.secrets, value)
	}
	return s, nil
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
	poster, keys, err := s.current()
	if err != nil { // an unsigned notification would be worse than a late one
		return application.Answer{Outcome: domain.OutcomeRetry, Detail: s.mask(keys...).Clean("webhook: " + err.Error())}
	}
	attempt := poster.Post(ctx, webhook.Request{
		ID:          n.ID,
		ContentType: s.cfg.Format.contentType(),
		Body:        body,
		Headers:     map[string]string{"Tocsin-Attempt": strconv.Itoa(number)},
	})
	return answer(attempt, s.mask(keys...))
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
