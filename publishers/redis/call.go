package redis

import (
	"context"
	"errors"
	"fmt"
	"strings"

	client "github.com/redis/go-redis/v9"

	"github.com/uow-go/uow/outbox"
	"github.com/uow-go/uow/relay"
)

// call is one call of Publish.
type call struct {
	p       *Publisher
	ctx     context.Context
	batch   []outbox.Message
	results []relay.Result
	stopped map[string]bool // keys
	// rest, when it is set, is the result of whatever is not published yet.
	rest *relay.Result

	places []int // of what is collected for the next script
	keys   []string
	args   []any
	bytes  int
}

func (c *call) set(i int, r relay.Result) {
	c.results[i] = r
	if !r.Outcome.Delivered() {
		c.stopped[c.batch[i].Key] = true
	}
}

func (c *call) all(places []int, r relay.Result) {
	for _, i := range places {
		c.set(i, r)
	}
}

func (c *call) add(i int, stream string, fields []any) {
	if len(c.places) == 0 {
		c.args = []any{c.p.cfg.window(), c.p.cfg.MaxLen}
	}
	m := c.batch[i]
	c.places = append(c.places, i)
	c.keys = append(c.keys, stream, stream+":uow:"+m.ID)
	c.args = append(append(c.args, m.Key, len(fields)), fields...)
	c.bytes += len(m.Payload)
}

// flush publishes what is collected.
func (c *call) flush() {
	places, keys, args := c.places, c.keys, c.args
	c.places, c.keys, c.args, c.bytes = nil, nil, nil, 0
	if len(places) == 0 {
		return
	}
	if c.rest == nil && c.ctx.Err() != nil {
		c.rest = &relay.Result{Outcome: relay.NotTried, Err: fmt.Errorf("redis: %w", c.ctx.Err())}
	}
	if c.rest != nil {
		c.all(places, *c.rest)
		return
	}
	outcomes, replicas, err := c.p.exchange(c.ctx, keys, args)
	if err == nil && len(outcomes) != len(places) {
		err = fmt.Errorf("the script answered for %d messages of %d", len(outcomes), len(places))
	}
	if err != nil {
		c.failed(places, err)
		return
	}
	for at, i := range places {
		c.set(i, c.classify(outcomes[at], replicas))
		if r := c.results[i]; r.Outcome == relay.Unavailable && c.rest == nil {
			c.rest = &r
		}
	}
}

// classify says what the script's answer for a message means.
func (c *call) classify(outcome string, replicas int64) relay.Result {
	delivered := outcome == "s" || outcome == "d"
	switch {
	case delivered && replicas < int64(c.p.cfg.Replicas):
		return relay.Result{Outcome: relay.Unknown, Err: fmt.Errorf("redis: %d replicas have the message within %v, and Replicas is %d", replicas, c.p.cfg.Timeout, c.p.cfg.Replicas)}
	case outcome == "s":
		return relay.Result{Outcome: relay.Stored}
	case outcome == "d":
		return relay.Result{Outcome: relay.Duplicate}
	case outcome == "n":
		return relay.Result{Outcome: relay.NotTried}
	case concernsAll(outcome):
		return relay.Result{Outcome: relay.Unavailable, Err: fmt.Errorf("redis: the server answered: %s", outcome)}
	}
	return relay.Result{Outcome: relay.Retry, Err: fmt.Errorf("redis: the server answered: %s", outcome)}
}

// failed says what an error means in place of the script's answer.
func (c *call) failed(places []int, err error) {
	var notSent notSentError
	var answered client.Error
	r := relay.Result{Outcome: relay.Unknown, Err: fmt.Errorf("redis: %w", err)}
	switch {
	case errors.As(err, &notSent), errors.Is(err, client.ErrPoolTimeout), errors.Is(err, client.ErrPoolExhausted):
		r.Outcome = relay.Unavailable
	case errors.As(err, &answered) && concernsAll(err.Error()):
		r.Outcome = relay.Unavailable
	}
	c.all(places, r)
	if r.Outcome == relay.Unknown {
		r.Outcome = relay.NotTried
	}
	c.rest = &r
}

// concernsAll reports whether an error of the server's has nothing to do with the
// message: it would refuse any other as well, and has not run the script.
func concernsAll(text string) bool {
	code, _, _ := strings.Cut(strings.TrimPrefix(text, "ERR "), " ")
	switch strings.TrimPrefix(code, "-") {
	case "OOM", "MISCONF", "READONLY", "LOADING", "MASTERDOWN", "CLUSTERDOWN", "NOREPLICAS", "BUSY", "TRYAGAIN",
		"NOAUTH", "NOPERM", "WRONGPASS", "UNBLOCKED":
		return true
	}
	return false
}
