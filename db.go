package uow

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/uow-go/uow/driver"
)

// Config says what a DB serves and how.
type Config struct {
	// Collections are the kinds of aggregates that units of this DB may use.
	// Their tables are created where missing.
	Collections []AnyCollection

	// Projections get each recorded event, inside its unit and before its commit,
	// in the order in which the events were recorded; each projection gets an
	// event before the next event is looked at. What they write through the unit
	// is part of the commit, and an error rolls the unit back.
	Projections []Projection

	// Retry says when Do runs its closure again. Default: never.
	Retry Retry

	// ResolveTimeout is how long a commit whose answer was lost asks the database
	// what became of it, before it returns an *InDoubtError. Default: 10s.
	ResolveTimeout time.Duration

	// MaxPayload is the greatest size of a message's payload, in bytes: a unit with a
	// larger one fails with ErrTooLarge. It is that of the broker, so that no message is
	// stored that can't be delivered: 1 MiB for NATS and for Kafka, if they are left as
	// they are. Default: 0, no limit but the store's.
	MaxPayload int

	// Now is the clock. Default: time.Now.
	Now func() time.Time

	// Logger gets what no caller can be told: after-hooks that failed. Default:
	// slog.Default().
	Logger *slog.Logger

	// OnHookError, when set, gets those instead of the Logger.
	OnHookError func(ctx context.Context, err *HookError)

	// Observers are told what units do, one after the other. Default: none, which
	// costs nothing.
	Observers []Observer
}

// Projection derives something from recorded events, inside their unit.
type Projection func(ctx context.Context, u *Unit, e Event) error

// DB is a database whose changes are made in units of work. It may be used from
// many goroutines.
type DB struct {
	store       driver.Store
	collections map[string]int
	listed      []AnyCollection
	descs       []driver.Collection
	groups      []group
	cfg         Config
	options     UnitOptions
	headers     map[string]string // of all messages, and those of events, never changed
	jsonHeaders map[string]string
}

// Open makes a DB of a store. Packages of stores call it; users call the Open of
// the store's package. When it fails the store is left open.
func Open(ctx context.Context, store driver.Store, cfg Config) (*DB, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if cfg.ResolveTimeout <= 0 {
		cfg.ResolveTimeout = 10 * time.Second
	}
	cfg.Retry = cfg.Retry.withDefaults()
	if slices.Contains(cfg.Observers, nil) {
		return nil, configError("one of Config.Observers is nil")
	}
	db := &DB{store: store, cfg: cfg, collections: make(map[string]int, len(cfg.Collections)), jsonHeaders: contentJSON()}
	if cfg.MaxPayload < 0 {
		return nil, configError("Config.MaxPayload is %d", cfg.MaxPayload)
	}
	if err := db.list(cfg.Collections); err != nil {
		return nil, err
	}
	if err := store.Register(ctx, db.descs); err != nil {
		return nil, err
	}
	return db, nil
}

// list takes the collections, in the order in which their rows are written.
func (db *DB) list(collections []AnyCollection) error {
	var names []string
	var targets [][]string
	for i, c := range collections {
		if c == nil {
			return configError("Config.Collections[%d] is nil", i)
		}
		desc, err := c.describe()
		if err != nil {
			return err
		}
		if slices.ContainsFunc(names, func(name string) bool { return strings.EqualFold(name, desc.Name) }) {
			return configError("collection %s is listed twice; case does not count", desc.Name)
		}
		names, targets = append(names, desc.Name), append(targets, c.refersTo())
	}
	groups, order, err := rankCollections(names, targets)
	if err != nil {
		return err
	}
	for place, i := range order {
		desc, _ := collections[i].describe()
		db.collections[desc.Name] = place
		db.listed, db.descs, db.groups = append(db.listed, collections[i]), append(db.descs, desc), append(db.groups, groups[i])
	}
	return nil
}

// Store returns the store beneath, for packages that know more of it than the
// seam, such as the outbox.
func (db *DB) Store() driver.Store { return db.store }

// Close closes the store. Units that are still open fail.
func (db *DB) Close() error { return db.store.Close() }

// Do runs fn in a unit and commits it when fn returns nil.
//
// When fn returns an error, panics or ends its goroutine (runtime.Goexit, as
// t.FailNow does), or when ctx ends before the commit has begun, the unit is
// rolled back: nothing happened. The error of fn comes back as it is; when the
// rollback failed too, both are joined. A panic goes on with its value.
//
// The ctx that fn gets ends with the unit. fn must not keep the unit, or hand it
// to other goroutines: see Unit. Where Config.Retry asks for it, fn runs again.
func (db *DB) Do(ctx context.Context, fn func(ctx context.Context, u *Unit) error) error {
	ctx, w := db.watchDo(ctx, false)
	defer w.unitEnded()
	return db.again(ctx, func(ctx context.Context) error { return w.attemptEnded(db.try(ctx, w, fn)) })
}

// again runs attempts until one goes well, or is not worth another.
func (db *DB) again(ctx context.Context, try func(ctx context.Context) error) error {
	ctx, cancel := db.limited(ctx)
	defer cancel()
	for attempt := 1; ; attempt++ {
		err := try(ctx)
		if err == nil || !db.cfg.Retry.again(attempt, err) || !db.cfg.Retry.pause(ctx, attempt) {
			return err
		}
	}
}

// try is one attempt of Do.
func (db *DB) try(ctx context.Context, w *watch, fn func(ctx context.Context, u *Unit) error) error {
	u := db.newUnit(true)
	u.ctx.Begin(ctx)
	defer u.ctx.End()
	ctx = &u.ctx
	u.watch = w.attempted(u)
	finished := false
	defer func() {
		if !finished { // a panic or Goexit passes through here
			u.abandon(ctx)
		}
	}()
	err := fn(ctx, u)
	if err != nil {
		finished = true
		return joinRollback(err, u.rollback(ctx, err))
	}
	err = u.commit(ctx)
	finished = true
	if errors.Is(err, ErrUnitClosed) && u.rolledBackByUser() {
		return ErrRolledBack
	}
	return err
}

var errAbandoned = errors.New("uow: the closure panicked or ended its goroutine")

func joinRollback(err, rollback error) error {
	if rollback == nil {
		return err
	}
	return errors.Join(err, rollback)
}

// Begin starts a unit that the caller ends by Commit, or by Rollback or Close:
//
//	u := db.Begin()
//	defer u.Close() // rolls back unless committed
//	…
//	return u.Commit(ctx)
//
// Nothing is sent to the database yet.
func (db *DB) Begin() *Unit { return db.watched(db.newUnit(false)) }

func (db *DB) newUnit(managed bool) *Unit {
	now := db.cfg.Now().UTC().Truncate(time.Microsecond) // what every store can keep
	return &Unit{
		db: db, id: newID(now), now: now, managed: managed,
		options: driver.TxOptions{Serializable: db.options.Serializable},
	}
}

func (db *DB) index(c AnyCollection, name string) (int, error) {
	i, ok := db.collections[name]
	if !ok || db.listed[i] != c {
		return 0, fmt.Errorf("%w: collection %s is not in this DB's Config.Collections", ErrConfig, name)
	}
	return i, nil
}

func (db *DB) hookFailed(ctx context.Context, err *HookError) {
	if db.cfg.OnHookError != nil {
		db.cfg.OnHookError(ctx, err)
		return
	}
	db.cfg.Logger.ErrorContext(ctx, "uow: hook failed", "hook", err.Hook, "error", err.Err)
}
