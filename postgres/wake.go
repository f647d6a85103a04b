package postgres

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/uow-go/uow/internal/pause"
	"github.com/uow-go/uow/outbox"
)

// wakes tells those who subscribed that messages were appended: those of this
// process at once, those of others by a NOTIFY that many commits share. A NOTIFY in
// the users' own transactions would take a lock of the whole server over each
// commit.
type wakes struct {
	local   outbox.Subscribers
	channel string
	me      string             // tells own notifications from those of others
	ctx     context.Context    // of what runs in the background
	notify  chan struct{}      // has room for one
	mu      sync.Mutex         // guards the rest
	n       int                // how many have subscribed
	unlist  context.CancelFunc // ends the listener
}

// every is the time between two NOTIFYs as long as commits come faster, and rest is for
// how long of a pause more may go at once: commits that are rare are told of at once,
// also where two of them happen to come together.
const (
	every = 5 * time.Millisecond
	rest  = 100 * time.Millisecond
)

// pace says when the next NOTIFY may go.
type pace struct {
	saved time.Duration // may be negative: owed
	last  time.Time
}

// next returns how long to wait before one that is wanted now.
func (p *pace) next(now time.Time) time.Duration {
	p.saved, p.last = min(p.saved+now.Sub(p.last), rest)-every, now
	return max(-p.saved, 0)
}

// channelName returns the schema's channel, which has at most 63 bytes.
func channelName(schema string) string {
	sum := sha256.Sum256([]byte(schema))
	return "uow_outbox_" + hex.EncodeToString(sum[:8])
}

func (w *wakes) start(ctx context.Context, s *Store) {
	w.ctx, w.me, w.notify = ctx, rand.Text(), make(chan struct{}, 1)
	s.scanner = s.newScanner()
	s.work.Go(func() { w.notifyOthers(s) })
}

// appended is called after each commit with messages. recent says that Store.recent has
// them.
func (w *wakes) appended(recent bool) {
	w.local.Wake(recent)
	select {
	case w.notify <- struct{}{}:
	default: // the next one tells of this commit too
	}
}

// notifyOthers sends one NOTIFY for all commits since the last, at its pace.
func (w *wakes) notifyOthers(s *Store) {
	notify := newStatement(`SELECT pg_notify($1, $2), set_config('synchronous_commit', 'off', true)`, pgtype.TextOID, pgtype.TextOID)
	var own pace
	for {
		select {
		case <-w.ctx.Done():
			return
		case <-w.notify:
		}
		if wait := own.next(time.Now()); wait > 0 && pause.For(w.ctx, wait) != nil {
			return
		}
		select {
		case <-w.notify: // of a commit that this one tells of too
		default:
		}
		// Nobody waits for the answer: those who miss it poll.
		_ = s.do(w.ctx, "notify", step{statement: notify, args: newArgs(2).text(w.channel).text(w.me)})
	}
}

// Subscribe implements outbox.Log. It also tells of the commits of other processes,
// unless a pooler stands between that does not let the store listen.
func (s *Store) Subscribe(fn func(recent bool)) (cancel func()) {
	w := &s.wakes
	remove := w.local.Add(fn)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.n++
	if w.n == 1 && !s.closed.Load() {
		ctx, stop := context.WithCancel(w.ctx)
		w.unlist = stop
		s.work.Go(func() { w.listen(ctx, s) })
	}
	var once sync.Once
	return func() {
		once.Do(func() {
			remove()
			w.mu.Lock()
			defer w.mu.Unlock()
			if w.n--; w.n == 0 && w.unlist != nil {
				w.unlist()
				w.unlist = nil
			}
		})
	}
}

// listen hears what other processes say, on a connection of its own, until ctx ends.
// What was said while it had none is made up for by a wake.
func (w *wakes) listen(ctx context.Context, s *Store) {
	missed := false
	for delay := time.Second; ctx.Err() == nil; delay = min(2*delay, time.Minute) {
		connected := w.hear(ctx, s, missed)
		if connected {
			delay = time.Second
		}
		missed = true
		if pause.For(ctx, delay) != nil {
			return
		}
	}
}

func (w *wakes) hear(ctx context.Context, s *Store, missed bool) (connected bool) {
	c, err := s.dial(ctx)
	if err != nil {
		return false
	}
	defer destroy(c)
	if _, err := c.Exec(ctx, `LISTEN `+quote(w.channel), pgx.QueryExecModeSimpleProtocol); err != nil {
		return false
	}
	if missed {
		w.local.Wake(false)
	}
	for {
		n, err := c.WaitForNotification(ctx)
		if err != nil {
			return true
		}
		if n.Payload != w.me {
			w.local.Wake(false)
		}
	}
}
