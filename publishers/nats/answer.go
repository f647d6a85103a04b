package nats

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	client "github.com/nats-io/nats.go"

	"github.com/uow-go/uow/outbox"
	"github.com/uow-go/uow/relay"
)

// pubAck is what a stream answers.
type pubAck struct {
	Stream    string    `json:"stream"`
	Sequence  uint64    `json:"seq"`
	Duplicate bool      `json:"duplicate"`
	BatchSize int       `json:"count"`
	Error     *apiError `json:"error"`
}

type apiError struct {
	Code        int    `json:"code"`
	ErrCode     int    `json:"err_code"`
	Description string `json:"description"`
}

// Codes of the server's errors.
const (
	errMessageTooLarge = 10054
	errStoreFailed     = 10077
)

// answered reads an answer. An answer that is none of the stream's is an error.
func (p *Publisher) answered(answer *client.Msg) (pubAck, error) {
	var ack pubAck
	if err := json.Unmarshal(answer.Data, &ack); err != nil {
		return ack, fmt.Errorf("nats: the answer is no acknowledgement: %w", err)
	}
	if ack.Error == nil && ack.Stream != p.cfg.Stream {
		return ack, fmt.Errorf("nats: the message was stored by the stream %q, not by %s", ack.Stream, p.cfg.Stream)
	}
	return ack, nil
}

// classify says what an answer to a single message means.
func (p *Publisher) classify(m *outbox.Message, answer *client.Msg) relay.Result {
	ack, err := p.answered(answer)
	switch {
	case err != nil && ack.Stream != "": // of another stream, which has it
		return relay.Result{Outcome: relay.Retry, Err: err}
	case err != nil:
		return relay.Result{Outcome: relay.Unknown, Err: err}
	case ack.Error != nil:
		return p.classifyError(m, ack.Error)
	case ack.Duplicate:
		return relay.Result{Outcome: relay.Duplicate}
	}
	return relay.Result{Outcome: relay.Stored}
}

func (p *Publisher) classifyError(m *outbox.Message, e *apiError) relay.Result {
	err := fmt.Errorf("nats: stream %s answered: %s (%d)", p.cfg.Stream, e.Description, e.ErrCode)
	switch {
	case e.ErrCode == errMessageTooLarge:
		err = fmt.Errorf("nats: a payload of %d bytes is too large for the stream %s: %s", len(m.Payload), p.cfg.Stream, e.Description)
		return relay.Result{Outcome: relay.Refused, Err: err}
	case e.ErrCode == errStoreFailed && strings.Contains(e.Description, "per subject"):
		return relay.Result{Outcome: relay.Retry, Err: err}
	case e.ErrCode == errStoreFailed, e.Code == 503, e.Code == 429: // full, no leader, too many at once
		return relay.Result{Outcome: relay.Unavailable, Err: err}
	}
	return relay.Result{Outcome: relay.Retry, Err: err}
}

// failed says what it means that there was no answer.
func (p *Publisher) failed(ctx context.Context, subject string, m *outbox.Message, err error) relay.Result {
	wrapped := named(err)
	var notSent notSentError
	switch {
	case errors.Is(err, client.ErrMaxPayload):
		return relay.Result{Outcome: relay.Refused, Err: fmt.Errorf("nats: a message with a payload of %d bytes is too large: %w", len(m.Payload), err)}
	case errors.Is(err, client.ErrBadSubject), errors.Is(err, client.ErrHeadersNotSupported):
		return relay.Result{Outcome: relay.Refused, Err: wrapped}
	case errors.Is(err, client.ErrNoResponders):
		return p.nobodyListens(ctx, subject)
	case errors.As(err, &notSent):
		return relay.Result{Outcome: relay.Unavailable, Err: wrapped}
	}
	return relay.Result{Outcome: relay.Unknown, Err: wrapped}
}

// named begins an error with the package's name, as those of the client do.
func named(err error) error {
	if strings.HasPrefix(err.Error(), "nats: ") {
		return err
	}
	return fmt.Errorf("nats: %w", err)
}

// nobodyListens tells a subject that leads nowhere from a stream without a leader: what
// nobody listens to was not stored.
func (p *Publisher) nobodyListens(ctx context.Context, subject string) relay.Result {
	subjects := p.subjects.Load()
	if !covered(*subjects, subject) { // unless the stream was changed since
		info, err := p.js.Stream(ctx, p.cfg.Stream)
		if err != nil {
			return relay.Result{Outcome: relay.Unavailable, Err: fmt.Errorf("nats: stream %s: %w", p.cfg.Stream, err)}
		}
		subjects = &info.CachedInfo().Config.Subjects
		p.subjects.Store(subjects)
		if !covered(*subjects, subject) {
			return relay.Result{Outcome: relay.Retry, Err: fmt.Errorf("nats: the subject %q is not among those of the stream %s", subject, p.cfg.Stream)}
		}
	}
	return relay.Result{Outcome: relay.Unavailable, Err: fmt.Errorf("nats: stream %s: %w", p.cfg.Stream, client.ErrNoResponders)}
}

// covered reports whether a subject is among those of a stream.
func covered(patterns []string, subject string) bool {
	tokens := strings.Split(subject, ".")
	for _, pattern := range patterns {
		if matches(strings.Split(pattern, "."), tokens) {
			return true
		}
	}
	return false
}

func matches(pattern, tokens []string) bool {
	for i, p := range pattern {
		switch {
		case p == ">":
			return len(tokens) > i
		case i >= len(tokens), p != "*" && p != tokens[i]:
			return false
		}
	}
	return len(tokens) == len(pattern)
}
