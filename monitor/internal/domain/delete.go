package domain

import "time"

// Delete ends an active alert whose rule, or whole group, is gone. An inactive
// one is returned as it is, with an empty Transition.
func Delete(alert Alert, slot time.Time, reason string) (Alert, Transition) {
	if !alert.active() {
		return alert, Transition{}
	}
	t := end(&alert, RuleDeleted, slot, reason)
	return alert, t
}

// orphans are the alerts of rules that the group no longer has.
func (e *evaluation) orphans(places []place) {
	for _, p := range places {
		before := &e.in.Alerts[p.alert]
		if !before.active() {
			e.rest(before, nil)
			continue
		}
		a, t := Delete(*before, e.in.Slot, "the group no longer has the rule")
		e.record(t)
		e.out.Changed = append(e.out.Changed, a)
	}
}
