package sqlite

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/outbox"
)

// crashVariable tells this test's binary that it is the child: path, space, round.
const crashVariable = "UOW_SQLITE_CRASH"

// TestCrash kills a process that commits, and looks at what it left: every unit
// that was acknowledged, and of every unit all or nothing.
func TestCrash(t *testing.T) {
	if task := os.Getenv(crashVariable); task != "" {
		crashChild(t, task)
		return
	}
	rounds := 6
	if testing.Short() {
		rounds = 2
	}
	path := temporary(t)
	acknowledged := map[string]bool{}
	for round := range rounds {
		for _, id := range killOne(t, path, round) {
			acknowledged[id] = true
		}
		checkCrash(t, path, acknowledged)
	}
	if len(acknowledged) < rounds {
		t.Errorf("only %d units were acknowledged in %d rounds: nothing was proven", len(acknowledged), rounds)
	}
	t.Logf("%d acknowledged units in %d rounds", len(acknowledged), rounds)
}

// killOne lets a child commit for a while and returns what it acknowledged.
func killOne(t *testing.T, path string, round int) []string {
	t.Helper()
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestCrash$")
	child.Env = append(os.Environ(), fmt.Sprintf("%s=%s %d", crashVariable, path, round))
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
		if id, ok := strings.CutPrefix(strings.TrimSpace(line), "ack "); ok {
			acknowledged = append(acknowledged, id)
		}
		if timer == nil { // from the first acknowledgement on, at any moment
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
// another, and appends a message.
func crashChild(t *testing.T, task string) {
	path, round, _ := strings.Cut(task, " ")
	db, _, documents := openDocuments(t, path, Options{CheckpointPages: 50})
	failed := make(chan error)
	for g := range 8 {
		go func() {
			for i := 0; ; i++ {
				id := fmt.Sprintf("%s-%d-%d", round, g, i)
				if err := crashUnit(db, documents, fmt.Sprint("counter", g), id); err != nil {
					failed <- err
					return
				}
				fmt.Printf("ack %s\n", id) // one write
			}
		}()
	}
	t.Fatal(<-failed)
}

func crashUnit(db *uow.DB, documents *uow.Collection[document], counter, id string) error {
	return db.Do(context.Background(), func(ctx context.Context, u *uow.Unit) error {
		all := documents.In(u)
		c, err := all.Get(ctx, counter)
		if errors.Is(err, uow.ErrNotFound) {
			c = &document{ID: counter}
			err = all.Add(c)
		}
		if err != nil {
			return err
		}
		c.Count++
		return errors.Join(all.Add(&document{ID: id, Note: id}), outbox.Append(u, outbox.Message{ID: id, Type: "Added"}))
	})
}

func checkCrash(t *testing.T, path string, acknowledged map[string]bool) {
	t.Helper()
	db, s, documents := openDocuments(t, path, Options{})
	defer db.Close()
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
	units, counted := map[string]bool{}, 0
	err := db.Do(t.Context(), func(ctx context.Context, u *uow.Unit) error {
		found, err := documents.In(u).Find(ctx, uow.Query{})
		for _, d := range found {
			counted += d.Count
			if d.Note != "" {
				units[d.ID] = true
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for id := range acknowledged {
		if !units[id] {
			t.Errorf("unit %s was acknowledged and is lost", id)
		}
	}
	for id := range units {
		if messages[id] != 1 {
			t.Errorf("unit %s has its document and %d messages", id, messages[id])
		}
	}
	if len(messages) != len(units) || counted != len(units) {
		t.Errorf("%d messages, %d documents, counted to %d: units were torn", len(messages), len(units), counted)
	}
	if result, err := s.check(t.Context()); result != "ok" || err != nil {
		t.Errorf("integrity check: %s, %v", result, err)
	}
}
