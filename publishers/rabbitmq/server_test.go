package rabbitmq_test

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// The tests use the broker of RABBITMQ_URL; else one at 127.0.0.1:5672; else one that they
// start from an installed RabbitMQ. Where there is none they are skipped, or fail with
// REQUIRE_SERVICES=1.
func brokerURL(t testing.TB) *url.URL {
	t.Helper()
	found, err := findBroker()
	if err != nil {
		const how = "no RabbitMQ: set RABBITMQ_URL, start one at 127.0.0.1:5672, or install it (%v)"
		if os.Getenv("REQUIRE_SERVICES") == "1" {
			t.Fatalf(how, err)
		}
		t.Skipf(how, err)
	}
	u, err := url.Parse(found)
	if err != nil {
		t.Fatal("RABBITMQ_URL is no URL")
	}
	return u
}

var (
	findBroker = sync.OnceValues(lookForBroker)
	stopBroker = func() {}
)

func TestMain(m *testing.M) {
	code := m.Run()
	stopBroker()
	os.Exit(code)
}

func lookForBroker() (string, error) {
	at := cmp.Or(os.Getenv("RABBITMQ_URL"), "amqp://guest:guest@127.0.0.1:5672/")
	if reachable(at) == nil {
		return at, nil
	}
	return startBroker()
}

func reachable(at string) error {
	c, err := amqp.Dial(at)
	if err != nil {
		return err
	}
	return c.Close()
}

// startBroker starts a node in a directory of its own, as whoever runs the tests: the
// script in the path may become somebody else.
func startBroker() (string, error) {
	path := "/usr/lib/rabbitmq/bin/rabbitmq-server"
	if _, err := os.Stat(path); err != nil {
		if path, err = exec.LookPath("rabbitmq-server"); err != nil {
			return "", err
		}
	}
	dir, err := os.MkdirTemp("", "uow-rabbitmq-")
	if err != nil {
		return "", err
	}
	ports, err := freePorts(2)
	if err != nil {
		return "", err
	}
	cmd := exec.Command(path)
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // the node is a child of the script
	cmd.Env = append(os.Environ(),
		"HOME="+dir, "RABBITMQ_NODENAME=uow-"+filepath.Base(dir)+"@localhost", "RABBITMQ_NODE_IP_ADDRESS=127.0.0.1",
		"RABBITMQ_NODE_PORT="+ports[0], "RABBITMQ_DIST_PORT="+ports[1], "RABBITMQ_MNESIA_BASE="+dir, "RABBITMQ_LOG_BASE="+dir,
		"RABBITMQ_CONFIG_FILE="+filepath.Join(dir, "none"), "RABBITMQ_CONF_ENV_FILE="+filepath.Join(dir, "none-env"),
		"RABBITMQ_ENABLED_PLUGINS_FILE="+filepath.Join(dir, "plugins"))
	if err := cmd.Start(); err != nil {
		return "", err
	}
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }()
	stopBroker = func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		<-exited
		_ = os.RemoveAll(dir)
	}
	at := "amqp://guest:guest@127.0.0.1:" + ports[0] + "/"
	for began := time.Now(); time.Since(began) < 5*time.Minute; {
		if reachable(at) == nil {
			return at, nil
		}
		select {
		case err := <-exited:
			exited <- err
			return "", fmt.Errorf("rabbitmq-server: %w", err)
		case <-time.After(200 * time.Millisecond):
		}
	}
	return "", errors.New("the broker that was started does not answer")
}

func freePorts(n int) (ports []string, err error) {
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close()
		ports = append(ports, strconv.Itoa(l.Addr().(*net.TCPAddr).Port))
	}
	return ports, nil
}
