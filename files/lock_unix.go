//go:build unix

package files

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
)

// lock takes the directory for this store, by a lock that the operating system
// drops with the process, however it ends. The file says who has it.
func lock(root *os.Root) (*os.File, error) {
	f, err := root.OpenFile(lockFile, os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return nil, err
	}
	err = flock(f)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		holder, _ := root.ReadFile(lockFile)
		return nil, errors.Join(fmt.Errorf("%w: %s has the lock on %s", ErrLocked, strings.TrimSpace(string(holder)), f.Name()), f.Close())
	}
	if err == nil {
		err = f.Truncate(0)
	}
	if err == nil {
		_, err = fmt.Fprintf(f, "process %d\n", os.Getpid())
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", f.Name(), err), f.Close())
	}
	return f, nil
}

func flock(f *os.File) error {
	for {
		if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}
