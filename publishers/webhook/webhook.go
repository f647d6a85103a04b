package webhook

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"sync/atomic"

	"github.com/uow-go/uow/outbox"
	"github.com/uow-go/uow/relay"
)

// Publisher posts messages to one URL. It is a relay.Publisher, and may be used
// from many goroutines.
type Publisher struct {
	cfg     *resolved
	breaker breaker
	client  *http.Client
	own     *http.Transport // nil when the Config has one
	each    relay.Publisher
	// open ends with Close.
	open  context.Context
	close context.CancelFunc
}

var _ relay.Publisher = (*Publisher)(nil)

// New returns a Publisher. Its errors are ErrConfig, and show no secret.
func New(cfg Config) (*Publisher, error) {
	r, err := cfg.resolve()
	if err != nil {
		return nil, err
	}
	p := &Publisher{cfg: r, breaker: breaker{after: r.BreakAfter, failed: map[string]bool{}}}
	p.open, p.close = context.WithCancel(context.Background())
	transport := cfg.Transport
	if transport == nil {
		p.own = newTransport(cfg.AllowPrivate, r.Concurrency)
		transport = p.own
	}
	p.client = &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	p.each = relay.Each(func(ctx context.Context, m outbox.Message) relay.Result {
		request, err := r.encode(m)
		if err != nil {
			return cannotEncode(err).Result
		}
		return p.post(ctx, request, m.ID).Result
	}, r.Concurrency)
	return p, nil
}

// Close ends requests that are under way, of which nobody knows then whether they have
// arrived, and closes the connections, unless the Transport is the caller's. What is
// published later is relay.Unavailable, by ErrClosed. It may be called again.
func (p *Publisher) Close() error {
	p.close()
	if p.own != nil {
		p.own.CloseIdleConnections()
	}
	return nil
}

// Publish implements relay.Publisher: the messages of a key one after the other,
// several keys at once.
func (p *Publisher) Publish(ctx context.Context, batch []outbox.Message) []relay.Result {
	if p.cfg.Mode == Batch {
		return p.publishBatches(ctx, batch)
	}
	return p.each.Publish(ctx, batch)
}

// post is Post of messages, unless the receiver is away.
func (p *Publisher) post(ctx context.Context, r Request, ids ...string) (a Attempt) {
	if p.open.Err() != nil {
		return Attempt{ID: r.ID, Result: relay.Result{Outcome: relay.Unavailable, Err: ErrClosed}}
	}
	if !p.breaker.enter() {
		return Attempt{ID: r.ID, Result: relay.Result{Outcome: relay.Unavailable,
			Err: fmt.Errorf("webhook: %s does not take anything, and another request is finding out whether it is back", p.destination())}}
	}
	a = Attempt{ID: r.ID, Result: relay.Result{Outcome: relay.Unknown}}
	defer func() { // also when a Transport panics
		if ctx.Err() != nil || p.open.Err() != nil { // which says nothing of the receiver
			ids = nil
		}
		p.breaker.leave(&a, ids)
	}()
	return p.Post(ctx, r)
}

// Deliver makes one attempt to deliver a message, and tells all about it. It is
// what Publish does for each message, but for Config.BreakAfter; callers that keep a
// record of attempts wrap it with relay.Each themselves.
func (p *Publisher) Deliver(ctx context.Context, m outbox.Message) Attempt {
	r, err := p.cfg.encode(m)
	if err != nil {
		a := cannotEncode(err)
		a.ID, a.StartedAt = m.ID, p.cfg.Now()
		return a
	}
	return p.Post(ctx, r)
}

// cannotEncode is the attempt to deliver a message that can't be encoded.
func cannotEncode(err error) Attempt {
	return Attempt{Result: relay.Result{Outcome: relay.Refused, Err: fmt.Errorf("webhook: message can't be encoded: %w", err)}}
}

// Request is one request to post.
type Request struct {
	// ID is the same in every attempt: printable ASCII, not empty.
	ID string
	// ContentType is the body's media type. Default: none is sent.
	ContentType string
	Body        []byte
	// Headers are sent besides those of Config.Headers, which they replace.
	Headers map[string]string
}

// Post makes one attempt to post a body that is not a message's: signed,
// with the same headers and the same meaning of answers.
func (p *Publisher) Post(ctx context.Context, r Request) Attempt {
	began := p.cfg.Now()
	a := Attempt{ID: r.ID, StartedAt: began}
	outer := ctx
	ctx, cancel := context.WithTimeout(ctx, p.cfg.Timeout)
	defer cancel()
	defer context.AfterFunc(p.open, cancel)()
	var sent atomic.Bool // the trace is called by the transport's goroutines
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteHeaders: func() { sent.Store(true) }})
	request, err := p.request(ctx, r, &a)
	if err != nil {
		a.Result = relay.Result{Outcome: relay.Refused, Err: err}
		return a
	}
	response, err := p.client.Do(request)
	a.Sent = sent.Load() || response != nil
	if err != nil {
		a.Result = p.failed(outer, err, a.Sent)
	} else {
		a.read(response, p.cfg.MaxResponseBytes)
		a.Result = p.classify(response)
	}
	a.Duration = p.cfg.Now().Sub(began)
	return a
}

func (p *Publisher) request(ctx context.Context, r Request, a *Attempt) (*http.Request, error) {
	if r.ID == "" || !isHeaderValue(r.ID) {
		return nil, fmt.Errorf("webhook: %s: the id %q can't be sent in a header", p.destination(), r.ID)
	}
	if !isHeaderValue(r.ContentType) {
		return nil, fmt.Errorf("webhook: %s: the media type %q can't be sent in a header", p.destination(), r.ContentType)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, p.cfg.url.String(), bytes.NewReader(r.Body))
	if err != nil {
		return nil, fmt.Errorf("webhook: %s: %w", p.destination(), withoutURL(err))
	}
	request.Header = p.cfg.headers.Clone()
	for name, value := range r.Headers {
		if !isToken(name) || !isHeaderValue(value) || reservedHeader(http.CanonicalHeaderKey(name)) {
			return nil, fmt.Errorf("webhook: %s: the header %q can't be sent", p.destination(), name)
		}
		request.Header.Set(name, value)
	}
	if r.ContentType != "" {
		request.Header.Set("Content-Type", r.ContentType)
	}
	request.Header.Set(headerIdempotency, r.ID)
	request.Header.Set(headerID, r.ID)
	request.Header.Set(headerTimestamp, strconv.FormatInt(a.StartedAt.Unix(), 10))
	if len(p.cfg.keys) > 0 {
		request.Header.Set(headerSignature, sign(p.cfg.keys, r.ID, a.StartedAt, r.Body))
	}
	return request, nil
}

// destination names the URL without what may be secret in it.
func (p *Publisher) destination() string { return p.cfg.url.Scheme + "://" + p.cfg.url.Host }

// withoutURL takes the URL out of an error of package http.
func withoutURL(err error) error {
	var withURL *url.Error
	if errors.As(err, &withURL) {
		return withURL.Err
	}
	return err
}
