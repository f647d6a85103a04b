package tocsintest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// binaryVariable names the binary under test. Main sets it; a user can set it to
// test a binary that is there already.
const binaryVariable = "TOCSIN_BINARY"

// Main is what a package's TestMain calls: it builds tocsin once, runs the tests
// and exits.
func Main(m *testing.M) {
	remove, err := build()
	if err != nil {
		fmt.Fprintln(os.Stderr, "tocsintest:", err)
		os.Exit(1)
	}
	code := m.Run()
	remove()
	os.Exit(code)
}

// Binary returns the path of the tocsin under test.
func Binary(t testing.TB) string {
	t.Helper()
	path := os.Getenv(binaryVariable)
	if path == "" {
		t.Fatal("tocsintest: no binary: the package's TestMain must call tocsintest.Main")
	}
	if err := lookAtSources(); err != nil {
		t.Fatalf("tocsintest: %v", err)
	}
	return path
}

func build() (remove func(), err error) {
	if os.Getenv(binaryVariable) != "" {
		return func() {}, nil
	}
	module, err := module()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "tocsin-under-test-")
	if err != nil {
		return nil, err
	}
	remove = func() { _ = os.RemoveAll(dir) }
	path := filepath.Join(dir, "tocsin")
	cmd := exec.CommandContext(context.Background(), "go", "build", "-o", path, "./cmd/tocsin")
	cmd.Dir = filepath.Join(module, "..", "monitor")
	if output, err := cmd.CombinedOutput(); err != nil {
		remove()
		return nil, fmt.Errorf("%s: %w\n%s", cmd, err, output)
	}
	return remove, os.Setenv(binaryVariable, path)
}

// module finds the folder of this module.
func module() (dir string, err error) {
	if dir, err = os.Getwd(); err != nil {
		return "", err
	}
	for !exists(filepath.Join(dir, "go.mod")) {
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("the tests do not run inside of their module")
		}
		dir = parent
	}
	return dir, nil
}

// lookAtSources looks at the program's files, so that go test does not take the
// result of an older program from its cache. It notes the files that a test
// looks at, and only those inside of the test's module: hence their names, which
// begin with its folder.
func lookAtSources() error {
	module, err := module()
	if err != nil {
		return err
	}
	root := module + "/.."
	return fs.WalkDir(os.DirFS(root), ".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return nil //nolint:nilerr // another program's file that is gone again
		case d.IsDir() && (path == "integration" || strings.HasPrefix(d.Name(), ".") && path != "."):
			return fs.SkipDir
		case !d.IsDir() && !strings.HasSuffix(path, "_test.go"):
			_ = exists(root + "/" + path)
		}
		return nil
	})
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
