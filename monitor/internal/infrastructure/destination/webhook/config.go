package webhook

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

func check(cfg Config) (*url.URL, error) {
	u, err := url.Parse(cfg.URL)
	if err != nil { // its text holds the URL
		return nil, fmt.Errorf("%w: URL can't be parsed", ErrConfig)
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("%w: URL must start with http:// or https:// and name a host", ErrConfig)
	}
	switch cfg.Format {
	case "", CloudEvents, Alertmanager:
	default:
		return nil, fmt.Errorf("%w: Format is %q, and not cloudevents or alertmanager", ErrConfig, cfg.Format)
	}
	if _, err := url.Parse(cfg.Source); err != nil {
		return nil, fmt.Errorf("%w: Source: %w", ErrConfig, err)
	}
	if cfg.Timeout < 0 {
		return nil, fmt.Errorf("%w: Timeout is negative", ErrConfig)
	}
	for name, value := range cfg.Headers {
		if err := checkHeader(name, value); err != nil {
			return nil, err
		}
	}
	return u, nil
}

func checkHeader(name, value string) error {
	if name == "" || strings.ContainsFunc(name, func(r rune) bool { return !isToken(r) }) {
		return fmt.Errorf("%w: %q is no name of a header", ErrConfig, name)
	}
	if strings.ContainsFunc(value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
		return fmt.Errorf("%w: the header %s holds a control character", ErrConfig, name)
	}
	switch http.CanonicalHeaderKey(name) {
	case "Content-Type", "Content-Length", "Transfer-Encoding", "Connection", "Trailer",
		"Idempotency-Key", "Tocsin-Attempt", "Webhook-Id", "Webhook-Timestamp", "Webhook-Signature":
		return fmt.Errorf("%w: the header %s is set by the sender itself", ErrConfig, name)
	}
	return nil
}

func isToken(r rune) bool {
	return '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || strings.ContainsRune("!#$%&'*+-.^_`|~", r)
}
