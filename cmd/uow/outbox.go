package main

import (
	"bufio"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/uow-go/uow/admin"
)

func (c *command) noArguments() error {
	if len(c.flags.rest) > 0 {
		return usage("what is %q? Flags begin with --", c.flags.rest[0])
	}
	return nil
}

func (c *command) stats(ctx context.Context) error {
	if err := c.noArguments(); err != nil {
		return err
	}
	ops, done, err := c.open(ctx, false)
	if err != nil {
		return err
	}
	defer done()
	stats, err := ops.Stats(ctx)
	if err != nil {
		return err
	}
	return c.print(stats, func() { c.printStats(stats) })
}

func (c *command) list(ctx context.Context) error {
	if err := c.noArguments(); err != nil {
		return err
	}
	after := int64(0)
	if c.flags.after != "" {
		var err error
		if after, err = strconv.ParseInt(c.flags.after, 10, 64); err != nil {
			return usage("--after wants a position")
		}
	}
	ops, done, err := c.open(ctx, false)
	if err != nil {
		return err
	}
	defer done()
	q := admin.Query{Filter: c.flags.filter, After: after, Limit: c.flags.limit, Cursor: c.flags.cursor}
	if len(q.Filter.States) == 0 { // a log that no relay has read yet has no cursor, and messages all the same
		if q.Cursor, err = existing(ctx, ops, q.Cursor); err != nil {
			return err
		}
	}
	page := admin.Page{Messages: []admin.Message{}}
	for { // an empty page may have others after it
		found, err := ops.List(ctx, q)
		if err != nil {
			return err
		}
		page.Messages, page.Next = append(page.Messages, found.Messages...), found.Next
		if q.After = found.Next; len(page.Messages) > 0 || found.Next == 0 {
			break
		}
	}
	return c.print(page, func() { c.printMessages(page) })
}

// existing returns the name, or "" when there is no such cursor.
func existing(ctx context.Context, ops *admin.Ops, name string) (string, error) {
	stats, err := ops.Stats(ctx)
	if err != nil || !slices.ContainsFunc(stats.Cursors, func(c admin.Cursor) bool { return c.Name == name }) {
		return "", err
	}
	return name, nil
}

func (c *command) show(ctx context.Context) error {
	if len(c.flags.rest) != 1 {
		return usage("outbox show: want one position, or one id")
	}
	ops, done, err := c.open(ctx, false)
	if err != nil {
		return err
	}
	defer done()
	position, err := strconv.ParseInt(c.flags.rest[0], 10, 64)
	if err != nil {
		if position, err = ops.Find(ctx, c.flags.rest[0]); err != nil {
			return err
		}
	}
	detail, err := ops.Show(ctx, position)
	if err != nil {
		return err
	}
	return c.print(detail, func() { c.printDetail(detail) })
}

// action is one of the commands that change something.
func (c *command) action(name string) func(context.Context) error {
	return func(ctx context.Context) error {
		if err := c.noArguments(); err != nil {
			return err
		}
		ops, done, err := c.open(ctx, false)
		if err != nil {
			return err
		}
		defer done()
		do := map[string]func(context.Context, admin.Action) (admin.Outcome, error){
			"redrive": ops.Redrive, "discard": ops.Discard, "park": ops.Park, "replay": ops.Replay,
		}[name]
		a := admin.Action{
			Cursor: c.flags.cursor, Filter: c.flags.filter, All: c.flags.all, Limit: c.flags.limit,
			Reason: c.flags.reason, Rate: c.flags.rate, Actor: c.actor(), DryRun: true,
		}
		if !c.flags.yes || c.flags.dryRun {
			would, err := do(ctx, a)
			if err != nil {
				return err
			}
			if would.Matched == 0 {
				return errNothing
			}
			if c.flags.dryRun {
				return c.print(would, func() { c.printOutcome(would) })
			}
			if err := c.confirm(fmt.Sprintf("%s %s at the cursor %s", name, count(would.Matched, "message"), a.Cursor)); err != nil {
				return err
			}
		}
		a.DryRun = false
		outcome, err := do(ctx, a)
		if err != nil {
			if outcome.Changed > 0 {
				return fmt.Errorf("%w (after %s were changed; the last was at position %d)", err, count(outcome.Changed, "message"), outcome.Last)
			}
			return err
		}
		if outcome.Matched == 0 {
			return errNothing
		}
		return c.print(outcome, func() { c.printOutcome(outcome) })
	}
}

func (c *command) dropCursor(ctx context.Context) error {
	if len(c.flags.rest) != 1 {
		return usage("outbox drop-cursor: want the name of one cursor")
	}
	name := c.flags.rest[0]
	ops, done, err := c.open(ctx, false)
	if err != nil {
		return err
	}
	defer done()
	stats, err := ops.Stats(ctx)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(stats.Cursors, func(cursor admin.Cursor) bool { return cursor.Name == name })
	if i < 0 {
		return fmt.Errorf("%w: %q", admin.ErrNoCursor, name)
	}
	cursor := stats.Cursors[i]
	what := fmt.Sprintf("drop the cursor %s: it is %d positions behind, and %s with it", name, cursor.Behind,
		count(int(cursor.Retrying+cursor.Waiting+cursor.Parked), "held message"))
	if c.flags.dryRun {
		return c.print(cursor, func() { fmt.Fprintf(c.out, "Would %s.\n", what) })
	}
	if !c.flags.yes {
		if err := c.confirm(what); err != nil {
			return err
		}
	}
	if err := ops.DropCursor(ctx, name, c.actor(), c.flags.force); err != nil {
		return err
	}
	return c.print(cursor, func() { fmt.Fprintf(c.out, "Dropped the cursor %s.\n", name) })
}

// confirm asks a person.
func (c *command) confirm(what string) error {
	if !c.terminal {
		return fmt.Errorf("%w: to %s without a terminal, say --yes", errRefused, what)
	}
	fmt.Fprintf(c.err, "%s%s? [y/N] ", strings.ToUpper(what[:1]), what[1:])
	line, _ := bufio.NewReader(c.in).ReadString('\n') // at the end of input nobody has said yes
	if answer := strings.ToLower(strings.TrimSpace(line)); answer != "y" && answer != "yes" {
		return errRefused
	}
	return nil
}

func (c *command) actor() string {
	for _, name := range []string{c.flags.actor, c.env("SUDO_USER"), c.env("USER"), c.env("USERNAME")} {
		if name != "" {
			return name
		}
	}
	return "unknown"
}
