package rabbitmq

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// intake is one connection with one channel that deliveries come by, from its opening to
// its end. They can be acknowledged by it alone.
type intake struct {
	conn       *amqp.Connection
	channel    *amqp.Channel
	deliveries <-chan amqp.Delivery
	done       sync.WaitGroup

	ended context.Context
	fail  context.CancelCauseFunc
}

// openIntake connects and begins to consume.
func openIntake(ctx context.Context, cfg ConsumerConfig) (*intake, error) {
	ctx, cancel := context.WithTimeout(ctx, cfg.Timeout)
	defer cancel()
	conn, keep, err := connect(ctx, cfg.URL, cfg.TLS, cfg.Timeout)
	if err != nil {
		return nil, err
	}
	in := &intake{conn: conn}
	in.ended, in.fail = context.WithCancelCause(context.Background())
	err = in.start(cfg)
	if !keep() && err == nil {
		err = fmt.Errorf("rabbitmq: connect: %w", ctx.Err())
	}
	if err != nil {
		in.end(err)
		in.done.Wait()
		return nil, err
	}
	return in, nil
}

func (in *intake) start(cfg ConsumerConfig) (err error) {
	closed := in.conn.NotifyClose(make(chan *amqp.Error, 1))
	if in.channel, err = in.conn.Channel(); err != nil {
		return fmt.Errorf("rabbitmq: open a channel: %w", err)
	}
	channelClosed := in.channel.NotifyClose(make(chan *amqp.Error, 1))
	in.done.Go(func() {
		select {
		case err := <-closed:
			in.endWith("connection", err)
		case err := <-channelClosed:
			in.endWith("channel", err)
		case <-in.ended.Done():
		}
	})
	if err := in.channel.Qos(cfg.Prefetch, 0, false); err != nil {
		return fmt.Errorf("rabbitmq: prefetch: %w", err)
	}
	if err := cfg.checkDead(in.channel); err != nil {
		return err
	}
	if in.deliveries, err = in.channel.Consume(cfg.Queue, "", false, !cfg.Shared, false, false, nil); err != nil {
		return fmt.Errorf("rabbitmq: consume queue %s: %w", cfg.Queue, err)
	}
	return nil
}

func (in *intake) endWith(what string, err *amqp.Error) {
	cause := fmt.Errorf("rabbitmq: the %s was closed", what)
	if err != nil {
		cause = fmt.Errorf("rabbitmq: the %s was closed: %w", what, err)
	}
	in.end(cause)
}

// end ends the intake. It does not wait for the broker, which may be gone.
func (in *intake) end(cause error) {
	in.fail(cause)
	_ = in.conn.CloseDeadline(time.Now().Add(time.Second))
}

var errReturned = errors.New("rabbitmq: what was not acknowledged has been given back")

// giveBack ends the intake when the broker has the acknowledgements; what is not
// acknowledged goes back to where it was in the queue.
func (in *intake) giveBack(timeout time.Duration) error {
	select {
	case <-in.ended.Done(): // the broker has done that by itself
		in.done.Wait()
		return nil
	default:
	}
	late := time.AfterFunc(timeout, func() { in.end(errReturned) })
	err := in.channel.Close()
	late.Stop()
	in.end(errReturned)
	in.done.Wait()
	if err != nil {
		return fmt.Errorf("rabbitmq: close the channel: %w", err)
	}
	return nil
}
