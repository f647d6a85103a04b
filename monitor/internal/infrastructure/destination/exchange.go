package destination

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/uow-go/uow/monitor/internal/application"
	"github.com/uow-go/uow/monitor/internal/domain"
)

// Exchange makes one request and tells what it gave. outcome says what a status
// means; texts are shown as mask leaves them. The client must not follow
// redirects, and the context of the request should have a deadline.
//
// Without a status, the outcome is Retry when the request was not sent as a
// whole, and Unknown when it was: the receiver may have acted on it.
func Exchange(client *http.Client, request *http.Request, outcome func(status int) domain.Outcome, mask Mask) application.Answer {
	var sent atomic.Bool
	trace := &httptrace.ClientTrace{WroteRequest: func(info httptrace.WroteRequestInfo) {
		if info.Err == nil {
			sent.Store(true)
		}
	}}
	response, err := client.Do(request.WithContext(httptrace.WithClientTrace(request.Context(), trace)))
	if err != nil {
		return Unanswered(err, sent.Load(), mask)
	}
	defer response.Body.Close()
	answer := application.Answer{Outcome: outcome(response.StatusCode), Status: response.StatusCode}
	if answer.Outcome != domain.OutcomeDelivered {
		answer.Detail = mask.CleanExcerpt(excerpt(response.Body))
		answer.After = retryAfter(response.Header.Get("Retry-After"), time.Now())
	}
	if answer.Detail == "" && answer.Status >= 300 && answer.Status <= 399 {
		answer.Detail = "redirects are not followed"
	}
	if size := response.ContentLength; size >= 0 && size <= maxDrain {
		_, _ = io.CopyN(io.Discard, response.Body, size) // so that the connection is used again
	}
	return answer
}

// Unanswered is the answer for a request that got none, by Exchange's rule.
func Unanswered(err error, sent bool, mask Mask) application.Answer {
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err // its own text has the URL
	}
	detail := err.Error()
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		detail = "no answer in time"
	case errors.Is(err, context.Canceled):
		detail = "interrupted"
	}
	if sent {
		return application.Answer{Outcome: domain.OutcomeUnknown, Detail: mask.Clean("sent, and then: " + detail)}
	}
	return application.Answer{Outcome: domain.OutcomeRetry, Detail: mask.Clean("not sent: " + detail)}
}

const (
	maxRead  = 4 << 10
	maxDrain = 16 << 10
)

// excerpt returns the beginning of a body.
func excerpt(body io.Reader) string {
	read, _ := io.ReadAll(io.LimitReader(body, maxRead)) // what came is what counts
	return string(read)
}

// maxAfter bounds what a receiver can ask for: it must not put alerts off for
// ever.
const maxAfter = time.Hour

// retryAfter reads the header: seconds, or a date.
func retryAfter(value string, now time.Time) time.Duration {
	if seconds, err := strconv.ParseInt(value, 10, 64); err == nil {
		return time.Duration(min(max(seconds, 0), int64(maxAfter/time.Second))) * time.Second
	}
	if at, err := http.ParseTime(value); err == nil {
		return min(max(at.Sub(now), 0), maxAfter)
	}
	return 0
}
