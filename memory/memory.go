package memory

import (
	"context"
	"errors"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/internal/mvcc"
)

// ErrClosed is returned by everything after the store was closed.
var ErrClosed = errors.New("memory: the store is closed")

// Open returns a new, empty database. Closing it forgets everything.
func Open(ctx context.Context, cfg uow.Config) (*uow.DB, error) {
	return uow.Open(ctx, mvcc.New(mvcc.Options{Name: "memory", Closed: ErrClosed}), cfg)
}
