package bench

import (
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/uow-go/uow/integration/internal/servers"
)

// needNATS finds a server, or starts one for the test from an installed nats-server;
// else the test is skipped, or fails with REQUIRE_SERVICES=1.
func needNATS(t *testing.T) {
	t.Helper()
	_, err := DescribeNATS()
	if err == nil {
		return
	}
	path, missing := exec.LookPath("nats-server")
	if missing != nil {
		servers.Missing(t, "NATS server: set NATS_URL, start one with -js at 127.0.0.1:4222, or install nats-server", err)
	}
	port := freePort()
	cmd := exec.Command(path, "-a", "127.0.0.1", "-p", port, "-js", "-sd", t.TempDir())
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = cmd.Process.Kill(), cmd.Wait() })
	t.Setenv("NATS_URL", "127.0.0.1:"+port)
	for range 100 {
		if _, err = DescribeNATS(); err == nil {
			return
		}
		<-time.After(50 * time.Millisecond)
	}
	t.Fatal(err)
}

// Each variant publishes what waits, and its run checks the stream.
func TestDrainsPublishWhatWaits(t *testing.T) {
	needNATS(t)
	for _, c := range append([]*Comparison{DrainPostgres(needPostgres(t), 300)}, DrainSQLite(t.TempDir(), 300)...) {
		for _, r := range c.Runners {
			t.Run(c.Key+", "+r.Name, func(t *testing.T) {
				result, err := r.Once(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if result.Units < 3 || result.Units > 300 {
					t.Errorf("%d messages were published", result.Units)
				}
			})
		}
	}
}

func TestWrongStreamsFailTheRun(t *testing.T) {
	payload := func(n int) []byte { _, p := newParcel(n); return p }
	key := func(n int) string { k, _ := newParcel(n); return k }
	later := 1
	for key(later) != key(0) {
		later++
	}
	for name, numbers := range map[string][]int{
		"twice":        {0, 0},
		"out of order": {later, 0},
		"too many":     {later + 1},
	} {
		d := newDelivered(later+1, true)
		var err error
		for _, n := range numbers {
			if err == nil {
				err = d.add(payload(n))
			}
		}
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	unordered := newDelivered(later+1, false)
	for _, n := range []int{later, 0} {
		if err := unordered.add(payload(n)); err != nil {
			t.Errorf("where no order is promised: %v", err)
		}
	}
	if err := newDelivered(9, true).add([]byte(`{"Number":1}`)); err == nil {
		t.Error("a payload that was changed is taken")
	}
}

// A stream that lacks a message fails the run too.
func TestMissingMessageFailsTheRun(t *testing.T) {
	s, err := settings{make: makeFolder(t.TempDir()), serve: relaxed}.open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	messages := s.rawMessages(3, false)
	if err := publishAll(t.Context(), s.js, append([]*nats.Msg{messages[0]}, messages[2])); err != nil {
		t.Fatal(err)
	}
	if err := s.verify(t.Context(), 3, 2, true); err != nil {
		t.Errorf("two of three were wanted: %v", err)
	}
	if err := s.verify(t.Context(), 3, 3, true); err == nil {
		t.Error("a message that is missing is not missed")
	}
}

func TestLatenciesAreMeasured(t *testing.T) {
	needNATS(t)
	for _, r := range Latency(needPostgres(t), 200*time.Millisecond).Runners {
		t.Run(r.Name, func(t *testing.T) {
			result, err := r.Once(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if len(result.Latencies) != 20 || result.Latencies[0] <= 0 {
				t.Errorf("the latencies are %v", result.Latencies)
			}
		})
	}
}

func TestUnitsBesideARelay(t *testing.T) {
	load, dir := Load{Units: 64}, t.TempDir()
	for _, c := range []*Comparison{
		Sustained(dir, load), Enqueueing(SQLite(dir), 8, load), Enqueueing(Postgres(needPostgres(t)), 8, load), Listening(needPostgres(t), load),
	} {
		for _, r := range c.Runners {
			t.Run(c.Key+", "+r.Name, func(t *testing.T) {
				if result, err := r.Once(t.Context()); err != nil || result.Units != 64 {
					t.Errorf("%d units, want 64: %v", result.Units, err)
				}
			})
		}
	}
}

func TestWhatIsWritten(t *testing.T) {
	all, err := CountWritten(t.Context(), needPostgres(t), 300)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	ReportWritten(&out, all)
	if len(all) != 4 || all[0].WAL < 300 || all[3].Dead < 1 || !strings.Contains(out.String(), "| trim | ") {
		t.Errorf("the report is %s", out.String())
	}
}

func TestBacklog(t *testing.T) {
	needNATS(t)
	if testing.Short() {
		t.Skip("it takes some seconds: run without -short")
	}
	b, err := runBacklog(t.Context(), needPostgres(t), 2000, 200*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	b.Report(&out)
	if b.Rate <= 0 || b.Alone <= 0 || b.Beside <= 0 || b.Heap == 0 || b.LogScans != 0 {
		t.Errorf("the report is %s", out.String())
	}
}

func TestRelayMarksNameVariantsThatExist(t *testing.T) {
	var all []*Comparison
	all = append(append(all, DrainPostgres("", 1)), DrainSQLite("", 1)...)
	all = append(all, Latency("", 0), Sustained("", Load{}), Enqueueing(Postgres(""), 8, Load{}), Enqueueing(SQLite(""), 32, Load{}), Listening("", Load{}))
	for _, m := range RelayMarks() {
		found := false
		for _, c := range all {
			found = found || c.Key == m.Key && c.variant("uow") == 0 && c.variant(m.Peer) > 0
		}
		if !found {
			t.Errorf("the mark of %q: there is no variant %q", m.Key, m.Peer)
		}
	}
}
