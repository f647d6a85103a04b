package web

import (
	"fmt"
	"hash/fnv"
	"net/http"
	"time"

	"github.com/uow-go/uow/monitor/internal/domain"
)

// rulesView is the page of the rules.
type rulesView struct {
	Groups []groupView
	// Rules counts all rules, Found those that the filter asks for, Failing those
	// of all that fail.
	Rules, Found, Failing int
}

type groupView struct {
	GroupInfo
	Slot   time.Time
	Missed int64
	// Share is the last evaluation's part of the interval, in percent.
	Share int
	Rows  []ruleRow
}

type ruleRow struct {
	ruleState
	Anchor          string
	State           string
	Firing, Pending int
	Held            int
	LabelViews      []labelView
	Filter          string // for the alerts' page
}

func (s *Server) rulesPage(r *http.Request, _ time.Time) (view, error) {
	v, f := filtered(r, "Rules", "rules", `group="node", health="err", free text`)
	evaluations, err := s.config.Reader.Evaluations(r.Context())
	if err != nil {
		return v, err
	}
	alerts, err := s.activeByRule(r)
	if err != nil {
		return v, err
	}
	var data rulesView
	for _, g := range s.config.Groups() {
		ev := evaluations[g.ID]
		group := groupView{GroupInfo: g, Slot: g.lastSlot(ev), Missed: ev.Missed}
		if g.Interval > 0 {
			group.Share = int(100 * g.EvaluationTime / g.Interval)
		}
		for _, rule := range g.Rules {
			row := newRuleRow(g, rule.withStored(ev), alerts[ruleKey{g.ID, rule.UID}])
			data.Rules++
			if row.Health == HealthErr {
				data.Failing++
			}
			if row.wanted(f, g) {
				group.Rows = append(group.Rows, row)
			}
		}
		data.Found += len(group.Rows)
		if len(group.Rows) > 0 || len(g.Rules) == 0 && f.text == "" {
			data.Groups = append(data.Groups, group)
		}
	}
	v.Data = data
	return v, nil
}

func newRuleRow(g GroupInfo, r ruleState, alerts []domain.Alert) ruleRow {
	row := ruleRow{ruleState: r, Anchor: ruleAnchor(g.ID, r.RuleInfo), LabelViews: labelViews(r.Labels, "")}
	if r.Type == Alerting {
		row.State = r.state(alerts)
		row.Filter = narrowed("", "alertname", r.Name)
	}
	for _, a := range alerts {
		switch a.State {
		case domain.Firing:
			row.Firing++
		case domain.Pending:
			row.Pending++
		}
		if a.Hold != domain.HoldNone {
			row.Held++
		}
	}
	return row
}

func (r ruleRow) wanted(f filter, g GroupInfo) bool {
	return f.matches(r.Labels, map[string]string{
		"group": g.Name, "file": g.File, "health": string(r.Health), "state": r.State,
		"type": string(r.Type), "alertname": r.Name, "name": r.Name,
	}, r.Query)
}

// ruleAnchor names a rule's place on its page.
func ruleAnchor(group string, r RuleInfo) string {
	h := fnv.New64a()
	// Writing to a hash does not fail.
	_, _ = fmt.Fprintf(h, "%s\x00%s\x00%s", group, r.UID, r.Name)
	return fmt.Sprintf("rule-%016x", h.Sum64())
}
