package uowtest

import (
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/uow-go/uow"
)

// Step is something that an operation did, and that can fail.
type Step struct {
	// N numbers the steps of a run, from 1.
	N int
	// Name is the method of the store, or the name that Run.Step was given.
	Name string
	// About is the name with what the step was about.
	About string
	// At is the line of the program that took the step, as in "bank/transfer.go:42".
	At string
	// From are the lines that led to At, nearest first.
	From []string
	// Err is what the step returned.
	Err error
	// Lasting says that it had an effect that no rollback takes back: it was a
	// commit, a step of the operation's own, or a Publish.
	Lasting bool
	// Fault is what was done to it; empty for nothing.
	Fault Fault

	method   string
	own      bool               // declared by Run.Step
	conflict *uow.ConflictError // that it could meet
	resolves bool               // the store can tell what became of a commit
	locked   bool               // others may have to wait for the operation
	mayPanic bool
}

var notInNames = regexp.MustCompile(`[^A-Za-z0-9]+`)

// slug is the step's name as that of a subtest.
func (s Step) slug() string {
	name := strings.Trim(notInNames.ReplaceAllString(strings.ToLower(s.Name), "_"), "_")
	n := strconv.Itoa(s.N)
	if len(n) < 2 {
		n = "0" + n
	}
	return "step_" + n + "_" + name
}

// String names the step, its line, and those that led there.
func (s Step) String() string {
	text := "step " + strconv.Itoa(s.N) + ", " + s.About
	if s.At != "" {
		text += " (" + strings.Join(append([]string{s.At}, s.From...), ", from ") + ")"
	}
	return text
}

// where is from where a step was taken.
type where struct {
	lines     []string // of the user's program, nearest first
	settling  bool     // by a commit that asks what became of itself
	goroutine string
}

const module = "github.com/uow-go/uow"

// caller finds the lines of the user's program that lead to here.
func caller() (w where) {
	pcs := make([]uintptr, 100)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs)])
	for {
		frame, more := frames.Next()
		if strings.HasSuffix(frame.Function, "/uow.(*Unit).settle") {
			w.settling = true
		}
		if isUsers(frame) {
			w.lines = append(w.lines, filepath.Base(filepath.Dir(frame.File))+"/"+filepath.Base(frame.File)+":"+strconv.Itoa(frame.Line))
			w.lines = slices.Compact(w.lines)
		}
		if !more {
			w.goroutine = goroutine()
			return w
		}
	}
}

// isUsers reports whether a frame is neither of this module's packages nor of
// those of Go that call back.
func isUsers(f runtime.Frame) bool {
	pkg := packageOf(f.Function)
	switch {
	case strings.HasSuffix(f.File, "_test.go"):
		return true
	case pkg == module, strings.HasPrefix(pkg, module+"/"):
		return isOther(strings.TrimPrefix(pkg, module+"/"))
	}
	for _, std := range []string{"runtime", "testing", "sync", "context", "database/sql", "slices", "maps", "iter", "reflect", "errors"} {
		if pkg == std || strings.HasPrefix(pkg, std+"/") {
			return false
		}
	}
	return pkg != ""
}

// isOther reports whether a package beneath this module's path is of another module
// and no part of the library.
func isOther(path string) bool {
	first, _, _ := strings.Cut(path, "/")
	return first == "monitor" || first == "integration" || first == "examples"
}

// packageOf returns the path of the package that a function is in.
func packageOf(function string) string {
	slash := strings.LastIndexByte(function, '/') + 1
	name, _, _ := strings.Cut(function[slash:], ".")
	return function[:slash] + name
}

// goroutine returns what tells this goroutine from others.
func goroutine() string {
	buf := make([]byte, 64)
	text := string(buf[:runtime.Stack(buf, false)]) // "goroutine 7 [running]: …"
	id, _, _ := strings.Cut(text, " [")
	return id
}
