package files

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/outbox"
)

// crashVariable tells this test's binary that it is the child: round, directory.
const crashVariable = "UOW_FILES_CRASH"

// TestCrash kills a process that commits and writes files, and looks at what it
// left: every unit that was acknowledged, and of every unit all or nothing.
func TestCrash(t *testing.T) {
	if task := os.Getenv(crashVariable); task != "" {
		crashChild(t, task)
		return
	}
	rounds := 12
	if testing.Short() {
		rounds = 3
	}
	dir := filepath.Join(t.TempDir(), "crash")
	acknowledged := map[string]bool{}
	for round := range rounds {
		for _, id := range killOne(t, dir, round) {
			acknowledged[id] = true
		}
		checkCrash(t, dir, acknowledged)
	}
	if len(acknowledged) < rounds {
		t.Errorf("only %d units were acknowledged in %d rounds: nothing was proven", len(acknowledged), rounds)
	}
	t.Logf("%d acknowledged units in %d rounds", len(acknowledged), rounds)
}

// killOne lets a child commit for a while and returns what it acknowledged.
func killOne(t *testing.T, dir string, round int) []string {
	t.Helper()
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestCrash$")
	child.Env = append(os.Environ(), fmt.Sprintf("%s=%d %s", crashVariable, round, dir))
	child.Stderr = os.Stderr
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	var acknowledged []string
	var timer *time.Timer
	for {
		line, err := lines.ReadString('\n')
		if err != nil { // a line that is cut off was not acknowledged
			if err != io.EOF && !errors.Is(err, os.ErrClosed) {
				t.Fatal(err)
			}
			break
		}
		id, ok := strings.CutPrefix(strings.TrimSpace(line), "ack ")
		if ok {
			acknowledged = append(acknowledged, id)
		}
		if ok && timer == nil { // from the first acknowledgement on, at any moment
			timer = time.AfterFunc(time.Duration(rand.IntN(150))*time.Millisecond, func() { _ = child.Process.Kill() })
			defer timer.Stop()
		}
	}
	if err := child.Wait(); err == nil || timer == nil {
		t.Fatalf("the child ended by itself: %v", err)
	}
	return acknowledged
}

// crashChild commits units until it is killed. Each adds a document, changes
// another, appends a message, and removes what the one before has added.
func crashChild(t *testing.T, task string) {
	round, dir, _ := strings.Cut(task, " ")
	db, _, docs := opened(t, Options{Delay: time.Millisecond, SegmentSize: 4000}, dir)
	failed := make(chan error)
	for g := range 8 {
		go func() {
			for i := 0; ; i++ {
				id := fmt.Sprintf("%s-%d-%d", round, g, i)
				last := fmt.Sprintf("%s-%d-%d", round, g, i-1)
				if err := crashUnit(db, docs, fmt.Sprint("counter", g), id, last, i > 0); err != nil {
					failed <- err
					return
				}
				fmt.Printf("ack %s\n", id) // one write
			}
		}()
	}
	t.Fatal(<-failed)
}

func crashUnit(db *uow.DB, docs *uow.Collection[document], counter, id, last string, remove bool) error {
	return db.Do(context.Background(), func(ctx context.Context, u *uow.Unit) error {
		all := docs.In(u)
		c, err := all.Get(ctx, counter)
		if errors.Is(err, uow.ErrNotFound) {
			c = &document{ID: counter}
			err = all.Add(c)
		}
		if err != nil {
			return err
		}
		c.Count++
		if remove {
			d, err := all.Get(ctx, last)
			if err := errors.Join(err, all.Remove(d)); err != nil {
				return err
			}
		}
		return errors.Join(all.Add(&document{ID: id, Note: id}), outbox.Append(u, outbox.Message{ID: id, Type: "Added"}))
	})
}

func checkCrash(t *testing.T, dir string, acknowledged map[string]bool) {
	t.Helper()
	db, s, docs := opened(t, Options{}, dir)
	defer func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}()
	messages := map[string]int{}
	for after := int64(0); ; {
		some, next, err := s.Scan(t.Context(), outbox.Query{After: after, Limit: 1000})
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range some {
			messages[m.ID]++
		}
		if next == after {
			break
		}
		after = next
	}
	counted, left := 0, map[string]string{}
	err := db.Do(t.Context(), func(ctx context.Context, u *uow.Unit) error {
		found, err := docs.In(u).Find(ctx, uow.Query{})
		for _, d := range found {
			counted += d.Count
			if d.Note != "" {
				series := d.ID[:strings.LastIndex(d.ID, "-")]
				if other, ok := left[series]; ok {
					t.Errorf("%s and %s are both there", other, d.ID)
				}
				left[series] = d.ID
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for id := range acknowledged {
		if messages[id] != 1 {
			t.Errorf("unit %s was acknowledged and has %d messages", id, messages[id])
		}
	}
	for _, id := range left {
		next := id[:strings.LastIndex(id, "-")+1]
		var n int
		_, _ = fmt.Sscan(id[len(next):], &n)
		if messages[id] != 1 || messages[fmt.Sprint(next, n+1)] != 0 {
			t.Errorf("document %s is the last of its kind, with %d messages, and %d of the one after", id, messages[id], messages[fmt.Sprint(next, n+1)])
		}
	}
	if counted != len(messages) {
		t.Errorf("%d messages, counted to %d: units were torn", len(messages), counted)
	}
}
