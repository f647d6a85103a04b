// Command uow looks after the outbox and the inboxes of a database: what was not
// delivered and why, and to have it delivered, again or not at all. Run it without
// arguments for help.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/uow-go/uow/admin"
)

// The exit codes.
const (
	exitOK      = 0
	exitFailed  = 1 // the database can't be reached, or an operation failed
	exitUsage   = 2 // the command line makes no sense
	exitNothing = 3 // what was named is not there, or nothing was selected
	exitRefused = 4 // not confirmed
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	c := &command{in: os.Stdin, out: os.Stdout, err: os.Stderr, env: os.Getenv, terminal: isTerminal(os.Stdin)}
	code := c.run(ctx, os.Args[1:])
	stop()
	os.Exit(code)
}

// isTerminal reports whether a person can be asked.
func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return false
	}
	null, err := os.Stat(os.DevNull)
	return err != nil || !os.SameFile(info, null)
}

// command is one run of the program.
type command struct {
	in       io.Reader
	out, err io.Writer
	env      func(string) string
	terminal bool
	flags    flags
}

// usageError is a mistake in the command line.
type usageError struct{ what string }

// Error says what the mistake is.
func (e *usageError) Error() string { return e.what }

func usage(format string, args ...any) error { return &usageError{fmt.Sprintf(format, args...)} }

// Errors that have exit codes of their own.
var (
	errNothing = errors.New("nothing is selected")
	errRefused = errors.New("not confirmed, nothing was changed")
)

func (c *command) run(ctx context.Context, args []string) int {
	err := c.dispatch(ctx, args)
	var mistake *usageError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &mistake), errors.Is(err, admin.ErrInvalid):
		fmt.Fprintf(c.err, "uow: %v\nRun uow help.\n", err)
		return exitUsage
	case errors.Is(err, errNothing), errors.Is(err, admin.ErrNoMessage), errors.Is(err, admin.ErrNoCursor):
		fmt.Fprintf(c.err, "uow: %v\n", err)
		return exitNothing
	case errors.Is(err, errRefused):
		fmt.Fprintf(c.err, "uow: %v\n", err)
		return exitRefused
	}
	fmt.Fprintf(c.err, "uow: %s\n", withoutPassword(err.Error(), c.flags.store))
	return exitFailed
}

func (c *command) dispatch(ctx context.Context, args []string) error {
	if len(args) == 0 || args[0] == "help" || args[0] == "-h" || args[0] == "--help" {
		fmt.Fprint(c.out, help)
		return nil
	}
	verb := args[0]
	args = args[1:]
	if verb == "outbox" || verb == "inbox" {
		if len(args) == 0 || args[0][0:min(1, len(args[0]))] == "-" {
			return usage("%s: want a command after it", verb)
		}
		verb += " " + args[0]
		args = args[1:]
	}
	commands := map[string]func(context.Context) error{
		"outbox stats": c.stats, "outbox ls": c.list, "outbox show": c.show, "outbox drop-cursor": c.dropCursor,
		"outbox redrive": c.action("redrive"), "outbox discard": c.action("discard"),
		"outbox park": c.action("park"), "outbox replay": c.action("replay"),
		"inbox ls": c.inbox, "inbox streams": c.streams, "schema": c.schema,
	}
	do, ok := commands[verb]
	if !ok {
		return usage("there is no command %q", verb)
	}
	wantsHelp, err := c.flags.parse(verb, args)
	if err != nil {
		return err
	}
	if wantsHelp {
		fmt.Fprint(c.out, help)
		return nil
	}
	if c.flags.store == "" {
		c.flags.store = c.env("UOW_STORE")
	}
	return do(ctx)
}
