//go:build !unix

package files

import (
	"errors"
	"os"
)

// lock refuses: the store relies on flock, and on directories that can be synced.
func lock(*os.Root) (*os.File, error) {
	return nil, errors.New("this operating system is not supported")
}
