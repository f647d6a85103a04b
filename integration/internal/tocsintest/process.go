package tocsintest

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Process is a running tocsin.
type Process struct {
	// URL is where its page is, without a slash at the end.
	URL  string
	cmd  *exec.Cmd
	out  *output
	done chan struct{} // closed when it has ended and been waited for
	err  error         // how, after done
}

// output collects what a process says, and finds the URL in it.
type output struct {
	mu    sync.Mutex
	text  bytes.Buffer
	url   chan string
	found bool
}

// maxOutput bounds what is kept of what a process says.
const maxOutput = 4 << 20

// Launch starts tocsin with these arguments and returns at once. The process is
// killed at the end of the test.
func Launch(t testing.TB, env []string, args ...string) *Process {
	t.Helper()
	p := &Process{out: &output{url: make(chan string, 1)}, done: make(chan struct{})}
	p.cmd = exec.CommandContext(t.Context(), Binary(t), args...)
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.SysProcAttr = dieWithParent()
	r, w := io.Pipe()
	p.cmd.Stdout, p.cmd.Stderr = w, w
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("tocsintest: %v", err)
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		p.out.collect(r)
	}()
	go func() {
		p.err = p.cmd.Wait()
		_ = w.Close() // of a pipe in memory
		<-read
		close(p.done)
	}()
	t.Cleanup(func() {
		p.Kill()
		if t.Failed() {
			t.Logf("the end of what tocsin (process %d) said:\n%s", p.cmd.Process.Pid, tail(p.Logs(), 6000))
		}
	})
	return p
}

// Start starts tocsin in the installation and waits until it is ready.
func (h *Home) Start(t testing.TB) *Process {
	t.Helper()
	p := h.Launch(t)
	p.WaitReady(t)
	return p
}

// Launch starts tocsin in the installation and returns at once.
func (h *Home) Launch(t testing.TB) *Process {
	t.Helper()
	args := []string{"run", "--config", h.Config(), "--db", "sqlite:" + h.Database(), "--data", h.Dir + "/data", "--listen", "127.0.0.1:0"}
	return Launch(t, h.Env, append(args, h.Args...)...)
}

// WaitReady waits until the process has told its URL and says that it is ready.
func (p *Process) WaitReady(t testing.TB) {
	t.Helper()
	timer := time.NewTimer(Wait)
	defer timer.Stop()
	select {
	case p.URL = <-p.out.url:
	case <-p.done:
		t.Fatalf("tocsin ended before it was ready: %v\n%s", p.err, tail(p.Logs(), 4000))
	case <-timer.C:
		t.Fatalf("tocsin told no URL within %v:\n%s", Wait, tail(p.Logs(), 4000))
	}
	Eventually(t, "ready", func() error {
		select {
		case <-p.done:
			t.Fatalf("tocsin ended before it was ready: %v\n%s", p.err, tail(p.Logs(), 4000))
		default:
		}
		status, body, err := fetch(p.URL + "/-/ready")
		if err == nil && status != http.StatusOK {
			err = fmt.Errorf("/-/ready answers %d: %s", status, body)
		}
		return err
	})
}

// Kill ends the process as kill -9 does, and returns when it is gone.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill() // it may have ended
	<-p.done
}

// Stop asks the process to end and waits until it has, which must go well.
func (p *Process) Stop(t testing.TB) {
	t.Helper()
	p.Signal(t, syscall.SIGTERM)
	if err := p.Exit(t); err != nil {
		t.Fatalf("tocsin did not end well: %v\n%s", err, tail(p.Logs(), 4000))
	}
}

// Signal sends the process a signal.
func (p *Process) Signal(t testing.TB, s os.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		t.Fatalf("tocsintest: %v", err)
	}
}

// Exit waits for the end of the process and returns how it ended: nil, or an
// *exec.ExitError.
func (p *Process) Exit(t testing.TB) error {
	t.Helper()
	timer := time.NewTimer(Wait)
	defer timer.Stop()
	select {
	case <-p.done:
	case <-timer.C:
		t.Fatalf("tocsin has not ended within %v:\n%s", Wait, tail(p.Logs(), 4000))
	}
	return p.err
}

// Running reports whether the process has not ended.
func (p *Process) Running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// ExitCode returns the exit code after the end, -1 after a signal.
func (p *Process) ExitCode() int {
	<-p.done
	var exit *exec.ExitError
	if errors.As(p.err, &exit) {
		return exit.ExitCode()
	}
	return 0
}

// Logs returns what the process has written to its standard output and error.
func (p *Process) Logs() string {
	p.out.mu.Lock()
	defer p.out.mu.Unlock()
	return p.out.text.String()
}

func (o *output) collect(r io.Reader) {
	address := regexp.MustCompile(`page is at (https?://\S+)`)
	reader := bufio.NewReader(r)
	for {
		line, err := reader.ReadString('\n')
		o.mu.Lock()
		if o.text.Len() < maxOutput {
			o.text.WriteString(line)
		}
		if m := address.FindStringSubmatch(line); m != nil && !o.found {
			o.found = true
			o.url <- strings.TrimSuffix(m[1], "/")
		}
		o.mu.Unlock()
		if err != nil {
			return
		}
	}
}

func tail(s string, n int) string {
	if len(s) <= n {
		return s
	}
	s = s[len(s)-n:]
	if _, rest, ok := strings.Cut(s, "\n"); ok {
		return "…\n" + rest
	}
	return s
}

// Resident returns how much memory the process has, in bytes, and 0 where the
// system does not tell.
func (p *Process) Resident(t testing.TB) int64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", p.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	var total, resident int64
	if _, err := fmt.Sscan(string(text), &total, &resident); err != nil {
		t.Fatalf("tocsintest: %v", err)
	}
	return resident * int64(os.Getpagesize())
}
