package uow

import (
	"context"
	"fmt"
	"time"
)

// UnitOptions are what some units want otherwise than Config has it: see DB.With.
type UnitOptions struct {
	// Name says what the units do, for observers. Default: "".
	Name string

	// Timeout is how long Do may take until its commit begins, all attempts and
	// pauses included. After that the context of the closure ends, and the unit is
	// rolled back with context.DeadlineExceeded. Default: no limit but the caller's.
	Timeout time.Duration

	// Serializable gives the units the effect that they would have if they ran one
	// after the other: the commit fails, with ErrConflict or ErrRetryable, when that is
	// not so. It holds among units that are serializable. Against all others it checks
	// the versions of the aggregates that were read, and that those looked for in vain
	// by id are still missing. What the user's own SQL reads is part of it where the
	// database's transactions are serializable themselves (PostgreSQL, MySQL). Default:
	// false, which checks what was changed or required.
	Serializable bool

	// Retry replaces Config.Retry, when not nil.
	Retry *Retry
}

// With returns the same database for units with other options. Both share
// everything else; closing one closes both.
func (db *DB) With(o UnitOptions) *DB {
	with := *db
	with.options = o
	if o.Retry != nil {
		with.cfg.Retry = o.Retry.withDefaults()
	}
	return &with
}

// WithHeaders returns the same database for units whose messages get these headers,
// besides those that it has already: a tenant, or what has caused the units (package
// inbox gives those). A header that a message has itself stays. Names that all
// publishers can carry are of lower-case letters and digits. With keeps the headers.
func (db *DB) WithHeaders(headers map[string]string) *DB {
	with := *db
	if len(headers) > 0 {
		with.headers = withHeaders(headers, db.headers)
		with.jsonHeaders = withHeaders(contentJSON(), with.headers)
	}
	return &with
}

// limited returns a context that ends with the options' timeout.
func (db *DB) limited(ctx context.Context) (context.Context, context.CancelFunc) {
	limit := db.options.Timeout
	if limit <= 0 {
		return ctx, func() {}
	}
	return context.WithTimeoutCause(ctx, limit, fmt.Errorf("uow: the unit took longer than %v: %w", limit, context.DeadlineExceeded))
}
