package webhook

import (
	"fmt"
	"maps"
	"net/http"
	"strings"
	"time"

	"github.com/uow-go/uow/publishers/webhook"
	"github.com/uow-go/uow/relay"

	"github.com/uow-go/uow/monitor/internal/application"
	"github.com/uow-go/uow/monitor/internal/domain"
	"github.com/uow-go/uow/monitor/internal/infrastructure/destination"
)

// current reads the secret, and returns what posts with it and the texts in it
// that must not be shown.
func (s *Sender) current() (poster *webhook.Publisher, texts []string, err error) {
	secret := ""
	if s.cfg.Secret != nil {
		if secret, err = s.cfg.Secret(); err != nil {
			return nil, nil, fmt.Errorf("secret: %w", err)
		}
	}
	keys := strings.Fields(secret)
	for _, key := range keys {
		texts = append(texts, key, strings.TrimPrefix(key, "whsec_"))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.poster == nil || s.secret != secret {
		poster, err := s.newPoster(keys)
		if err != nil {
			return nil, texts, err
		}
		s.poster, s.secret = poster, secret
	}
	return s.poster, texts, nil
}

// newPoster refuses for good what blames the notification. All else can be put
// right without it being changed: a wrong password, a page that is not there yet.
// 409 is the answer to an Idempotency-Key whose first attempt is still being
// handled.
func (s *Sender) newPoster(keys []string) (*webhook.Publisher, error) {
	headers := map[string]string{"User-Agent": "tocsin"}
	maps.Copy(headers, s.cfg.Headers)
	return webhook.New(webhook.Config{
		URL:     s.cfg.URL,
		Secrets: keys,
		Headers: headers,
		Source:  "tocsin", // required, and not used: the body is ready
		Timeout: s.cfg.Timeout,
		// Answers are shown in a few words.
		MaxResponseBytes: 4 << 10,
		Refused: []int{
			http.StatusBadRequest, http.StatusRequestEntityTooLarge,
			http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity,
		},
		AllowPrivate: true, // an operator's own receivers are on private networks
		Transport:    s.transport,
		Now:          s.cfg.Now,
	})
}

func answer(a webhook.Attempt, mask destination.Mask) application.Answer {
	out := application.Answer{Status: a.Status, After: a.Result.After, Outcome: domain.OutcomeRetry}
	switch a.Result.Outcome {
	case relay.Stored, relay.Duplicate:
		out.Outcome = domain.OutcomeDelivered
		return out
	case relay.Refused:
		out.Outcome = domain.OutcomeRefused
	case relay.Unknown:
		out.Outcome = domain.OutcomeUnknown
	}
	switch {
	case a.Status == 0 && out.Outcome == domain.OutcomeRefused: // it could not be made into a request
		out.Detail = mask.Clean(a.Result.Err.Error())
	case a.Status == 0:
		return destination.Unanswered(a.Result.Err, a.Sent, mask)
	case a.Excerpt == "" && a.Status >= 300 && a.Status <= 399:
		out.Detail = "redirects are not followed"
	default:
		out.Detail = mask.CleanExcerpt(a.Excerpt)
	}
	return out
}

func newTransport(given http.RoundTripper) http.RoundTripper {
	if given != nil {
		return once{given}
	}
	return once{&http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		ForceAttemptHTTP2:      true,
		TLSHandshakeTimeout:    5 * time.Second,
		MaxIdleConnsPerHost:    4,
		IdleConnTimeout:        3 * time.Second, // shorter than receivers', whose closing would cost an attempt
		MaxResponseHeaderBytes: 64 << 10,
		DisableCompression:     true,
	}}
}

// once keeps net/http from sending a request twice when a connection breaks, as it
// does with an Idempotency-Key in its usual spelling: the second would be an
// attempt that the ledger does not have. Receivers see no difference.
type once struct{ next http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (o once) RoundTrip(r *http.Request) (*http.Response, error) {
	const name = "Idempotency-Key"
	r = r.Clone(r.Context())
	values := r.Header[name]
	delete(r.Header, name)
	r.Header[strings.ToLower(name)] = values
	return o.next.RoundTrip(r)
}
