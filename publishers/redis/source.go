package redis

import (
	"context"
	_ "embed" // the scripts
	"errors"
	"fmt"
	"sync"
	"time"

	client "github.com/redis/go-redis/v9"

	"github.com/uow-go/uow/consumer"
)

//go:embed refuse.lua
var refuseScript string

//go:embed touch.lua
var touchScript string

// source is the server's side. What the group has delivered to a name, and is not
// acknowledged, the server lists as that name's pending entries; acknowledgements are
// bound to no connection.
type source struct {
	cfg    ConsumerConfig
	client *client.Client

	mu     sync.Mutex
	held   map[string]bool // entries that are here
	missed bool            // an entry may be pending that is not here

	// Of Receive alone.
	attached  bool
	from      string    // the pending entry from which on to look; empty for none
	nextClaim time.Time // when to look for entries of others
	trimmed   []string  // entries that claiming has found to be gone
}

// blockFor is how long the server keeps a question open.
const blockFor = time.Second

// Receive implements consumer.Source. It goes on while ctx ends, since what the server
// answers then would be pending and not here.
func (s *source) Receive(ctx context.Context, limit int) ([]*consumer.Delivery, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.Timeout+blockFor)
	defer cancel()
	all, err := s.receive(ctx, limit)
	if err != nil { // an answer may be lost
		s.attached = false
		return nil, fmt.Errorf("redis: %w", err)
	}
	return all, nil
}

func (s *source) receive(ctx context.Context, limit int) ([]*consumer.Delivery, error) {
	if !s.attached {
		if err := s.attach(ctx); err != nil {
			return nil, err
		}
	}
	if s.cfg.Shared && time.Now().After(s.nextClaim) {
		if err := s.claim(ctx, s.cfg.ClaimIdle); err != nil {
			return nil, err
		}
		s.nextClaim = time.Now().Add(s.cfg.ClaimIdle / 2)
	}
	if gone := s.gone(limit); len(gone) > 0 {
		return gone, nil
	}
	s.mu.Lock()
	if s.missed {
		s.missed, s.from = false, "0"
	}
	s.mu.Unlock()
	if s.from != "" {
		return s.pending(ctx, limit)
	}
	entries, err := s.read(ctx, ">", limit, blockFor)
	if err != nil {
		return nil, err
	}
	return s.deliveries(entries, nil), nil
}

// attach has all that is pending here looked at before what is newer: all of the group
// where nobody else consumes.
func (s *source) attach(ctx context.Context) error {
	if err := s.createGroup(ctx); err != nil {
		return err
	}
	if !s.cfg.Shared {
		if err := s.claim(ctx, 0); err != nil {
			return err
		}
	}
	s.attached, s.from = true, "0"
	return nil
}

// claim takes entries of others that have been idle for so long. From version 7 on the
// server forgets those that were trimmed, and says which.
func (s *source) claim(ctx context.Context, idle time.Duration) error {
	for start := "0-0"; ; {
		answer, err := s.client.Do(ctx, "XAUTOCLAIM", s.cfg.Stream, s.cfg.Group, s.cfg.Name, idle.Milliseconds(), start,
			"COUNT", 1000, "JUSTID").Slice()
		if err != nil {
			return err
		}
		var lists [2][]any // claimed, trimmed
		for i, part := range answer[min(1, len(answer)):] {
			if i < len(lists) {
				lists[i], _ = part.([]any)
			}
		}
		if len(lists[0]) > 0 {
			s.from = "0"
		}
		for _, id := range lists[1] {
			s.trimmed = append(s.trimmed, fmt.Sprint(id))
		}
		if len(answer) == 0 || answer[0] == "0-0" {
			return nil
		}
		start = fmt.Sprint(answer[0])
	}
}

// gone returns deliveries of entries that were trimmed, to be refused.
func (s *source) gone(limit int) (all []*consumer.Delivery) {
	n := min(limit, len(s.trimmed))
	for _, id := range s.trimmed[:n] {
		all = append(all, &consumer.Delivery{Malformed: errTrimmed, Token: client.XMessage{ID: id}})
	}
	s.trimmed = s.trimmed[n:]
	return all
}

