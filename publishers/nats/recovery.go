package nats

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/uow-go/uow/consumer"
)

// cut reports whether the connection is another than when the last question was asked.
func (s *source) cut() bool { return s.conn.Stats().Reconnects != s.reconnects }

// missing notes that something may have been sent to here that did not arrive, or to a
// former process.
func (s *source) missing() {
	s.abandon()
	for _, d := range s.collected { // they come again
		d.Released()
	}
	s.collected, s.probed = nil, false
	s.reconnects = s.conn.Stats().Reconnects
	s.recovered = s.cfg.Shared
	s.recoverAt = time.Now().Add(s.ackWait + s.ackWait/10)
}

// abandon drops what is being received. It comes again when AckWait is over.
func (s *source) abandon() {
	if batch := s.batch; batch != nil {
		s.abandoned.Go(func() {
			for range batch.Messages() {
			}
		})
		s.batch = nil
	}
}

// recover gets back what the server has sent and is not here. What was given back is there
// at once; the rest when AckWait is over, as each message's time ends. So all of it is
// collected, and sorted; what is newer waits until then.
func (s *source) recover(ctx context.Context, limit int) ([]*consumer.Delivery, error) {
	info, err := s.info(ctx)
	if err != nil {
		return nil, err
	}
	lost := info.NumAckPending - s.here()
	probing := !s.probed && lost <= limit
	if over := time.Now().After(s.recoverAt); lost > 0 && (probing || over) {
		back, err := s.collect(min(lost, limit-len(s.collected)), info.Delivered.Stream)
		if err != nil {
			return nil, err
		}
		if lost -= back; over {
			lost = 0 // they were acknowledged meanwhile, or are more than fit
		}
	}
	if lost > 0 {
		s.probed = true
		return nil, s.keep(ctx)
	}
	all := s.collected
	s.collected, s.recovered = nil, true
	slices.SortStableFunc(all, func(a, b *consumer.Delivery) int { return cmp.Compare(sequence(a), sequence(b)) })
	return all, nil
}

// collect takes what the server has to deliver, at most n, and returns how many of that it
// had sent before, up to a sequence, and are not here.
func (s *source) collect(n int, sent uint64) (back int, err error) {
	if n <= 0 {
		return 0, nil
	}
	batch, err := s.handle.FetchNoWait(n)
	if err != nil {
		return 0, named(err)
	}
	for m := range batch.Messages() {
		before := s.here()
		d := s.delivery(m)
		s.collected = append(s.collected, d)
		if sequence(d) <= sent && s.here() > before { // if one has left meanwhile, too few are counted
			back++
		}
	}
	if err := batch.Error(); err != nil || s.cut() {
		s.missing()
		return 0, named(cmp.Or(err, errBroken))
	}
	return back, nil
}

// keep waits for a part of AckWait, and has the server wait for what is collected.
func (s *source) keep(ctx context.Context) error {
	timer := time.NewTimer(s.ackWait / 20)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	return s.Extend(ctx, s.collected)
}

func (s *source) info(ctx context.Context) (*jetstream.ConsumerInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	info, err := s.handle.Info(ctx)
	if err != nil {
		return nil, named(err)
	}
	return info, nil
}
