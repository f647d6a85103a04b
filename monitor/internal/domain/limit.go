package domain

import "fmt"

// full reports whether a rule with so many active alerts may have no more.
func (g Group) full(active int) bool { return g.Limit > 0 && active >= g.Limit }

// refusal is the text for the rule's health, empty when none was refused.
func (g Group) refusal(refused int) string {
	if refused == 0 {
		return ""
	}
	return fmt.Sprintf("domain: %d new alerts refused: the group's limit is %d", refused, g.Limit)
}

// refuse leaves an inactive alert, if there is one, at rest.
func (e *evaluation) refuse(m *match) {
	if m.before != nil {
		e.rest(m.before, nil)
	}
}
