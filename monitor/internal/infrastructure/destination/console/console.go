// Package console writes notifications as lines for people to read.
//
// A line is one notification, whatever the alert's labels and annotations hold:
// characters that could move the cursor, change colours, end the line or turn the
// direction of the text are written as escapes.
package console

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/uow-go/uow/monitor/internal/application"
	"github.com/uow-go/uow/monitor/internal/domain"
)

// ErrConfig is found in the errors of New.
var ErrConfig = errors.New("console: bad configuration")

// Config says where lines go and how they look.
type Config struct {
	// Out gets one Write for each line.
	Out io.Writer
	// Color turns on colours. See Colorful.
	Color bool
	// Location is the time zone of the times. Default: time.Local.
	Location *time.Location
}

// Sender is an application.Sender that writes lines. It may be used from many
// goroutines.
type Sender struct {
	cfg Config
	// turn holds one token: who has it may write. It is no mutex, so that a
	// sender whose context ends needs not wait for a writer that blocks.
	turn chan struct{}
}

var _ application.Sender = (*Sender)(nil)

// New checks the configuration.
func New(cfg Config) (*Sender, error) {
	if cfg.Out == nil {
		return nil, fmt.Errorf("%w: Out is nil", ErrConfig)
	}
	if cfg.Location == nil {
		cfg.Location = time.Local
	}
	s := &Sender{cfg: cfg, turn: make(chan struct{}, 1)}
	s.turn <- struct{}{}
	return s, nil
}

// Send writes the line of a notification. When the writer fails, the answer is
// to try again; when ctx ends while it blocks, as on a terminal that was stopped,
// the outcome is unknown, since the line may appear yet.
func (s *Sender) Send(ctx context.Context, n domain.Notification, _ int) application.Answer {
	if ctx.Err() != nil { // select would toss a coin
		return retry(ctx.Err())
	}
	select {
	case <-ctx.Done():
		return retry(ctx.Err())
	case <-s.turn:
	}
	text := line(n, s.cfg.Location, s.cfg.Color)
	written := make(chan error, 1)
	go func() {
		_, err := io.WriteString(s.cfg.Out, text)
		s.turn <- struct{}{}
		written <- err
	}()
	select {
	case err := <-written:
		if err != nil {
			return retry(err)
		}
		return application.Answer{Outcome: domain.OutcomeDelivered}
	case <-ctx.Done():
		return application.Answer{Outcome: domain.OutcomeUnknown, Detail: "console: the line was not taken in time"}
	}
}

func retry(err error) application.Answer {
	return application.Answer{Outcome: domain.OutcomeRetry, Detail: shorten(printable("console: " + err.Error()))}
}
