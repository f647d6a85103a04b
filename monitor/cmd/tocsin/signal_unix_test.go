//go:build unix

package main

import (
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// eventually waits until the condition holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(time.Minute)
	for !holds() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("it did not come: %s", what)
		}
	}
}

// send sends this process a signal, which run has asked for.
func send(t *testing.T, s syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(os.Getpid(), s); err != nil {
		t.Fatal(err)
	}
}

func TestRunHeedsSignals(t *testing.T) {
	path := files(t, goodConfig, goodRules)
	var stdout, stderr text
	exit := make(chan int, 1)
	go func() {
		exit <- run([]string{"--config", path, "--data", t.TempDir(), "--listen", "127.0.0.1:0", "--log-format", "json"}, &stdout, &stderr)
	}()
	eventually(t, "the greeting", func() bool { return strings.Contains(stderr.String(), "the page is at http://127.0.0.1:") })
	eventually(t, "the alert", func() bool { return strings.Contains(stdout.String(), "Always") })

	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("nonsense: 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	send(t, syscall.SIGHUP)
	eventually(t, "the word of the failed reload", func() bool {
		return strings.Contains(stderr.String(), "reload failed") && strings.Contains(stderr.String(), "nonsense")
	})
	if err := os.WriteFile(path, good, 0o600); err != nil {
		t.Fatal(err)
	}
	send(t, syscall.SIGHUP)
	eventually(t, "the word of the reload", func() bool { return strings.Contains(stderr.String(), "configuration loaded") })

	send(t, syscall.SIGTERM)
	select {
	case code := <-exit:
		if code != 0 {
			t.Errorf("exit code %d: %s", code, stderr.String())
		}
	case <-time.After(time.Minute):
		t.Fatal("it does not end")
	}
	if out := stdout.String(); strings.Count(out, "\n") != 1 {
		t.Errorf("standard output has %q, want the line of the notification alone", out)
	}
}
