package files

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/uow-go/uow/driver"
	"github.com/uow-go/uow/internal/mvcc"
	"github.com/uow-go/uow/outbox"
)

// Store is a directory. It is a driver.Store and an outbox.Log; users meet it as
// uow.DB.Store, and need it for nothing else.
type Store struct {
	*mvcc.Store
	keeper *keeper
	root   *os.Root
	lock   *os.File
	once   sync.Once
}

var (
	_ driver.Store    = (*Store)(nil)
	_ driver.Resolver = (*Store)(nil)
	_ outbox.Log      = (*Store)(nil)
)

// open opens a directory that nobody else has.
func open(options Options, dir string) (*Store, error) {
	if err := makeDirectory(dir); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	d := directory{root}
	if err := checkRoot(d); err != nil {
		return nil, errors.Join(err, root.Close())
	}
	held, err := lock(root)
	if err != nil {
		return nil, errors.Join(err, root.Close())
	}
	keeper, engine, err := openKeeper(options, d)
	if err != nil {
		return nil, errors.Join(err, held.Close(), root.Close())
	}
	return &Store{Store: engine, keeper: keeper, root: root, lock: held}, nil
}

// openKeeper reads what the disk has.
func openKeeper(options Options, d disk) (*keeper, *mvcc.Store, error) {
	k, messages, err := load(options, d)
	if err != nil {
		return nil, nil, err
	}
	engine := mvcc.New(mvcc.Options{Name: "files", Closed: ErrClosed, Journal: k})
	log := k.state.clone().log
	log.Messages = messages
	engine.LoadLog(log)
	return k, engine, nil
}

// makeDirectory makes the directory where it is missing, for good.
func makeDirectory(dir string) error {
	switch err := os.Mkdir(dir, 0o777); {
	case errors.Is(err, os.ErrExist):
		return nil
	case err != nil:
		return err
	}
	parent, err := os.Open(filepath.Dir(dir))
	if err != nil {
		return err
	}
	return errors.Join(parent.Sync(), parent.Close())
}

// Register implements driver.Store. It reads the rows of the collections. Those of
// collections that are not registered stay as they are.
func (s *Store) Register(ctx context.Context, descs []driver.Collection) error {
	if err := s.Store.Register(ctx, descs); err != nil {
		return err
	}
	if err := makeCollections(s.keeper.disk, descs); err != nil {
		return fmt.Errorf("files: %w", err)
	}
	s.keeper.descs = make(map[string]driver.Collection, len(descs))
	for _, desc := range descs {
		s.keeper.descs[desc.Name] = desc
		rows, err := readCollection(ctx, s.keeper.disk, desc)
		if err == nil {
			err = s.Load(desc.Name, rows)
		}
		if errors.Is(err, driver.ErrDuplicate) {
			err = fmt.Errorf("%w: %w", ErrMismatch, err)
		}
		if err != nil {
			return fmt.Errorf("files: collection %s: %w", desc.Name, err)
		}
	}
	return nil
}

// Resolve implements driver.Resolver. A store whose disk has failed can't tell: the
// one that opens the directory next does.
func (s *Store) Resolve(ctx context.Context, unit string) (committed bool, err error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	if err := s.Decide(func() { s.keeper.units.fence(unit) }); err != nil {
		return false, err
	}
	if err := s.keeper.failed(); err != nil {
		return false, err
	}
	return s.keeper.units.resolve(unit)
}

// Close closes the store: it waits for commits that are running, and writes all
// files. Units that are still open fail. When files can't be written, the journal
// still has what was committed, and the next Open writes them.
func (s *Store) Close() error {
	var err error
	s.once.Do(func() {
		err = errors.Join(s.Store.Close(), s.keeper.close(), s.root.Close(), s.lock.Close())
	})
	return err
}
