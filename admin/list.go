package admin

import (
	"context"
	"fmt"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/uow-go/uow/outbox"
)

const (
	// defaultLimit and maxLimit bound a page of List.
	defaultLimit, maxLimit = 100, 1000
	// batch is how many messages are read or changed at once.
	batch = 500
	// lookAt is at how many messages a List looks, at least, before it returns what it
	// has, and where to go on.
	lookAt = 20_000
)

// Query says what List returns.
type Query struct {
	// Cursor is the cursor whose states are wanted. Without one, messages have no state.
	Cursor string
	Filter Filter
	// After is where to go on: Page.Next of the page before. 0 begins at the log's
	// beginning.
	After int64
	// Limit is the greatest number of messages, 1000 at most. Default: 100.
	Limit int
	// Bodies asks for payloads and headers too.
	Bodies bool
}

// Page is a part of the log.
type Page struct {
	Messages []Message `json:"messages"`
	// Next is for Query.After; 0 when there is nothing more. There may be more though
	// the page is not full, or empty: a List ends after it has looked at many messages.
	Next int64 `json:"next,omitempty"`
}

// Message is a message with its state at a cursor.
type Message struct {
	Position      int64     `json:"position"`
	ID            string    `json:"id"`
	Topic         string    `json:"topic"`
	Key           string    `json:"key,omitempty"`
	Type          string    `json:"type"`
	AggregateType string    `json:"aggregateType,omitempty"`
	AggregateID   string    `json:"aggregateId,omitempty"`
	Sequence      int64     `json:"sequence,omitempty"`
	CreatedAt     time.Time `json:"createdAt"`
	Size          int       `json:"size"`

	Headers map[string]string `json:"headers,omitempty"`
	// Text is the payload where it is UTF-8, and Payload where it is not.
	Text    string `json:"text,omitempty"`
	Payload []byte `json:"payload,omitempty"`

	At *Standing `json:"at,omitempty"`
}

// Standing is how it stands with a message at a cursor.
type Standing struct {
	Cursor string `json:"cursor"`
	State  State  `json:"state"`
	// The others are those of outbox.Hold, of messages that are held.
	Attempts int       `json:"attempts,omitempty"`
	Reason   string    `json:"reason,omitempty"`
	Since    time.Time `json:"since,omitzero"`
	NextAt   time.Time `json:"nextAt,omitzero"`
}

// List returns messages of the log, in its order. Nothing is returned that is not
// committed, and none is passed over that is still to be. Where only held states are
// wanted the log is not read, but what the cursor holds.
func (o *Ops) List(ctx context.Context, q Query) (Page, error) {
	if err := q.check(); err != nil {
		return Page{}, err
	}
	page := Page{Messages: []Message{}}
	next, err := o.walk(ctx, q, func(m *outbox.Message, at *Standing) bool {
		page.Messages = append(page.Messages, describe(m, at, q.Bodies))
		return len(page.Messages) < q.Limit
	})
	if err != nil {
		return Page{}, err
	}
	page.Next = next
	return page, nil
}

func (q *Query) check() error {
	if q.Limit == 0 {
		q.Limit = defaultLimit
	}
	switch {
	case q.Limit < 0 || q.Limit > maxLimit:
		return fmt.Errorf("%w: a limit of %d: want 1 to %d", ErrInvalid, q.Limit, maxLimit)
	case q.After < 0:
		return fmt.Errorf("%w: after %d", ErrInvalid, q.After)
	case q.Cursor == "" && len(q.Filter.States) > 0:
		return fmt.Errorf("%w: a state is one at a cursor, and none is named", ErrInvalid)
	}
	return q.Filter.check()
}

// walk calls fn with each message that the query selects until it returns false or
// enough was looked at, and returns where to go on; 0 when there is no more.
func (o *Ops) walk(ctx context.Context, q Query, fn func(m *outbox.Message, at *Standing) bool) (next int64, err error) {
	var cursor outbox.CursorStats
	if q.Cursor != "" {
		if cursor, _, err = o.cursor(ctx, q.Cursor); err != nil {
			return 0, err
		}
	}
	from, to := q.Filter.bounds()
	at := max(q.After, from-1)
	held := len(q.Filter.States) > 0 && !slices.ContainsFunc(q.Filter.States, func(s State) bool { return !s.held() })
	for looked := 0; looked < lookAt; looked += batch {
		read := o.readLog
		if held {
			read = o.readHeld
		}
		messages, holds, reached, err := read(ctx, q, at)
		if err != nil {
			return 0, err
		}
		for i := range messages {
			m := &messages[i]
			standing := holds[m.Position]
			if standing == nil && q.Cursor != "" {
				standing = standingOf(cursor, m)
			}
			if to > 0 && m.Position > to {
				return 0, nil
			}
			if !q.Filter.selects(m) || len(q.Filter.States) > 0 && !slices.Contains(q.Filter.States, standing.State) {
				continue
			}
			if !fn(m, standing) {
				return m.Position, nil
			}
		}
		if reached == at || to > 0 && reached >= to {
			return 0, nil
		}
		at = reached
	}
	return at, nil
}

