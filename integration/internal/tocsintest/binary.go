package tocsintest

import (
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
	return path
}

func build() (remove func(), err error) {
	if os.Getenv(binaryVariable) != "" {
		return func() {}, nil
	}
	root, err := repository()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "tocsin-under-test-")
	if err != nil {
		return nil, err
	}
	remove = func() { _ = os.RemoveAll(dir) }
	path := filepath.Join(dir, "tocsin")
	cmd := exec.Command("go", "build", "-o", path, "./cmd/tocsin")
	cmd.Dir = filepath.Join(root, "monitor")
	if output, err := cmd.CombinedOutput(); err != nil {
		remove()
		return nil, fmt.Errorf("%s: %w\n%s", cmd, err, output)
	}
	return remove, os.Setenv(binaryVariable, path)
}

// repository finds the folder that has the modules, and looks at the program's
// sources on the way. It names them by paths that begin with this module's
// folder, since go test runs a cached test again only when a file has changed
// that it looked at inside of its own module.
func repository() (root string, err error) {
	module, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for !exists(filepath.Join(module, "go.mod")) {
		parent := filepath.Dir(module)
		if parent == module {
			return "", errors.New("the tests do not run inside of their module")
		}
		module = parent
	}
	root = module + "/.."
	return filepath.Dir(module), fs.WalkDir(os.DirFS(root), ".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return nil // another program's file that is gone again
		case d.IsDir() && (path == "integration" || strings.HasPrefix(d.Name(), ".") && path != "."):
			return fs.SkipDir
		case !d.IsDir() && (strings.HasSuffix(path, ".go") || strings.HasPrefix(d.Name(), "go.")) && !strings.HasSuffix(path, "_test.go"):
			_, err := os.Stat(root + "/" + path)
			return err
		}
		return nil
	})
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
