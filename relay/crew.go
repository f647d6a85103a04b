package relay

import (
	"context"
	"crypto/rand"
	"errors"
	"time"

	"github.com/uow-go/uow/outbox"
)

// crew are the sessions of one Run, one for each partition that the relay has. It
// belongs to Run's goroutine; the sessions run beside it and come back through ended.
type crew struct {
	*Relay
	// me is the owner of the leases, and the member.
	me    string
	posts map[int]*post
	ended chan *post
	// window is what the sessions read through; nil where there can only be one.
	window *window
}

// post is a session at work, or about to end.
type post struct {
	partition int
	cancel    context.CancelFunc
	err       error
}

func newCrew(r *Relay) *crew {
	return &crew{Relay: r, me: rand.Text(), posts: map[int]*post{}, ended: make(chan *post), window: newWindow(&r.cfg)}
}

func (c *crew) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var err error
	if c.cfg.TakeOver {
		err = c.takeOver(ctx)
	} else {
		err = c.share(ctx)
	}
	cancel()
	for len(c.posts) > 0 {
		if late := c.ends(ctx, <-c.ended); err == nil {
			err = late
		}
	}
	return err
}

// ends is end; that a partition was lost is no error of a relay that shares, since
// another has it, and publishes again what this one could not settle.
func (c *crew) ends(ctx context.Context, p *post) error {
	err := c.end(p)
	if c.cfg.TakeOver || !errors.Is(err, ErrLeaseLost) {
		return err
	}
	c.cfg.Logger.WarnContext(ctx, "relay: partition lost", "cursor", c.cfg.Cursor, "partition", p.partition)
	return nil
}

// takeOver has all partitions until one is lost.
func (c *crew) takeOver(ctx context.Context) error {
	for partition := range c.cfg.Partitions {
		began := c.cfg.Now()
		var lease outbox.Lease
		err := c.persist(ctx, "acquire", func() (err error) {
			lease, err = c.cfg.Log.Acquire(ctx, outbox.Claim{
				Cursor: c.cfg.Cursor, Partition: partition, Partitions: c.cfg.Partitions, Owner: c.me, Force: true,
			})
			return err
		})
		if err == nil {
			err = c.knows(lease)
		}
		if err != nil && ctx.Err() != nil && !isFinal(err) {
			return nil
		}
		if err != nil {
			return err
		}
		c.start(ctx, lease, began)
	}
	return c.end(<-c.ended)
}

// start lets a session work on a partition.
func (c *crew) start(ctx context.Context, lease outbox.Lease, began time.Time) {
	ctx, cancel := context.WithCancel(ctx)
	p := &post{partition: lease.Partition, cancel: cancel}
	c.posts[p.partition] = p
	go func() {
		p.err = newSession(c.Relay, c.window, lease).serve(ctx, began)
		c.ended <- p
	}()
}

// end is the end of a session.
func (c *crew) end(p *post) error {
	p.cancel()
	delete(c.posts, p.partition)
	return p.err
}

// The times of sharing are parts of Config.Lease: how long leases and memberships
// stand, how often the membership is renewed and the others are looked at, and how
// often a partition is asked for that another relay has not handed over yet. What a
// relay leaves that dies is taken after the first two at the latest, which is less
// than all of it.
func (c *crew) ttl() time.Duration      { return c.cfg.Lease * 7 / 10 }
func (c *crew) interval() time.Duration { return c.cfg.Lease / 5 }
func (c *crew) hurry() time.Duration    { return c.cfg.Lease / 40 }

// share has the partitions that are this relay's share until ctx ends.
func (c *crew) share(ctx context.Context) error {
	defer c.leave(ctx)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case p := <-c.ended:
			if err := c.ends(ctx, p); err != nil {
				return err
			}
		case <-timer.C:
			complete, err := c.balance(ctx)
			if isFinal(err) {
				return err
			}
			if err != nil && ctx.Err() == nil {
				c.cfg.Logger.WarnContext(ctx, "relay: the log failed", "cursor", c.cfg.Cursor, "operation", "share", "error", err)
			}
			if complete || err != nil {
				timer.Reset(c.interval())
			} else {
				timer.Reset(c.hurry())
			}
		}
	}
}

// balance lets go of the partitions that are others' share, and takes those of this
// relay's share that are free. It returns false when some are not yet.
func (c *crew) balance(ctx context.Context) (complete bool, err error) {
	asking, cancel := context.WithTimeout(ctx, c.ttl())
	defer cancel()
	members, err := c.cfg.Log.Join(asking, c.cfg.Cursor, c.me, c.ttl())
	if err != nil {
		return false, err
	}
	mine := shareOf(c.me, members, c.cfg.Partitions)
	for partition, p := range c.posts {
		if !mine[partition] {
			p.cancel() // it hands over after its batch
		}
	}
	complete = true
	for partition := range mine {
		if c.posts[partition] != nil {
			continue
		}
		began := c.cfg.Now()
		lease, err := c.cfg.Log.Acquire(asking, outbox.Claim{
			Cursor: c.cfg.Cursor, Partition: partition, Partitions: c.cfg.Partitions, Owner: c.me, TTL: c.ttl(),
		})
		if errors.Is(err, outbox.ErrLeaseHeld) {
			complete = false
			continue
		}
		if err == nil {
			err = c.knows(lease)
		}
		if err != nil {
			return false, err
		}
		c.start(ctx, lease, began)
	}
	return complete, nil
}

// leave tells the others that they are without this relay from now on.
func (c *crew) leave(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), min(c.cfg.DrainTimeout, c.ttl()))
	defer cancel()
	if _, err := c.cfg.Log.Join(ctx, c.cfg.Cursor, c.me, 0); err != nil {
		c.cfg.Logger.WarnContext(ctx, "relay: the membership could not be ended, and has to expire",
			"cursor", c.cfg.Cursor, "error", err)
	}
}
