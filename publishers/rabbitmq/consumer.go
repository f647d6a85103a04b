package rabbitmq

import (
	"context"
	"errors"
	"fmt"
	"strings"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/uow-go/uow/consumer"
)

// Consumer handles the messages of a queue, with a connection of its own, and another for
// what is refused.
type Consumer struct {
	runner *consumer.Runner
	source *source
}

// NewConsumer connects, and checks that the queue is there, and the place for what is
// refused. Errors are ErrConfig, or tell what the broker said. The caller must Close it.
func NewConsumer(ctx context.Context, cfg ConsumerConfig) (*Consumer, error) {
	cfg, err := cfg.resolve()
	if err != nil {
		return nil, err
	}
	s := &source{cfg: cfg}
	if err := s.check(ctx); err != nil {
		return nil, err
	}
	if cfg.hasPlace() {
		if s.dead, err = newPublisher(ctx, cfg.deadConfig()); err != nil {
			return nil, err
		}
	}
	return &Consumer{source: s, runner: consumer.NewRunner(cfg.Config, s, 0)}, nil
}

// Run handles messages until ctx ends, or Close. Then it begins nothing new, lets handlers
// finish, gives back the rest, and returns nil. While the broker can't be reached it
// waits for it. It returns an error only when it is running already, or closed.
func (c *Consumer) Run(ctx context.Context) error { return c.runner.Run(ctx) }

// Close ends Run as its context does, and the connections. It may be called again.
func (c *Consumer) Close() error {
	c.runner.Close()
	if c.source.dead != nil {
		return c.source.dead.Close()
	}
	return nil
}

// source is the broker's side. Deliveries are bound to the intake by which they came.
type source struct {
	cfg  ConsumerConfig
	dead *Publisher
	in   *intake // of Receive and Return
}

// check looks for the queues.
func (s *source) check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	conn, keep, err := connect(ctx, s.cfg.URL, s.cfg.TLS, s.cfg.Timeout)
	if err != nil {
		return err
	}
	defer keep()
	defer func() { _ = conn.Close() }()
	channel, err := conn.Channel()
	if err != nil {
		return fmt.Errorf("rabbitmq: open a channel: %w", err)
	}
	if _, err := channel.QueueDeclarePassive(s.cfg.Queue, true, false, false, false, nil); err != nil {
		return fmt.Errorf("rabbitmq: queue %s: %w", s.cfg.Queue, err)
	}
	return s.cfg.checkDead(channel)
}

// Receive implements consumer.Source.
func (s *source) Receive(ctx context.Context, limit int) (all []*consumer.Delivery, err error) {
	if s.in != nil && s.in.ended.Err() != nil {
		s.in.done.Wait()
		s.in = nil
	}
	if s.in == nil {
		if s.in, err = openIntake(ctx, s.cfg); err != nil {
			s.in = nil
			return nil, err
		}
	}
	select {
	case <-ctx.Done():
		return nil, nil
	case d, ok := <-s.in.deliveries:
		for ok {
			if all = append(all, s.delivery(d)); len(all) == limit {
				return all, nil
			}
			select {
			case d, ok = <-s.in.deliveries:
			default:
				return all, nil
			}
		}
	}
	s.in.end(errors.New("rabbitmq: the broker has ended the consumer"))
	return all, context.Cause(s.in.ended)
}

func (s *source) delivery(d amqp.Delivery) *consumer.Delivery {
	one := &consumer.Delivery{Session: s.in.ended, Token: d, Deliveries: 1}
	if before, ok := d.Headers["x-delivery-count"].(int64); ok {
		one.Deliveries += int(before)
	}
	one.Message, one.Malformed = decode(d)
	return one
}

// Extend implements consumer.Source. The broker waits as long as the connection is there.
func (s *source) Extend(context.Context, []*consumer.Delivery) error { return nil }

// Ack implements consumer.Source.
func (s *source) Ack(_ context.Context, d *consumer.Delivery) error {
	if d.Session.Err() != nil {
		return context.Cause(d.Session)
	}
	if err := d.Token.(amqp.Delivery).Ack(false); err != nil {
		return fmt.Errorf("rabbitmq: %w", err)
	}
	return nil
}

// Headers of what was refused.
const (
	headerReason = "dead-letter-reason"
	headerQueue  = "dead-letter-queue"
)

// Refuse implements consumer.Source.
func (s *source) Refuse(ctx context.Context, d *consumer.Delivery, reason error) error {
	if s.dead == nil {
		return consumer.ErrNoPlace
	}
	if d.Session.Err() != nil { // it comes again
		return context.Cause(d.Session)
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	session, err := s.dead.open(ctx)
	if err != nil {
		return err
	}
	r := s.dead.send(ctx, session, s.cfg.DeadKey, s.deadLetter(d.Token.(amqp.Delivery), reason))
	if !r.Outcome.Delivered() {
		return r.Err
	}
	return s.Ack(ctx, d)
}

// deadLetter is a message as it was, with the reason.
func (s *source) deadLetter(d amqp.Delivery, reason error) amqp.Publishing {
	headers := amqp.Table{}
	for name, value := range d.Headers {
		if name != "CC" && name != "BCC" && !strings.HasPrefix(name, "x-") { // which mean something to the broker
			headers[name] = value
		}
	}
	headers[headerReason], headers[headerQueue] = consumer.Reason(reason), s.cfg.Queue
	return amqp.Publishing{
		Headers: headers, DeliveryMode: amqp.Persistent, ContentType: d.ContentType, ContentEncoding: d.ContentEncoding,
		MessageId: d.MessageId, Type: d.Type, Timestamp: d.Timestamp, Body: d.Body,
	}
}

// Return implements consumer.Source.
func (s *source) Return(context.Context, []*consumer.Delivery) error {
	if s.in == nil {
		return nil
	}
	in := s.in
	s.in = nil
	return in.giveBack(s.cfg.Timeout)
}
