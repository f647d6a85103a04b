package promises_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/uow-go/uow/integration/internal/tocsintest"
)

func TestMain(m *testing.M) { tocsintest.Main(m) }

// scene is a tocsin with one target and one receiver.
type scene struct {
	*tocsintest.Home
	exporter *tocsintest.Exporter
	receiver *tocsintest.Receiver
}

const scrapeInterval, evaluationInterval = 250 * time.Millisecond, 500 * time.Millisecond

// newScene makes a scene with these rules, and lines for tocsin's own section.
func newScene(t *testing.T, rules string, tocsin ...string) *scene {
	t.Helper()
	t.Parallel()
	s := &scene{tocsintest.NewHome(t), tocsintest.NewExporter(t), tocsintest.NewReceiver(t)}
	s.exporter.Set("level", 0)
	s.configure(t, rules, tocsin...)
	return s
}

func (s *scene) configure(t *testing.T, rules string, tocsin ...string) {
	t.Helper()
	s.Configure(t, tocsintest.Setup{
		Scrape: scrapeInterval.String(), Evaluate: evaluationInterval.String(),
		Targets:      []string{s.exporter.Address},
		Destinations: []string{fmt.Sprintf("{name: hook, type: webhook, timeout: 1s, url: '%s'}", s.receiver.URL)},
		Tocsin:       tocsin,
		Rules:        rules,
	})
}

// told returns the kinds of what the receiver took, each notification once, in
// the order in which they came, as tocsintest.Kinds does.
func (s *scene) told(t *testing.T) string {
	t.Helper()
	seen := map[string]bool{}
	var took []tocsintest.Transition
	for _, r := range s.receiver.Requests() {
		if r.Answer.Good() && !seen[r.ID] {
			seen[r.ID] = true
			took = append(took, notification(t, r))
		}
	}
	return tocsintest.Kinds(took)
}

// notification returns the transition that a request tells of.
func notification(t *testing.T, r tocsintest.Request) tocsintest.Transition {
	t.Helper()
	var event struct {
		ID   string
		Data struct {
			ID         string
			Transition tocsintest.Transition
		}
	}
	if err := json.Unmarshal(r.Body, &event); err != nil {
		t.Fatalf("%v in %s", err, r.Body)
	}
	if event.ID != r.ID || event.Data.ID != r.ID {
		t.Errorf("the ids %q, %q and %q of a notification differ", r.ID, event.ID, event.Data.ID)
	}
	return event.Data.Transition
}

// expect ends a test: all is delivered, the receiver was told this and no more,
// and database, ledger and receiver agree.
func (s *scene) expect(t *testing.T, want string) {
	t.Helper()
	s.WaitDelivered(t)
	if got := s.told(t); got != want {
		t.Errorf("the receiver was told %q, want %q", got, want)
	}
	problems := tocsintest.Check(s.History(t), map[string][]tocsintest.Request{"hook": s.receiver.Requests()})
	if len(problems) > 0 {
		t.Errorf("problems:\n%s", strings.Join(problems, "\n"))
	}
}

// evaluated returns how long an alert was watched between two of its slots: the
// time between them without the gaps in which nobody evaluated.
func evaluated(h tocsintest.History, from, to time.Time) time.Duration {
	d := to.Sub(from)
	for _, gap := range h.Gaps {
		if !gap.From.Before(from) && !gap.To.After(to) {
			d -= gap.To.Sub(gap.From) - evaluationInterval
		}
	}
	return d
}

// still fails the test unless the transitions of High are these and no more.
func (s *scene) still(t *testing.T, kinds string) {
	t.Helper()
	if got := s.History(t).Kinds("High"); got != kinds {
		t.Fatalf("the transitions are %q, want %q", got, kinds)
	}
}
