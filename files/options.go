package files

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/uow-go/uow"
)

// Options are the knobs of a store. The zero value has all defaults.
type Options struct {
	// Delay is how long the files may be behind the commits, whose changes are in
	// the journal until then: rows that change again and again are written once in
	// that time. Nothing is lost meanwhile. Default: 500 ms.
	Delay time.Duration

	// JournalSize is the size in bytes of the journal from which files are written
	// at once. Default: 4 MiB.
	JournalSize int64

	// SegmentSize is the size in bytes from which messages go to another file of
	// the outbox. A file is removed when Trim has deleted all its messages.
	// Default: 4 MiB.
	SegmentSize int64

	// Logger gets what no caller can be told: files that could not be written in
	// the background. Default: slog.Default().
	Logger *slog.Logger

	// writers is how many files are written at the same time: file systems sync many
	// at once much faster than one after another.
	writers int
}

func (o Options) withDefaults() Options {
	if o.Delay <= 0 {
		o.Delay = 500 * time.Millisecond
	}
	if o.JournalSize <= 0 {
		o.JournalSize = 4 << 20
	}
	if o.SegmentSize <= 0 {
		o.SegmentSize = 4 << 20
	}
	if o.writers <= 0 {
		o.writers = 16
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return o
}

// Open opens the directory with default Options, creating it when it is missing or
// empty, and the DB on it.
func Open(ctx context.Context, dir string, cfg uow.Config) (*uow.DB, error) {
	return Options{}.Open(ctx, dir, cfg)
}

// Open opens the directory with these options, creating it when it is missing or
// empty, and the DB on it. It reads everything, and finishes what a crash has
// interrupted. Errors that errors.Is can ask for: ErrLocked, ErrFormat, ErrForeign,
// ErrDamaged, ErrMismatch, ErrFull, and those of package io/fs.
func (o Options) Open(ctx context.Context, dir string, cfg uow.Config) (*uow.DB, error) {
	store, err := o.OpenStore(ctx, dir)
	if err != nil {
		return nil, err
	}
	db, err := uow.Open(ctx, store, cfg)
	if err != nil {
		_ = store.Close() // the first error tells more
		return nil, err
	}
	return db, nil
}

// OpenStore opens the directory with these options. It is for tests and tools that
// need the store itself; others call Open.
func (o Options) OpenStore(ctx context.Context, dir string) (*Store, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if dir == "" {
		return nil, fmt.Errorf("files: open: the path is empty")
	}
	s, err := open(o.withDefaults(), dir)
	if err != nil {
		return nil, fmt.Errorf("files: open %s: %w", dir, err)
	}
	return s, nil
}
