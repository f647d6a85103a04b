package sqlite

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/uow-go/uow/driver"
	"github.com/uow-go/uow/outbox"
)

// Store is a database file. It is a driver.Store and an outbox.Log; users meet it
// as uow.DB.Store, and need it for nothing else.
type Store struct {
	options     Options
	location    string
	disk        disk
	readers     *pool
	writer      *writer
	tables      map[string]*table // set by Register, then never changed
	subscribers outbox.Subscribers
	recent      outbox.Recent
}

var (
	_ driver.Store = (*Store)(nil)
	_ outbox.Log   = (*Store)(nil)
)

// OpenStore opens the database file with these options, creating it when it is
// missing. It is for tests and tools that need the store itself; others call
// Options.Open.
func (o Options) OpenStore(ctx context.Context, path string) (*Store, error) {
	at, err := location(path)
	if err != nil {
		return nil, err
	}
	if err := o.checkThere(path); err != nil {
		return nil, err
	}
	s := &Store{options: o.withDefaults(), location: at}
	c, err := s.dialWriter(ctx)
	if err != nil {
		return nil, fmt.Errorf("sqlite: open %s: %w", path, err)
	}
	if err := s.migrate(c); err != nil {
		return nil, errors.Join(fmt.Errorf("%w (%s)", err, path), c.close())
	}
	file, err := c.file()
	if err != nil {
		return nil, errors.Join(wrap("open", err), c.close())
	}
	s.disk.wal, s.disk.sync = file+"-wal", syncFile
	s.writer = newWriter(s, c)
	s.readers = &pool{max: s.options.Readers, dial: s.dialReader}
	// One reader is there from the start and stays: while it does, a writer's
	// connection can be replaced without a recovery of the log.
	r, err := s.readers.get(ctx)
	if err != nil {
		return nil, errors.Join(err, c.close())
	}
	s.readers.put(r)
	return s, nil
}

// Close closes the store. It waits for commits that are running; units that are
// still open fail. Everything that was committed is in the file.
func (s *Store) Close() error {
	return errors.Join(s.writer.close(), s.readers.close())
}

func (s *Store) table(collection string) (*table, error) {
	if t, ok := s.tables[collection]; ok {
		return t, nil
	}
	return nil, fmt.Errorf("sqlite: collection %s is not registered", collection)
}

func (s *Store) dialReader(ctx context.Context) (*conn, error) {
	c, err := dial(ctx, s.location)
	if err != nil {
		return nil, err
	}
	err = c.script(fmt.Sprintf("PRAGMA busy_timeout = %d; PRAGMA query_only = 1", s.options.BusyTimeout.Milliseconds()))
	if err != nil {
		return nil, errors.Join(err, c.close())
	}
	return c, nil
}

func (s *Store) dialWriter(ctx context.Context) (*conn, error) {
	c, err := dial(ctx, s.location)
	if err != nil {
		return nil, wrap("open", err)
	}
	if err := s.configureWriter(ctx, c); err != nil {
		return nil, errors.Join(wrap("configure", err), c.close())
	}
	c.watch()
	return c, nil
}

func (s *Store) configureWriter(ctx context.Context, c *conn) error {
	if err := c.script(fmt.Sprintf("PRAGMA busy_timeout = %d", s.options.BusyTimeout.Milliseconds())); err != nil {
		return err
	}
	if err := s.useWAL(ctx, c); err != nil {
		return err
	}
	synchronous := "FULL"
	if s.options.Synchronous == Normal {
		synchronous = "NORMAL"
	}
	return c.script(fmt.Sprintf("PRAGMA synchronous = %s; PRAGMA wal_autocheckpoint = %d; PRAGMA foreign_keys = 1",
		synchronous, s.options.CheckpointPages))
}

// useWAL turns the write-ahead log on, which SQLite refuses at once, without
// heeding the busy timeout, while others are at the file.
func (s *Store) useWAL(ctx context.Context, c *conn) error {
	deadline := time.Now().Add(s.options.BusyTimeout)
	for {
		mode, err := c.journalMode()
		if err == nil && mode != "wal" {
			return fmt.Errorf("the file's journal can't be a write-ahead log, it is %q", mode)
		}
		if !isBusy(err) || time.Now().After(deadline) {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(5 * time.Millisecond):
		}
	}
}
