package consumers_test

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// process is one that says what it does.
type process struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
	read  chan struct{} // closed when it has said its last
	heard chan struct{} // full when it has said something

	mu   sync.Mutex
	said []string
}

func start(t *testing.T, b broker, role, database string) *process {
	t.Helper()
	p := &process{read: make(chan struct{}), heard: make(chan struct{}, 1)}
	p.cmd = exec.CommandContext(t.Context(), os.Args[0])
	p.cmd.Env = append(os.Environ(), child+"="+strings.Join([]string{role, b.kind, b.address, b.name, database}, "\n"))
	if testing.Verbose() {
		p.cmd.Stderr = os.Stderr
	}
	out, err := p.cmd.StdoutPipe()
	if err == nil {
		p.stdin, err = p.cmd.StdinPipe()
	}
	if err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.read)
		for r := bufio.NewReader(out); ; {
			line, err := r.ReadString('\n')
			if err != nil { // what is cut off was not said
				return
			}
			p.mu.Lock()
			p.said = append(p.said, strings.TrimSpace(line))
			p.mu.Unlock()
			select {
			case p.heard <- struct{}{}:
			default:
			}
		}
	}()
	return p
}

func (p *process) lines() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.said)
}

// grant lets a producer do so many more units.
func (p *process) grant(t *testing.T, units int) {
	t.Helper()
	if _, err := p.stdin.Write(make([]byte, units)); err != nil {
		t.Fatalf("the producer does not listen: %v", err)
	}
}

// until waits for what a process says.
func (p *process) until(t *testing.T, who string, enough func(said []string) bool) {
	t.Helper()
	late := time.NewTimer(2 * time.Minute)
	defer late.Stop()
	for !enough(p.lines()) {
		select {
		case <-p.heard:
		case <-p.read:
			if !enough(p.lines()) {
				t.Fatalf("%s has ended: %v", who, p.cmd.Wait())
			}
		case <-late.C:
			t.Fatalf("%s does not come to an end; it has said %d lines", who, len(p.lines()))
		}
	}
}

// end ends a process, and waits for that.
func (p *process) end(t *testing.T, by os.Signal) {
	t.Helper()
	_ = p.cmd.Process.Signal(by)
	<-p.read
	err := p.cmd.Wait()
	status, _ := p.cmd.ProcessState.Sys().(syscall.WaitStatus)
	if killed := status.Signaled(); err != nil && by != os.Kill || by == os.Kill && !killed {
		t.Errorf("a process ended by itself, with %v", err)
	}
}