// readHeld reads what the cursor holds after a position.
func (o *Ops) readHeld(ctx context.Context, q Query, after int64) (messages []outbox.Message, holds map[int64]*Standing, reached int64, err error) {
	filter := outbox.HeldFilter{After: after, Limit: batch}
	if len(q.Filter.States) == 1 {
		filter.State = outbox.HoldState(q.Filter.States[0])
	}
	if len(q.Filter.Keys) == 1 {
		filter.Key = &q.Filter.Keys[0]
	}
	found, err := o.cfg.Log.Held(ctx, q.Cursor, filter)
	if err != nil {
		return nil, nil, after, err
	}
	holds, reached = map[int64]*Standing{}, after
	for i := range found {
		messages = append(messages, found[i].Message)
		holds[found[i].Position] = standingOfHold(q.Cursor, &found[i].Hold)
		reached = found[i].Position
	}
	return messages, holds, reached, nil
}

// readLog reads the log after a position, and what of it is held by the cursor.
func (o *Ops) readLog(ctx context.Context, q Query, after int64) (messages []outbox.Message, holds map[int64]*Standing, reached int64, err error) {
	messages, reached, err = o.cfg.Log.Scan(ctx, outbox.Query{After: after, Limit: batch, Topics: q.Filter.Topics})
	if err != nil || q.Cursor == "" || len(messages) == 0 {
		return messages, nil, reached, err
	}
	holds = map[int64]*Standing{}
	first, last := messages[0].Position, messages[len(messages)-1].Position
	for at := first - 1; at < last; {
		found, err := o.cfg.Log.Held(ctx, q.Cursor, outbox.HeldFilter{After: at, Limit: batch})
		if err != nil {
			return nil, nil, after, err
		}
		at = last
		for i := range found {
			holds[found[i].Position] = standingOfHold(q.Cursor, &found[i].Hold)
		}
		if len(found) == batch {
			at = found[len(found)-1].Position
		}
	}
	return messages, holds, reached, nil
}

// standingOf tells the state of a message that is not held.
func standingOf(c outbox.CursorStats, m *outbox.Message) *Standing {
	partition := outbox.Partition(m.Key, m.ID, len(c.Parts))
	if m.Position > c.Parts[partition].Position {
		return &Standing{Cursor: c.Cursor, State: Pending}
	}
	return &Standing{Cursor: c.Cursor, State: Delivered}
}

func standingOfHold(cursor string, h *outbox.Hold) *Standing {
	return &Standing{
		Cursor: cursor, State: State(h.State), Attempts: h.Attempts, Reason: h.Reason, Since: h.Since, NextAt: h.NextAt,
	}
}

func describe(m *outbox.Message, at *Standing, bodies bool) Message {
	d := Message{
		Position: m.Position, ID: m.ID, Topic: m.Topic, Key: m.Key, Type: m.Type, AggregateType: m.AggregateType,
		AggregateID: m.AggregateID, Sequence: m.Sequence, CreatedAt: m.CreatedAt, Size: len(m.Payload), At: at,
	}
	if bodies {
		d.Headers = m.Headers
		if utf8.Valid(m.Payload) {
			d.Text = string(m.Payload)
		} else {
			d.Payload = m.Payload
		}
	}
	return d
}

// Detail is all that is known of a message.
type Detail struct {
	Message
	// Cursors has its state at each cursor.
	Cursors []Standing `json:"cursors"`
}

// Show returns a message by its position, or ErrNoMessage.
func (o *Ops) Show(ctx context.Context, position int64) (Detail, error) {
	found, _, err := o.cfg.Log.Scan(ctx, outbox.Query{After: position - 1, Limit: 1})
	if err != nil {
		return Detail{}, err
	}
	if position <= 0 || len(found) == 0 || found[0].Position != position {
		return Detail{}, fmt.Errorf("%w: at position %d", ErrNoMessage, position)
	}
	stats, err := o.cfg.Log.Stats(ctx)
	if err != nil {
		return Detail{}, err
	}
	d := Detail{Message: describe(&found[0], nil, true)}
	for _, c := range stats.Cursors {
		standing := standingOf(c, &found[0])
		held, err := o.cfg.Log.Held(ctx, c.Cursor, outbox.HeldFilter{After: position - 1, Limit: 1})
		if err != nil {
			return Detail{}, err
		}
		if len(held) == 1 && held[0].Position == position {
			standing = standingOfHold(c.Cursor, &held[0].Hold)
		}
		d.Cursors = append(d.Cursors, *standing)
	}
	return d, nil
}

// Find returns the position of the message with an id, or ErrNoMessage. The log has no
// index for it and is read from its end that is older, which takes time where it is long.
func (o *Ops) Find(ctx context.Context, id string) (int64, error) {
	q, found := Query{Filter: Filter{IDs: []string{id}}}, int64(0)
	for {
		next, err := o.walk(ctx, q, func(m *outbox.Message, _ *Standing) bool { found = m.Position; return false })
		switch {
		case err != nil:
			return 0, err
		case found > 0:
			return found, nil
		case next == 0:
			return 0, fmt.Errorf("%w: with the id %q", ErrNoMessage, id)
		}
		q.After = next
	}
}
