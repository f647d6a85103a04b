package inbox

import (
	"context"
	"fmt"
	"regexp"
	"time"

	"github.com/uow-go/uow"
)

// Config describes a consumer.
type Config struct {
	// Consumer is the name under which messages are marked: each consumer handles
	// each message once. Letters, digits, dots, underscores and hyphens, at most 64.
	// It is kept for ever: under another name everything is new. Required.
	Consumer string

	// Horizon is for how long after it was handled a message may come again. Marks are
	// kept that long, at least: see Trim. It is that of the broker: how long it keeps
	// messages, or goes on trying, or how far back somebody may replay. At least a
	// minute, and more than any unit takes. Default: 7 days.
	Horizon time.Duration

	// Claim says when the mark reaches the database. Default: BeforeHandling.
	Claim Claim

	// Order says what to do with messages that are not the next of their stream.
	// Default: IgnoreOrder.
	Order Order

	// FromFirst says that the consumer is there from the beginning of each stream, so
	// that one which begins with a sequence above 1 has a gap. Default: false, a
	// stream begins with whatever comes first: for a consumer that was added later, or
	// has looked at the order only since then.
	FromFirst bool

	// Observer, when set, is told what became of each delivery.
	Observer Observer
}

// Claim is a moment at which a mark reaches the database.
type Claim int

const (
	// BeforeHandling sends the mark before the message is handled, in the same unit.
	// Of concurrent deliveries in several processes one handles the message, and the
	// database makes the others wait until it has. It costs a round trip, and the unit
	// holds its database's locks for writes while the message is handled; on SQLite
	// that is the only writer.
	BeforeHandling Claim = iota
	// AtCommit sends the mark with all else. Deliveries of a message by one Inbox wait
	// for each other all the same. Those of several processes may be handled
	// at once, and all but one are rolled back: they take effect once, if that is all
	// that they do. It is for consumers that are the only process of their database,
	// which it makes much faster on SQLite. Where fn runs SQL of its own, that may fail
	// by what the other delivery has done; the next delivery is a duplicate then.
	AtCommit
)

// Inbox handles the messages of one consumer, each once. It may be used from many
// goroutines, and a process should have one for each consumer: deliveries of the same
// message through it wait for each other without the database.
type Inbox struct {
	db      *uow.DB
	records *Records
	cfg     Config
	turns   turns
}

// New makes the inbox of a consumer. The Records must be listed in the database's
// Config; a wrong Config is a uow.ErrConfig.
func New(db *uow.DB, records *Records, cfg Config) (*Inbox, error) {
	if db == nil || records == nil {
		return nil, fmt.Errorf("inbox: %w: a database and its Records are required", uow.ErrConfig)
	}
	if cfg.Horizon == 0 {
		cfg.Horizon = 7 * 24 * time.Hour
	}
	if err := cfg.check(); err != nil {
		return nil, err
	}
	in := &Inbox{db: db, records: records, cfg: cfg}
	err := db.View(context.Background(), func(ctx context.Context, v *uow.View) error {
		_, err := records.all.From(v).GetMany(ctx) // asks for nothing, and so not the database
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("inbox: the Collections of the Records must be listed: %w", err)
	}
	return in, nil
}

func (c Config) check() error {
	wrong := func(what string) error { return fmt.Errorf("inbox: %w: %s", uow.ErrConfig, what) }
	switch {
	case !regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`).MatchString(c.Consumer):
		return wrong(fmt.Sprintf("Consumer %q: want 1 to 64 letters, digits, dots, underscores or hyphens", c.Consumer))
	case c.Horizon < time.Minute:
		return wrong(fmt.Sprintf("Horizon %v is less than a minute", c.Horizon))
	case c.Claim < BeforeHandling || c.Claim > AtCommit:
		return wrong("Claim is not one of the constants")
	case c.Order < IgnoreOrder || c.Order > RefuseDisorder:
		return wrong("Order is not one of the constants")
	case c.FromFirst && c.Order == IgnoreOrder:
		return wrong("FromFirst says something of the order, which is ignored")
	}
	return nil
}
