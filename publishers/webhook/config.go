package webhook

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/uow-go/uow/outbox"
)

// ErrConfig is what errors.Is finds in errors of New.
var ErrConfig = errors.New("webhook: wrong configuration")

// ErrClosed is what errors.Is finds in the results of a Publisher that was closed.
var ErrClosed = errors.New("webhook: the publisher is closed")

// Encoder makes the body of a request, and its media type, of a message. An error
// refuses the message for good.
type Encoder func(m outbox.Message) (contentType string, body []byte, err error)

// Config says where to post, and how.
type Config struct {
	// URL is where to: http or https. Its user part, if any, becomes basic
	// authentication. Required.
	URL string
	// Secrets sign the requests, each with a signature of its own: while a secret
	// is replaced, the old and the new one. A secret is "whsec_" and base64 of 24 to
	// 64 bytes. Requests are not signed when there is none.
	Secrets []string
	// Headers are sent with each request, such as Authorization. Those that the
	// publisher sets itself can't be set here.
	Headers map[string]string

	// Mode says how messages become requests. Default: Structured.
	Mode Mode
	// BatchSize is how many messages one request has at most, in Batch mode; there are
	// fewer when they have more than 1 MiB. Default: 100.
	BatchSize int
	// Encode makes the body, in place of CloudEvents. Default: CloudEvents(Source).
	Encode Encoder
	// Source is the CloudEvents attribute that tells which system the events are
	// of: a URI reference, such as "https://example.com/orders" or "/orders".
	// Required, unless Encode is set.
	Source string

	// Concurrency is how many keys are sent at once in each batch. Requests of Batch mode
	// are sent one after the other. Default: 8.
	Concurrency int
	// Timeout bounds one request, its answer included. It should be at most half of
	// the relay's PublishTimeout. Default: 10s.
	Timeout time.Duration
	// MaxRetryAfter is the longest Retry-After that is heeded; what is longer counts
	// as this. Default: 1h.
	MaxRetryAfter time.Duration
	// MaxResponseBytes is how much of an answer is read. Default: 64 KiB.
	MaxResponseBytes int64
	// Refused are statuses that refuse a message for good, besides 410. Success
	// can't be among them.
	Refused []int

	// BreakAfter is after how many different messages in a row, which the receiver did not
	// answer, or by a status of 500 or above, or 429, it counts as away, until it has
	// taken one. What Publish tries meanwhile is relay.Unavailable: the relay waits, and
	// messages use up no attempts. -1: never. Default: 5.
	BreakAfter int

	// AllowPrivate allows destinations that are not on the public internet:
	// loopback, private and link-local addresses, and others with a special purpose.
	AllowPrivate bool
	// Transport sends the requests. It is for special needs, such as client
	// certificates or a proxy; AllowPrivate then has no effect. Default: one of the
	// publisher's own.
	Transport http.RoundTripper

	// Now is the clock. Default: time.Now.
	Now func() time.Time
}

// resolved is a Config that was checked.
type resolved struct {
	Config
	url     *url.URL
	keys    [][]byte
	headers http.Header
}

func (c Config) resolve() (*resolved, error) {
	r := &resolved{Config: c}
	r.setDefaults()
	if r.Concurrency < 0 || r.Timeout < 0 || r.MaxRetryAfter < 0 || r.MaxResponseBytes < 0 {
		return nil, configError("Concurrency, Timeout, MaxRetryAfter and MaxResponseBytes can't be negative")
	}
	for _, status := range r.Refused {
		if status < 300 || status > 599 {
			return nil, configError("Refused has %d: it is for statuses from 300 to 599", status)
		}
	}
	r.Refused = slices.Clone(r.Refused)
	for _, step := range []func() error{r.resolveURL, r.resolveSecrets, r.resolveHeaders, r.resolveMode, r.resolveEncode} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	return r, nil
}

func (r *resolved) setDefaults() {
	if r.Concurrency == 0 {
		r.Concurrency = 8
	}
	if r.BreakAfter == 0 {
		r.BreakAfter = 5
	}
	if r.Timeout == 0 {
		r.Timeout = 10 * time.Second
	}
	if r.MaxRetryAfter == 0 {
		r.MaxRetryAfter = time.Hour
	}
	if r.MaxResponseBytes == 0 {
		r.MaxResponseBytes = 64 << 10
	}
	if r.Now == nil {
		r.Now = time.Now
	}
}

func (r *resolved) resolveURL() error {
	u, err := url.Parse(r.URL)
	switch {
	case err != nil: // its text has the whole URL
		return configError("URL can't be parsed")
	case u.Scheme != "http" && u.Scheme != "https":
		return configError("URL has scheme %q: it must be http or https", u.Scheme)
	case u.Hostname() == "":
		return configError("URL has no host")
	}
	r.url = u
	return nil
}

func (r *resolved) resolveSecrets() error {
	for i, secret := range r.Secrets {
		key, err := decodeSecret(secret)
		if err != nil {
			return configError("Secrets[%d] %s", i, err)
		}
		r.keys = append(r.keys, key)
	}
	return nil
}

func (r *resolved) resolveHeaders() error {
	r.headers = http.Header{}
	r.headers.Set("User-Agent", "uow-webhook")
	for name, value := range r.Config.Headers {
		canonical := http.CanonicalHeaderKey(name)
		switch {
		case !isToken(name) || !isHeaderValue(value):
			return configError("Headers has %q, which is not a header, or its value is not one", name)
		case reservedHeader(canonical):
			return configError("Headers has %s, which the publisher sets itself", canonical)
		}
		r.headers.Set(canonical, value)
	}
	return nil
}

func (r *resolved) resolveEncode() error {
	if r.Encode != nil {
		return nil
	}
	if _, err := url.Parse(r.Source); err != nil || r.Source == "" {
		return configError("Source %q is not a URI reference", r.Source)
	}
	r.Encode = CloudEvents(r.Source)
	return nil
}

func reservedHeader(canonical string) bool {
	switch canonical {
	case "Content-Type", "Content-Length", "Transfer-Encoding", "Connection", "Host", "Trailer", "Upgrade",
		headerID, headerTimestamp, headerSignature, headerIdempotency:
		return true
	}
	return false
}

// isToken reports whether s can be the name of a header.
func isToken(s string) bool {
	const allowed = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return !strings.ContainsRune(allowed, r)
	})
}

// isHeaderValue reports whether s can be the value of a header: printable ASCII.
func isHeaderValue(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' })
}

func configError(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrConfig, fmt.Sprintf(format, args...))
}