// pending returns entries that are pending and not here, if any.
func (s *source) pending(ctx context.Context, limit int) ([]*consumer.Delivery, error) {
	for {
		entries, err := s.read(ctx, s.from, limit, -1)
		if err != nil {
			return nil, err
		}
		if len(entries) == 0 {
			s.from = ""
			return nil, nil
		}
		first, last := entries[0].ID, entries[len(entries)-1].ID
		counts, err := s.client.XPendingExt(ctx, &client.XPendingExtArgs{
			Stream: s.cfg.Stream, Group: s.cfg.Group, Consumer: s.cfg.Name, Start: first, End: last, Count: int64(len(entries)),
		}).Result()
		if err != nil {
			return nil, err
		}
		times := map[string]int{}
		for _, c := range counts {
			times[c.ID] = int(c.RetryCount)
		}
		s.from = last
		if all := s.deliveries(entries, times); len(all) > 0 {
			return all, nil
		}
	}
}

func (s *source) read(ctx context.Context, from string, limit int, block time.Duration) ([]client.XMessage, error) {
	streams, err := s.client.XReadGroup(ctx, &client.XReadGroupArgs{
		Group: s.cfg.Group, Consumer: s.cfg.Name, Streams: []string{s.cfg.Stream, from}, Count: int64(limit), Block: block,
	}).Result()
	if errors.Is(err, client.Nil) {
		return nil, nil
	}
	if err != nil || len(streams) == 0 {
		return nil, err
	}
	return streams[0].Messages, nil
}

// deliveries makes them of entries that are not here yet.
func (s *source) deliveries(entries []client.XMessage, times map[string]int) (all []*consumer.Delivery) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range entries {
		if s.held[e.ID] {
			continue
		}
		s.held[e.ID] = true
		d := &consumer.Delivery{Token: e, Deliveries: max(times[e.ID], 1), Released: func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			delete(s.held, e.ID)
		}}
		d.Message, d.Malformed = decode(e.Values)
		all = append(all, d)
	}
	return all
}

func entry(d *consumer.Delivery) client.XMessage { return d.Token.(client.XMessage) }

// touch sets for how long entries have been idle, of those that are this name's.
func (s *source) touch(ctx context.Context, held []*consumer.Delivery, idle time.Duration) error {
	if len(held) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	args := []any{s.cfg.Group, s.cfg.Name, idle.Milliseconds()}
	for _, d := range held {
		args = append(args, entry(d).ID)
	}
	if err := s.client.Eval(ctx, touchScript, []string{s.cfg.Stream}, args...).Err(); err != nil {
		return fmt.Errorf("redis: %w", err)
	}
	return nil
}

// Extend implements consumer.Source.
func (s *source) Extend(ctx context.Context, held []*consumer.Delivery) error {
	return s.touch(ctx, held, 0)
}

// Ack implements consumer.Source.
func (s *source) Ack(ctx context.Context, d *consumer.Delivery) error {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	if err := s.client.XAck(ctx, s.cfg.Stream, s.cfg.Group, entry(d).ID).Err(); err != nil {
		s.mu.Lock()
		s.missed = true
		s.mu.Unlock()
		return fmt.Errorf("redis: %w", err)
	}
	return nil
}

// Fields of what was refused.
const (
	reasonField = "dead_reason"
	streamField = "dead_stream"
	groupField  = "dead_group"
	entryField  = "dead_entry"
)

// Refuse implements consumer.Source. The script does both or nothing, and once.
func (s *source) Refuse(ctx context.Context, d *consumer.Delivery, reason error) error {
	if s.cfg.DeadStream == "" {
		return consumer.ErrNoPlace
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	e := entry(d)
	args := []any{s.cfg.Group, e.ID, len(e.Values)}
	for field, value := range e.Values {
		args = append(args, field, value)
	}
	args = append(args, reasonField, consumer.Reason(reason), streamField, s.cfg.Stream, groupField, s.cfg.Group, entryField, e.ID)
	if err := s.client.Eval(ctx, refuseScript, []string{s.cfg.Stream, s.cfg.DeadStream}, args...).Err(); err != nil {
		return fmt.Errorf("redis: %w", err)
	}
	return nil
}

// Return implements consumer.Source: others are to claim at once what is pending here.
// Where nobody else consumes, the next process takes all that is.
func (s *source) Return(ctx context.Context, held []*consumer.Delivery) error {
	s.attached = false
	if !s.cfg.Shared {
		return nil
	}
	return s.touch(ctx, held, 2*s.cfg.ClaimIdle)
}
