package badinput_test

import (
	"net/url"
	"testing"

	"github.com/uow-go/uow/integration/internal/tocsintest"
)

// TestHostileTargets: what one target answers, or does not, concerns nobody else.
func TestHostileTargets(t *testing.T) {
	home := tocsintest.NewHome(t)
	good := tocsintest.NewExporter(t)
	good.Set("level", 0)
	setup := tocsintest.Setup{Targets: []string{good.Address}, Rules: `
		- {alert: High, expr: level > 0}
		- {alert: Down, expr: up == 0}
	`}
	hostile := []tocsintest.Behaviour{
		tocsintest.Garbage, tocsintest.Endless, tocsintest.Bomb, tocsintest.Duplicates, tocsintest.Hanging, tocsintest.Failing,
	}
	for _, behaviour := range hostile {
		e := tocsintest.NewExporter(t)
		e.Behave(behaviour)
		setup.Targets = append(setup.Targets, e.Address)
	}
	home.Configure(t, setup)
	p := home.Start(t)
	want := ""
	for range 3 {
		good.Set("level", 1)
		want += "firing"
		home.WaitKinds(t, "High", want)
		good.Set("level", 0)
		want += " resolved"
		home.WaitKinds(t, "High", want)
		want += " "
	}
	// The samples of duplicates are ambiguous, not the target down.
	if down := len(home.History(t).Of("Down")); down < len(hostile)-1 {
		t.Errorf("%d of %d targets are reported to be down", down, len(hostile))
	}
	memory(t, p)
	p.Stop(t)
}

// memory fails the test when what the targets sent was kept.
func memory(t *testing.T, p *tocsintest.Process) {
	t.Helper()
	type result struct {
		Result []struct {
			Metric map[string]string
		}
	}
	if rss := p.Resident(t); rss > 1<<30 {
		t.Errorf("tocsin has grown to %d MB", rss>>20)
	}
	got, err := tocsintest.GetData[result](p, "/api/v1/query?query="+url.QueryEscape(`{__name__=~"endless|duplicate"}`))
	if err != nil {
		t.Fatal(err)
	}
	if n := len(got.Result); n > 1 { // one of the duplicates may be kept
		t.Errorf("%d series of the hostile targets were kept", n)
	}
}
