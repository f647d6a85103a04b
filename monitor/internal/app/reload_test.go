package app

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/uow-go/uow"

	"github.com/uow-go/uow/monitor/internal/application"
	"github.com/uow-go/uow/monitor/internal/domain"
)

func TestABrokenReloadKeepsTheOldConfiguration(t *testing.T) {
	t.Parallel()
	f := newFiles(t)
	opts, console, _ := options(t, f.path())
	r := start(t, opts)
	eventually(t, "the alert", func() bool { return r.alerts()["Always"].State == domain.Firing })
	f.write("rules.yml", group("test", "Broken: sum("))
	if err := r.Reload(t.Context()); err == nil || !strings.Contains(err.Error(), "rules.yml:4") {
		t.Errorf("err = %v", err)
	}
	f.write("prometheus.yml", "what: is this\n")
	if err := r.Reload(t.Context()); err == nil || !strings.Contains(err.Error(), "what") {
		t.Errorf("err = %v", err)
	}
	if err := os.Remove(f.path()); err != nil {
		t.Fatal(err)
	}
	if err := r.Reload(t.Context()); err == nil {
		t.Error("a missing file was taken")
	}
	r.anotherSlot()
	if a := r.alerts(); len(a) != 1 || a["Always"].State != domain.Firing {
		t.Errorf("alerts: %+v", a)
	}
	if out := console.String(); strings.Count(out, "\n") != 1 {
		t.Errorf("the console was told %q", out)
	}
}

func TestAReloadTakesChangedRules(t *testing.T) {
	t.Parallel()
	f := newFiles(t)
	f.rules("Stays: vector(1)", "Goes: vector(1)")
	opts, console, _ := options(t, f.path())
	r := start(t, opts)
	eventually(t, "the alerts", func() bool { return len(r.alerts()) == 2 })
	stays, goes := r.alerts()["Stays"].Tocsin.ID, r.alerts()["Goes"].Tocsin.ID
	f.rules("New: vector(1)", "Stays: vector(1) > 0")
	if err := r.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the change of the alerts", func() bool {
		a := r.alerts()
		return len(a) == 2 && a["New"].State == domain.Firing && a["Stays"].State == domain.Firing
	})
	// T4: the state follows the rule, and the one that is gone ends explicitly.
	if history := r.timeline(stays); len(history.Transitions) != 1 || history.Alert.Episode != 1 {
		t.Errorf("the rule that was moved and edited: %+v", history)
	}
	if history := r.timeline(goes); len(history.Transitions) != 2 || history.Transitions[0].Kind != domain.RuleDeleted {
		t.Errorf("the rule that was deleted: %+v", history)
	}
	eventually(t, "the notification of the end", func() bool { return strings.Contains(console.String(), "DELETED") })
	eventually(t, "the notification of the new one", func() bool { return strings.Count(console.String(), "FIRING") == 3 })
}

func TestT4_AReloadEndsTheAlertsOfADeletedGroup(t *testing.T) {
	t.Parallel()
	f := newFiles(t)
	f.write("rules2.yml", group("other", "Other: vector(1)"))
	opts, console, _ := options(t, f.path())
	r := start(t, opts)
	eventually(t, "the alerts", func() bool { return len(r.alerts()) == 2 })
	other := r.alerts()["Other"].Tocsin.ID
	if err := os.Remove(filepath.Join(f.dir, "rules2.yml")); err != nil {
		t.Fatal(err)
	}
	if err := r.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the notification of the end", func() bool { return strings.Contains(console.String(), "DELETED") })
	r.stop()

	// And across a restart it ends once.
	second := start(t, opts)
	second.anotherSlot()
	var kinds []domain.TransitionKind
	for _, tr := range second.timeline(other).Transitions {
		kinds = append(kinds, tr.Kind)
	}
	if len(kinds) != 2 || kinds[0] != domain.RuleDeleted || kinds[1] != domain.BecameFiring {
		t.Errorf("transitions: %v", kinds)
	}
	if a := second.alerts(); len(a) != 1 || a["Always"].State != domain.Firing {
		t.Errorf("alerts: %+v", a)
	}
	second.stop()
	if out := console.String(); strings.Count(out, "DELETED") != 1 {
		t.Errorf("the console was told %q", out)
	}
}

func TestADeletedGroupOfAnEarlierRunEndsAtTheStart(t *testing.T) {
	t.Parallel()
	f := newFiles(t)
	f.write("rules2.yml", group("other", "Other: vector(1)"))
	opts, console, _ := options(t, f.path())
	first := start(t, opts)
	eventually(t, "the alerts", func() bool { return len(first.alerts()) == 2 })
	first.stop()
	if err := os.Remove(filepath.Join(f.dir, "rules2.yml")); err != nil {
		t.Fatal(err)
	}
	start(t, opts)
	eventually(t, "the notification of the end", func() bool { return strings.Contains(console.String(), "DELETED") })
}

func TestARemovedDestinationIsGivenUpAtTheNextStart(t *testing.T) {
	t.Parallel()
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	defer receiver.Close()
	f := newFiles(t)
	f.config("tocsin: {destinations: [{name: hook, type: webhook, url: '" + receiver.URL + "'}]}\n")
	opts, _, log := options(t, f.path())
	first := start(t, opts)
	eventually(t, "an attempt", func() bool { return len(first.attempts()) > 0 })
	f.config("")
	if err := first.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(log.String(), "at the next start") {
		t.Errorf("nobody was told that destinations are taken at the next start:\n%s", log)
	}
	first.stop()
	second := start(t, opts)
	if !strings.Contains(log.String(), "destination=hook") || !strings.Contains(log.String(), "abandoned") {
		t.Errorf("nobody was told that notifications were given up:\n%s", log)
	}
	second.stop()
	for _, d := range stored(t, opts, func(s *application.State) *uow.Collection[domain.Delivery] { return s.Deliveries }) {
		if d.Destination == "hook" && d.State != domain.Abandoned {
			t.Errorf("delivery %+v", d)
		}
	}
}
