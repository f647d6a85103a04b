package inbox_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/inbox"
	"github.com/uow-go/uow/integration/internal/stores"
)

// taskVariable tells this test's binary that it is a worker, and what to do: claim,
// round, store and database.
const taskVariable = "UOW_INBOX_WORKER"

// locksVariable is the directory of the files that handlers lock.
const locksVariable = "UOW_INBOX_LOCKS"

// worker is a process that handles all messages of a round, until it is killed.
type worker struct {
	cmd  *exec.Cmd
	read chan struct{} // closed when it has said its last
	said []string

	open map[string]bool // messages whose handlers ran when it was killed
	done map[string]bool // messages that it has acknowledged
}

// startWorker starts one that is killed when it has said so many lines; it ends by
// itself when it says fewer.
func startWorker(t *testing.T, s stores.Store, database, locks string, claim inbox.Claim, round, lines int) *worker {
	t.Helper()
	w := &worker{read: make(chan struct{}), open: map[string]bool{}, done: map[string]bool{}}
	w.cmd = exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestP24_KilledInTheHandler$")
	w.cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d %d %s %s", taskVariable, claim, round, s.Name, database), locksVariable+"="+locks)
	if s.Server != nil {
		w.cmd.Env = append(w.cmd.Env, "POSTGRES_URL="+local.Postgres(t))
	}
	w.cmd.Stderr = os.Stderr
	out, err := w.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := w.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(w.read)
		for r := bufio.NewReader(out); ; {
			line, err := r.ReadString('\n')
			if err != nil { // what is cut off was not said
				return
			}
			if w.said = append(w.said, strings.TrimSpace(line)); len(w.said) == lines {
				_ = w.cmd.Process.Kill()
			}
		}
	}()
	return w
}

// wait waits for the end, and notes what it has said.
func (w *worker) wait(t *testing.T) {
	t.Helper()
	<-w.read
	err := w.cmd.Wait()
	for _, line := range w.said {
		what, id, _ := strings.Cut(line, " ")
		switch what {
		case "handling":
			w.open[id] = true
		case "again":
			delete(w.open, id)
		case "done":
			delete(w.open, id)
			w.done[id] = true
		case "failed":
			t.Errorf("a process could not go on: %s", id)
		}
	}
	if err == nil {
		w.open = nil
	}
}

// work is what a worker does: four goroutines deliver all messages, each in an order of
// its own.
func work(t *testing.T, task string) {
	store, name, claim, round := parseTask(t, task)
	for _, s := range stores.All(&local) {
		if s.Name != store {
			continue
		}
		shop := openShop(t, s, claim, name)
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				for _, i := range rand.Perm(batch) {
					id := messageID(round, i)
					for !shop.handle(id) {
						fmt.Printf("again %s\n", id)
					}
					fmt.Printf("done %s\n", id) // one write
				}
			})
		}
		all.Wait()
	}
}

// handle delivers a message, and says what happens; false for another delivery.
func (s *shop) handle(id string) bool {
	_, err := s.inbox.Handle(context.Background(), inbox.Message{Source: "shop", ID: id}, func(ctx context.Context, u *uow.Unit) error {
		fmt.Printf("handling %s\n", id)
		if s.flushes {
			release, err := s.exclusive(id)
			if err != nil {
				fmt.Printf("failed %s is handled twice at once: %v\n", id, err)
				return err
			}
			defer release()
		}
		return s.sell(ctx, u, id)
	})
	if err != nil && !errors.Is(err, uow.ErrConflict) && !errors.Is(err, uow.ErrRetryable) {
		fmt.Printf("failed %s: %v\n", id, err)
	}
	return err == nil
}

// exclusive locks a file for as long as a message is being handled, and has it say so. The
// system unlocks it when the process dies, maybe a little later than the database has
// noticed: then the file still says so.
func (s *shop) exclusive(id string) (release func(), err error) {
	f, err := os.OpenFile(filepath.Join(os.Getenv(locksVariable), id), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if taken := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); taken != nil {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX)
		if info, statErr := f.Stat(); err == nil && (statErr != nil || info.Size() == 0) {
			err = errors.Join(taken, statErr) // the other one has ended alive
		}
		if err != nil {
			return nil, errors.Join(err, f.Close())
		}
	}
	if _, err := f.WriteAt([]byte("being handled"), 0); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() { _ = errors.Join(f.Truncate(0), f.Close()) }, nil
}
