package console_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/uow-go/uow/monitor/internal/domain"
	"github.com/uow-go/uow/monitor/internal/infrastructure/destination/console"
)

func notification(kind domain.TransitionKind) domain.Notification {
	return domain.Notification{ID: "n1", Transition: domain.Transition{
		Kind: kind, Name: "InstanceDown", Value: 0.5,
		Slot:        time.Date(2026, 5, 1, 12, 0, 15, 0, time.UTC),
		Labels:      map[string]string{"alertname": "InstanceDown", "job": "node", "instance": "a:9100"},
		Annotations: map[string]string{"summary": "a is down", "description": "long"},
	}}
}

func send(t *testing.T, cfg console.Config, n domain.Notification) string {
	t.Helper()
	var out bytes.Buffer
	cfg.Out, cfg.Location = &out, time.UTC
	sender, err := console.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if answer := sender.Send(t.Context(), n, 1); answer.Outcome != domain.OutcomeDelivered {
		t.Fatalf("answer = %+v", answer)
	}
	return out.String()
}

func TestNewRefusesNoWriter(t *testing.T) {
	if _, err := console.New(console.Config{}); !errors.Is(err, console.ErrConfig) {
		t.Errorf("err = %v", err)
	}
}

func TestLine(t *testing.T) {
	held := notification(domain.BecameHeld)
	held.Transition.Hold, held.Transition.Reason, held.Late = domain.HoldStale, "target is down", true
	bare := notification(domain.RuleDeleted)
	bare.Transition.Annotations, bare.Transition.Labels = nil, nil
	bare.Transition.Reason = "the group no longer has the rule"
	described := notification(domain.BecameResolved)
	described.Transition.Annotations = map[string]string{"description": "all of it"}
	described.Transition.Labels = map[string]string{"a.b": "ü"}
	const at = "2026-05-01 12:00:15.000Z  "
	const name = "  InstanceDown                   0.5  "
	const labels = `{instance="a:9100", job="node"}`
	for _, c := range []struct {
		n    domain.Notification
		want string
	}{
		{notification(domain.BecameFiring), at + "FIRING    " + name + labels + "  a is down\n"},
		{notification(domain.HoldEnded), at + "HOLD ENDED" + name + labels + "  a is down\n"},
		{notification(domain.FellBack), at + "FELL BACK " + name + labels + "  a is down\n"},
		{notification("odd\x1b"), at + "ODD\\X1B   " + name + labels + "  a is down\n"},
		{held, at + "HELD      " + name + labels + "  a is down  (held: stale; target is down; late)\n"},
		{bare, at + "DELETED   " + name + "{}  (the group no longer has the rule)\n"},
		{described, at + "RESOLVED  " + name + `{"a.b"="ü"}` + "  all of it\n"},
	} {
		if got := send(t, console.Config{}, c.n); got != c.want {
			t.Errorf("%s:\n got %q\nwant %q", c.n.Transition.Kind, got, c.want)
		}
	}
}

func TestLineWithColor(t *testing.T) {
	got := send(t, console.Config{Color: true}, notification(domain.BecameFiring))
	if !strings.Contains(got, "\x1b[1;31mFIRING    \x1b[0m  InstanceDown") {
		t.Errorf("got %q", got)
	}
}

func TestLineIsBounded(t *testing.T) {
	n := notification(domain.BecameFiring)
	huge := strings.Repeat("ü", 1<<20)
	n.Transition.Name, n.Transition.Reason = huge, huge
	n.Transition.Labels = map[string]string{huge: huge}
	n.Transition.Annotations = map[string]string{"summary": huge}
	if got := send(t, console.Config{}, n); len(got) > 4000 {
		t.Errorf("the line has %d bytes", len(got))
	}
}

