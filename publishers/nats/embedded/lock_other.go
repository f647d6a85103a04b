//go:build !unix

package embedded

import (
	"fmt"
	"os"
	"path/filepath"
)

// lock keeps the lock's file open. Where a file that is open can't be removed, a second
// server fails to remove it.
func lock(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, fmt.Errorf("embedded: %w", err)
	}
	name := filepath.Join(dir, "uow.lock")
	if err := os.Remove(name); err != nil && !os.IsNotExist(err) {
		return nil, fmt.Errorf("%w: %s", ErrInUse, dir)
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("embedded: %w", err)
	}
	return f, nil
}
