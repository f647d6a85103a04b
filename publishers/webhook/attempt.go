package webhook

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/uow-go/uow/relay"
)

// Attempt tells what came of one request.
type Attempt struct {
	// ID is the message's id.
	ID string
	// StartedAt and Duration are by Config.Now.
	StartedAt time.Time
	Duration  time.Duration
	// Sent is whether the receiver may have got something: false when there was no
	// connection.
	Sent bool
	// Status is the answer's status, 0 when there was none.
	Status int
	// BodyBytes is how much of the answer's body was read, at most
	// Config.MaxResponseBytes; BodySHA256 is the digest of it, in hex, and Excerpt
	// its beginning, as printable text. Receivers may echo what they were sent: treat
	// it as confidential.
	BodyBytes  int64
	BodySHA256 string
	Excerpt    string
	// Result is what it means to the relay.
	Result relay.Result
}

// maxExcerpt is how many bytes of an answer an excerpt has.
const maxExcerpt = 256

// read reads the answer, as far as it goes: its status says it all, so that an
// error is no failure.
func (a *Attempt) read(response *http.Response, limit int64) {
	defer response.Body.Close()
	a.Status = response.StatusCode
	body, _ := io.ReadAll(io.LimitReader(response.Body, limit))
	a.BodyBytes = int64(len(body))
	if len(body) == 0 {
		return
	}
	digest := sha256.Sum256(body)
	a.BodySHA256 = hex.EncodeToString(digest[:])
	a.Excerpt = printable(body[:min(len(body), maxExcerpt)])
}

func printable(text []byte) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(string(text), "?"))
}

// classify says what an answer means; the package's comment has the reasons.
func (p *Publisher) classify(response *http.Response) relay.Result {
	status := response.StatusCode
	if status >= 200 && status < 300 {
		return relay.Result{Outcome: relay.Stored}
	}
	err := fmt.Errorf("webhook: %s answered %s", p.destination(), statusText(status))
	if status == http.StatusGone || slices.Contains(p.cfg.Refused, status) {
		return relay.Result{Outcome: relay.Refused, Err: err}
	}
	after := retryAfter(response.Header.Get("Retry-After"), p.cfg.Now(), p.cfg.MaxRetryAfter)
	return relay.Result{Outcome: relay.Retry, Err: err, After: after}
}

// statusText is the status with its standard name, and not what the receiver calls
// it.
func statusText(status int) string {
	text := fmt.Sprintf("%d %s", status, http.StatusText(status))
	if status >= 300 && status < 400 {
		text += ", and redirects are not followed"
	}
	return strings.TrimSpace(text)
}

// failed says what a request without an answer means.
func (p *Publisher) failed(outer context.Context, err error, sent bool) relay.Result {
	err = fmt.Errorf("webhook: %s: %w", p.destination(), withoutURL(err))
	switch {
	case sent:
		return relay.Result{Outcome: relay.Unknown, Err: err}
	case errors.Is(outer.Err(), context.Canceled): // the relay stops
		return relay.Result{Outcome: relay.NotTried, Err: err}
	}
	return relay.Result{Outcome: relay.Retry, Err: err}
}
