package tocsintest

import (
	"net"
	"net/http"
	"os"
	"os/exec"
	"testing"
)

// Skip skips a test that lacks something, saying how to enable it, and fails it
// when REQUIRE_SERVICES=1 says that nothing may be lacking.
func Skip(t testing.TB, how string) {
	t.Helper()
	if os.Getenv("REQUIRE_SERVICES") == "1" {
		t.Fatalf("REQUIRE_SERVICES=1, and %s", how)
	}
	t.Skip(how)
}

// Service is a real server that a test uses.
type Service struct {
	// Variable is the environment variable with the URL of a running one.
	Variable string
	// Standard is the URL where one usually listens.
	Standard string
	// Healthy is the path that answers 200 when it works.
	Healthy string
	// Programs are the names that an installed one may have, and Package where
	// it comes from.
	Programs []string
	Package  string
	// Args starts an own one on an address.
	Args func(address string) []string
}

// Find returns the URL of the service: of the one that the environment names, of
// the one on the standard port, or of an own one that ends with the test.
func (s Service) Find(t testing.TB) string {
	t.Helper()
	if url := os.Getenv(s.Variable); url != "" {
		if !answers(url + s.Healthy) {
			t.Fatalf("%s=%s does not answer %s", s.Variable, url, s.Healthy)
		}
		return url
	}
	if s.Standard != "" && answers(s.Standard+s.Healthy) {
		return s.Standard
	}
	return s.StartOwn(t)
}

// StartOwn starts a server of the test's own, or skips.
func (s Service) StartOwn(t testing.TB) string {
	t.Helper()
	program := Program(t, s.Package, s.Programs...)
	address := FreeAddress(t)
	cmd := exec.CommandContext(t.Context(), program, s.Args(address)...)
	cmd.Dir, cmd.SysProcAttr = t.TempDir(), dieWithParent()
	log, err := os.CreateTemp(t.TempDir(), "service-*.log")
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()         // killed, which is an error
		_ = log.Close()
		if t.Failed() {
			text, _ := os.ReadFile(log.Name()) // for the reader only
			t.Logf("the end of what %s said:\n%s", program, tail(string(text), 3000))
		}
	})
	url := "http://" + address
	Eventually(t, program+" answers", func() error {
		_, _, err := fetch(url + s.Healthy)
		return err
	})
	return url
}

// Program returns the path of an installed program, the first of these names, or
// skips.
func Program(t testing.TB, debianPackage string, names ...string) string {
	t.Helper()
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	Skip(t, names[0]+" is not installed: apt-get install "+debianPackage)
	return ""
}

// FreeAddress returns an address of the loopback interface on which nothing
// listens.
func FreeAddress(t testing.TB) string {
	t.Helper()
	var config net.ListenConfig
	listener, err := config.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	return listener.Addr().String()
}

func answers(url string) bool {
	status, _, err := fetch(url)
	return err == nil && status == http.StatusOK
}