// FuzzLine shows that nothing in an alert can do anything to a terminal.
func FuzzLine(f *testing.F) {
	for _, s := range []string{
		"plain", "\x1b]0;title\x07", "a\nb\r\tc", "\u202Eevil", "\x9b31m", "\xff\xfe", "\u200b", "\\", `"`, "\u2028", "",
	} {
		f.Add(s, s, s)
	}
	f.Fuzz(func(t *testing.T, name, label, text string) {
		n := notification(domain.TransitionKind(name))
		n.Transition.Name, n.Transition.Hold = name, domain.Hold(label)
		n.Transition.Labels = map[string]string{label: text}
		n.Transition.Annotations = map[string]string{"summary": text}
		n.Transition.Reason = text
		got := send(t, console.Config{}, n)
		body, ended := strings.CutSuffix(got, "\n")
		if !ended || !utf8.ValidString(got) {
			t.Fatalf("no line of UTF-8: %q", got)
		}
		if strings.ContainsFunc(body, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Fatalf("a character that does not print: %q", got)
		}
	})
}

type writer func([]byte) (int, error)

func (w writer) Write(p []byte) (int, error) { return w(p) }

func TestWriteErrorIsTriedAgain(t *testing.T) {
	sender, err := console.New(console.Config{Out: writer(func([]byte) (int, error) { return 0, io.ErrClosedPipe })})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // the first failure must not keep the second sender out
		answer := sender.Send(t.Context(), notification(domain.BecameFiring), 1)
		if answer.Outcome != domain.OutcomeRetry || !strings.Contains(answer.Detail, "closed pipe") {
			t.Errorf("answer = %+v", answer)
		}
	}
}

func TestLinesDoNotMix(t *testing.T) {
	var out bytes.Buffer // the race detector sees two writes at once
	sender, err := console.New(console.Config{Out: &out})
	if err != nil {
		t.Fatal(err)
	}
	var senders sync.WaitGroup
	for range 50 {
		senders.Go(func() { sender.Send(context.Background(), notification(domain.BecameFiring), 1) })
	}
	senders.Wait()
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	if len(lines) != 50 {
		t.Fatalf("%d lines", len(lines))
	}
	for _, line := range lines {
		if line != lines[0] {
			t.Errorf("line %q", line)
		}
	}
}

func TestWriterThatBlocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release, lines := make(chan struct{}), 0
		sender, err := console.New(console.Config{Out: writer(func(p []byte) (int, error) {
			<-release
			lines++
			return len(p), nil
		})})
		if err != nil {
			t.Fatal(err)
		}
		outcome := func() domain.Outcome {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			return sender.Send(ctx, notification(domain.BecameFiring), 1).Outcome
		}
		if got := outcome(); got != domain.OutcomeUnknown {
			t.Errorf("the first sender's outcome = %s: its line may appear yet", got)
		}
		if got := outcome(); got != domain.OutcomeRetry {
			t.Errorf("the second sender's outcome = %s: it never had its turn", got)
		}
		close(release)
		if got := outcome(); got != domain.OutcomeDelivered || lines != 2 {
			t.Errorf("afterwards: %s, %d lines", got, lines)
		}
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if got := sender.Send(ended, notification(domain.BecameFiring), 1).Outcome; got != domain.OutcomeRetry || lines != 2 {
			t.Errorf("with a context that has ended: %s, %d lines", got, lines)
		}
	})
}

func TestColorful(t *testing.T) {
	t.Setenv("NO_COLOR", "")
	t.Setenv("TERM", "xterm")
	file, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	for name, out := range map[string]io.Writer{
		"a file": file, "the null device": null, "no file": &bytes.Buffer{}, "nil": (*os.File)(nil),
	} {
		if console.Colorful(out) {
			t.Errorf("%s is no terminal", name)
		}
	}
	terminal, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skip("there is no pseudo-terminal: run where /dev/ptmx can be opened: ", err)
	}
	defer terminal.Close()
	if !console.Colorful(terminal) {
		t.Error("a terminal has colours")
	}
	t.Setenv("TERM", "dumb")
	if console.Colorful(terminal) {
		t.Error("colours on a dumb terminal")
	}
	t.Setenv("TERM", "xterm")
	t.Setenv("NO_COLOR", "1")
	if console.Colorful(terminal) {
		t.Error("colours in spite of NO_COLOR")
	}
}
