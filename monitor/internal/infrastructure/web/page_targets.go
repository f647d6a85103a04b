package web

import (
	"cmp"
	"net/http"
	"slices"
	"time"
)

// targetsView is the page of the targets.
type targetsView struct {
	Pools              []poolView
	Up, Down, Unknown  int
	Dropped, Known, On int
}

type poolView struct {
	Name          string
	Up, Down, All int
	Rows          []targetRow
}

type targetRow struct {
	Target
	LabelViews []labelView
	Discovered []labelView
}

func (s *Server) targetsPage(r *http.Request, _ time.Time) (view, error) {
	v, f := filtered(r, "Targets", "targets", `job="node", health="down", free text`)
	active, dropped := s.config.Targets()
	data := targetsView{Dropped: len(dropped), Known: len(active)}
	pools := map[string]*poolView{}
	var order []string
	for _, t := range active {
		t.Health = cmp.Or(t.Health, targetUnknown)
		p, ok := pools[t.ScrapePool]
		if !ok {
			p = &poolView{Name: t.ScrapePool}
			pools[t.ScrapePool] = p
			order = append(order, t.ScrapePool)
		}
		data.count(t, p)
		known := map[string]string{"health": t.Health, "pool": t.ScrapePool}
		if f.matches(t.Labels, known, t.ScrapeURL, t.LastError) && data.On < maxRows {
			data.On++
			p.Rows = append(p.Rows, targetRow{t, labelViews(t.Labels, v.Filter), labelViews(t.DiscoveredLabels, v.Filter)})
		}
	}
	slices.Sort(order)
	for _, name := range order {
		if p := pools[name]; len(p.Rows) > 0 {
			data.Pools = append(data.Pools, *p)
		}
	}
	v.Data = data
	return v, nil
}

func (d *targetsView) count(t Target, p *poolView) {
	p.All++
	switch t.Health {
	case targetUp:
		p.Up++
		d.Up++
	case targetDown:
		p.Down++
		d.Down++
	default:
		d.Unknown++
	}
}
