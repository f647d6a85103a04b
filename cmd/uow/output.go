package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/uow-go/uow/admin"
)

// print prints a value as JSON, or by what is for people.
func (c *command) print(value any, people func()) error {
	if !c.flags.json {
		people()
		return nil
	}
	enc := json.NewEncoder(c.out)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(value)
}

// table writes rows in columns.
func table(w io.Writer, rows ...[]string) {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		cells := make([]string, len(row))
		for i, cell := range row {
			cells[i] = plain(cell)
		}
		fmt.Fprintln(tw, strings.TrimRight(strings.Join(cells, "\t"), "\t"))
	}
	_ = tw.Flush() // as Fprintln: nobody can be told
}

// plain keeps texts that others wrote from moving the cursor of a terminal.
func plain(s string) string {
	if s == "" {
		return "-"
	}
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '\uFFFD'
		}
		return r
	}, s)
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func moment(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Local().Format("2006-01-02 15:04:05")
}

func age(seconds float64) string {
	if seconds == 0 {
		return ""
	}
	return time.Duration(seconds * float64(time.Second)).Round(time.Second).String()
}

func (c *command) printStats(s admin.Stats) {
	fmt.Fprintf(c.out, "The log ends at %d and has %s.\n", s.End, count(int(s.Messages), "message"))
	if len(s.Cursors) == 0 {
		fmt.Fprintln(c.out, "No relay has read it yet: there is no cursor.")
	}
	rows := [][]string{{"CURSOR", "POSITION", "BEHIND", "OLDEST", "RETRYING", "WAITING", "PARKED", "RELAYS"}}
	for _, cursor := range s.Cursors {
		rows = append(rows, []string{cursor.Name, fmt.Sprint(cursor.Position), fmt.Sprint(cursor.Behind), age(cursor.Age),
			fmt.Sprint(cursor.Retrying), fmt.Sprint(cursor.Waiting), fmt.Sprint(cursor.Parked), fmt.Sprint(len(cursor.Members))})
	}
	if len(s.Cursors) > 0 {
		fmt.Fprintln(c.out)
		table(c.out, rows...)
	}
	rows = [][]string{{"CURSOR", "PARTITION", "POSITION", "BEHIND", "EPOCH", "OWNER", "LEASE UNTIL"}}
	for _, cursor := range s.Cursors {
		for _, p := range cursor.Partitions {
			rows = append(rows, []string{cursor.Name, fmt.Sprint(p.Partition), fmt.Sprint(p.Position), fmt.Sprint(p.Behind),
				fmt.Sprint(p.Epoch), p.Owner, moment(p.LeaseUntil)})
		}
	}
	if len(rows) > 1 {
		fmt.Fprintln(c.out)
		table(c.out, rows...)
	}
	if len(s.Blockers) == 0 {
		return
	}
	fmt.Fprint(c.out, "\nOpen transactions that hold up what was committed after them:\n")
	rows = [][]string{{"SESSION", "APPLICATION", "CLIENT", "STATE", "SINCE", "LAST QUERY"}}
	for _, b := range s.Blockers {
		rows = append(rows, []string{b.Session, b.Application, b.Client, b.State, moment(b.Since), moment(b.QueryAt)})
	}
	table(c.out, rows...)
}

func (c *command) printMessages(p admin.Page) {
	if len(p.Messages) == 0 {
		fmt.Fprintln(c.out, "No messages.")
		return
	}
	rows := [][]string{{"POSITION", "ID", "TOPIC", "KEY", "TYPE", "CREATED", "STATE", "ATTEMPTS", "REASON"}}
	for _, m := range p.Messages {
		row := []string{fmt.Sprint(m.Position), m.ID, m.Topic, m.Key, m.Type, moment(m.CreatedAt)}
		if m.At != nil {
			row = append(row, string(m.At.State))
			if m.At.Attempts > 0 || m.At.Reason != "" {
				row = append(row, fmt.Sprint(m.At.Attempts), m.At.Reason)
			}
		}
		rows = append(rows, row)
	}
	table(c.out, rows...)
	if p.Next > 0 {
		fmt.Fprintf(c.out, "\nThere may be more: --after %d\n", p.Next)
	}
}

func (c *command) printDetail(d admin.Detail) {
	rows := [][]string{
		{"position", fmt.Sprint(d.Position)}, {"id", d.ID}, {"topic", d.Topic}, {"key", d.Key}, {"type", d.Type},
		{"created", moment(d.CreatedAt)},
	}
	if d.AggregateType != "" {
		rows = append(rows, []string{"aggregate", d.AggregateType + "/" + d.AggregateID}, []string{"sequence", fmt.Sprint(d.Sequence)})
	}
	for _, name := range slices.Sorted(maps.Keys(d.Headers)) {
		rows = append(rows, []string{"header " + name, d.Headers[name]})
	}
	for _, at := range d.Cursors {
		state := string(at.State)
		if !at.Since.IsZero() {
			state += " since " + moment(at.Since)
		}
		if at.Attempts > 0 {
			state += ", " + count(at.Attempts, "attempt")
		}
		if !at.NextAt.IsZero() {
			state += ", next " + moment(at.NextAt)
		}
		if at.Reason != "" {
			state += ": " + at.Reason
		}
		rows = append(rows, []string{"cursor " + at.Cursor, state})
	}
	table(c.out, rows...)
	if len(d.Payload) > 0 {
		fmt.Fprintf(c.out, "\n%s that are no text: --json has them\n", count(d.Size, "byte"))
		return
	}
	fmt.Fprintf(c.out, "\n%s\n", strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) && r != '\n' && r != '\t' {
			return '\uFFFD'
		}
		return r
	}, d.Text))
}

func (c *command) printOutcome(o admin.Outcome) {
	if o.DryRun {
		fmt.Fprintf(c.out, "Would %s %s at the cursor %s, positions %s.\n", o.Action, count(o.Matched, "message"), o.Cursor, positions(o))
		return
	}
	fmt.Fprintf(c.out, "%s: %d of %s changed at the cursor %s, positions %s.\n", o.Action, o.Changed, count(o.Matched, "message"), o.Cursor, positions(o))
}

func positions(o admin.Outcome) string {
	var b strings.Builder
	for i, p := range o.Positions {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprint(&b, p)
	}
	if o.Matched > len(o.Positions) {
		fmt.Fprintf(&b, " … %d", o.Last)
	}
	return b.String()
}

func (c *command) printMarks(p admin.Marks) {
	rows := [][]string{{"CONSUMER", "SOURCE", "ID", "HANDLED", "STREAM", "SEQUENCE"}}
	for _, m := range p.Marks {
		row := []string{m.Consumer, m.Source, m.ID, moment(m.HandledAt), m.Stream}
		if m.Sequence > 0 {
			row = append(row, fmt.Sprint(m.Sequence))
		}
		rows = append(rows, row)
	}
	table(c.out, rows...)
	if p.Count >= 0 {
		fmt.Fprintf(c.out, "\n%s in all, and %s.\n", count(p.Count, "mark"), count(p.Streams, "stream"))
	}
	if p.Next != "" {
		fmt.Fprintf(c.out, "\nThere are more: --page '%s'\n", p.Next)
	}
}

func (c *command) printStreams(p admin.Streams) {
	rows := [][]string{{"SOURCE", "STREAM", "LAST"}}
	for _, s := range p.Streams {
		rows = append(rows, []string{s.Source, s.Stream, fmt.Sprint(s.Last)})
	}
	table(c.out, rows...)
	if p.Next != "" {
		fmt.Fprintf(c.out, "\nThere are more: --page '%s'\n", p.Next)
	}
}
