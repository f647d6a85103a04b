package sqlite

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/uow-go/uow"
)

// Synchronous says when a commit is on the disk.
type Synchronous uint8

const (
	// Full syncs every commit before it returns: it survives a power loss.
	Full Synchronous = iota
	// Normal syncs at checkpoints only: a power loss may take the newest commits
	// back, all of each, and leaves the database whole. A crash of the process
	// alone loses nothing. Relays sync what they have read before they publish it, and
	// so publish nothing that is lost.
	Normal
)

// Options are the knobs of a store. The zero value has all defaults.
type Options struct {
	// BusyTimeout is how long to wait for a lock that another process holds, and
	// for the writer while a unit that runs its own SQL has it. Default: 5 s.
	BusyTimeout time.Duration

	// Readers is the greatest number of units that read at the same time: each
	// has a connection of its own from its first read until it commits. Others
	// wait. Default: 32.
	Readers int

	// CheckpointPages is the size of the write-ahead log, in pages of 4 KiB, from
	// which a commit also moves it into the database. A greater one makes that
	// rarer, and the slowest commits fewer. Default: 10000, which is 40 MB.
	CheckpointPages int

	// Synchronous says when a commit is on the disk. Default: Full.
	Synchronous Synchronous

	// FixedSchema leaves the schema to the user's own migrations, for which SchemaSQL
	// has the text: Open creates no file, table or index and changes none, and returns
	// ErrMismatch where something is missing, with the SQL that makes it. Default:
	// false, Open creates what is missing.
	FixedSchema bool
}

func (o Options) withDefaults() Options {
	if o.BusyTimeout <= 0 {
		o.BusyTimeout = 5 * time.Second
	}
	if o.Readers <= 0 {
		o.Readers = 32
	}
	if o.CheckpointPages <= 0 {
		o.CheckpointPages = 10000
	}
	return o
}

// Open opens the database file with default Options, creating it when it is
// missing, and the DB on it.
func Open(ctx context.Context, path string, cfg uow.Config) (*uow.DB, error) {
	return Options{}.Open(ctx, path, cfg)
}

// Open opens the database file with these options, creating it when it is
// missing, and the DB on it.
func (o Options) Open(ctx context.Context, path string, cfg uow.Config) (*uow.DB, error) {
	store, err := o.OpenStore(ctx, path)
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

// OpenStore opens the database file with default Options. It is for tests and
// tools that need the store itself; others call Open.
func OpenStore(ctx context.Context, path string) (*Store, error) {
	return Options{}.OpenStore(ctx, path)
}

// location turns a path into what the driver opens. The path is made absolute,
// since connections are opened later too.
func location(path string) (string, error) {
	switch {
	case path == "":
		return "", fmt.Errorf("sqlite: open: the path is empty")
	case strings.Contains(path, ":memory:"):
		return "", fmt.Errorf("sqlite: open %s: every connection would have a database of its own: use package memory, or a file in a temporary directory", path)
	case strings.HasPrefix(path, "file:"):
		return "", fmt.Errorf("sqlite: open %s: want a path, not a URI", path)
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("sqlite: open %s: %w", path, err)
	}
	abs = filepath.ToSlash(abs)
	if !strings.HasPrefix(abs, "/") {
		abs = "/" + abs // a drive letter
	}
	return "file:" + strings.NewReplacer("%", "%25", "?", "%3f", "#", "%23").Replace(abs), nil
}
