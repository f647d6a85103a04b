package admin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/inbox"
	"github.com/uow-go/uow/outbox"
)

// Errors that errors.Is can ask for.
var (
	// ErrNoCursor is returned when there is no such cursor.
	ErrNoCursor = errors.New("admin: there is no such cursor")

	// ErrNoMessage is returned when the log has no such message: it never had, or the
	// message was trimmed.
	ErrNoMessage = errors.New("admin: there is no such message")

	// ErrInvalid is returned for a query or an action that makes no sense, or selects
	// everything without saying so.
	ErrInvalid = errors.New("admin: invalid")

	// ErrNoInbox is returned by the questions about inboxes when Config has none.
	ErrNoInbox = errors.New("admin: no inbox is configured")
)

// Config describes what is operated.
type Config struct {
	// Log is the outbox. Required.
	Log outbox.Log

	// DB and Records are the database of inboxes and their records, if there are some:
	// both or none.
	DB      *uow.DB
	Records *inbox.Records

	// Logger gets a line for each action. Default: slog.Default.
	Logger *slog.Logger
}

// Ops operates an outbox. It may be used from many goroutines.
type Ops struct{ cfg Config }

// New returns the operations of an outbox. A wrong Config is a uow.ErrConfig.
func New(cfg Config) (*Ops, error) {
	if cfg.Log == nil {
		return nil, fmt.Errorf("admin: %w: Log is required", uow.ErrConfig)
	}
	if (cfg.DB == nil) != (cfg.Records == nil) {
		return nil, fmt.Errorf("admin: %w: DB and Records belong together", uow.ErrConfig)
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	return &Ops{cfg: cfg}, nil
}

// State is what has become of a message at a cursor.
type State string

// The states of a message: see the package's comment.
const (
	Pending   State = "pending"
	Retrying  State = State(outbox.Retrying)
	Waiting   State = State(outbox.Waiting)
	Parked    State = State(outbox.Parked)
	Delivered State = "delivered"
)

// held reports whether messages in the state are held by the cursor.
func (s State) held() bool { return s == Retrying || s == Waiting || s == Parked }

// Filter selects messages: those that have one of the values in each field that has
// some. Its zero value selects all.
type Filter struct {
	Topics []string `json:"topics,omitempty"`
	Keys   []string `json:"keys,omitempty"`
	Types  []string `json:"types,omitempty"`
	// Aggregates are aggregate types, or type/id for one aggregate.
	Aggregates []string `json:"aggregates,omitempty"`
	IDs        []string `json:"ids,omitempty"`
	Positions  []int64  `json:"positions,omitempty"`
	// States are states at the cursor.
	States []State `json:"states,omitempty"`
	// From and To bound positions, both included; 0 is no bound.
	From int64 `json:"from,omitempty"`
	To   int64 `json:"to,omitempty"`
	// Since and Before bound the time of creation: at or after, and before. Zero is no
	// bound.
	Since  time.Time `json:"since,omitzero"`
	Before time.Time `json:"before,omitzero"`
}

// all reports whether the filter selects everything, but for states.
func (f Filter) all() bool {
	return len(f.Topics)+len(f.Keys)+len(f.Types)+len(f.Aggregates)+len(f.IDs)+len(f.Positions) == 0 &&
		f.From == 0 && f.To == 0 && f.Since.IsZero() && f.Before.IsZero()
}

func (f Filter) check() error {
	for _, s := range f.States {
		if !s.held() && s != Pending && s != Delivered {
			return fmt.Errorf("%w: there is no state %q: want pending, retrying, waiting, parked or delivered", ErrInvalid, s)
		}
	}
	if f.From < 0 || f.To < 0 || f.To > 0 && f.To < f.From {
		return fmt.Errorf("%w: positions from %d to %d", ErrInvalid, f.From, f.To)
	}
	return nil
}

// selects reports whether the filter wants a message, whatever its state.
func (f Filter) selects(m *outbox.Message) bool {
	one := func(values []string, value string) bool { return len(values) == 0 || slices.Contains(values, value) }
	switch {
	case !one(f.Topics, m.Topic), !one(f.Keys, m.Key), !one(f.Types, m.Type), !one(f.IDs, m.ID):
		return false
	case len(f.Aggregates) > 0 && !slices.Contains(f.Aggregates, m.AggregateType) && !slices.Contains(f.Aggregates, m.AggregateType+"/"+m.AggregateID):
		return false
	case len(f.Positions) > 0 && !slices.Contains(f.Positions, m.Position):
		return false
	case m.Position < f.From, f.To > 0 && m.Position > f.To:
		return false
	case !f.Since.IsZero() && m.CreatedAt.Before(f.Since), !f.Before.IsZero() && !m.CreatedAt.Before(f.Before):
		return false
	}
	return true
}

// bounds narrows where the log is looked at, by what the filter says of positions.
func (f Filter) bounds() (from, to int64) {
	from, to = f.From, f.To
	if len(f.Positions) > 0 {
		from = max(from, slices.Min(f.Positions))
		if last := slices.Max(f.Positions); to == 0 || last < to {
			to = last
		}
	}
	return from, to
}

// String names what is selected, for a log.
func (f Filter) String() string {
	var parts []string
	add := func(name string, value any, some bool) {
		if some {
			parts = append(parts, fmt.Sprint(name, "=", value))
		}
	}
	add("topics", f.Topics, len(f.Topics) > 0)
	add("keys", f.Keys, len(f.Keys) > 0)
	add("types", f.Types, len(f.Types) > 0)
	add("aggregates", f.Aggregates, len(f.Aggregates) > 0)
	add("ids", f.IDs, len(f.IDs) > 0)
	add("positions", f.Positions, len(f.Positions) > 0)
	add("states", f.States, len(f.States) > 0)
	add("from", f.From, f.From > 0)
	add("to", f.To, f.To > 0)
	add("since", f.Since.Format(time.RFC3339), !f.Since.IsZero())
	add("before", f.Before.Format(time.RFC3339), !f.Before.IsZero())
	if len(parts) == 0 {
		return "all"
	}
	return strings.Join(parts, " ")
}

// cursor returns what the log says of a cursor, and where the log ends.
func (o *Ops) cursor(ctx context.Context, name string) (outbox.CursorStats, int64, error) {
	stats, err := o.cfg.Log.Stats(ctx)
	if err != nil {
		return outbox.CursorStats{}, 0, err
	}
	var names []string
	for _, c := range stats.Cursors {
		if c.Cursor == name {
			return c, stats.End, nil
		}
		names = append(names, c.Cursor)
	}
	return outbox.CursorStats{}, 0, fmt.Errorf("%w: %q; there are %q", ErrNoCursor, name, names)
}
