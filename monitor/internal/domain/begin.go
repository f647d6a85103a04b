package domain

import "time"

// newcomers begins the alerts that no active alert stands for, and returns how
// many the group's limit refused. active counts those that the rule has already.
func (e *evaluation) newcomers(rule Rule, found []match, active int) (refused int) {
	for i := range found {
		m := &found[i]
		switch {
		case m.known:
		case e.in.Group.full(active):
			refused++
			e.refuse(m)
		default:
			active++
			e.begin(rule, m)
		}
	}
	return refused
}

// begin starts an episode.
func (e *evaluation) begin(rule Rule, m *match) {
	a := e.newAlert(rule, m)
	a.Episode++
	a.Name = rule.Name
	a.Value, a.Annotations = Decimal(m.sample.Value), m.sample.Annotations
	a.State, a.ActiveAt = Pending, e.in.Slot
	a.FiredAt, a.KeepFiringSince, a.ResolvedAt = time.Time{}, time.Time{}, time.Time{}
	kind := BecamePending
	if rule.For <= 0 {
		kind = BecameFiring
		a.State, a.FiredAt = Firing, e.in.Slot
	}
	e.change(&a, kind, Inactive, "")
	e.out.Changed = append(e.out.Changed, a)
}

// newAlert is the inactive alert from which an episode starts. One that was
// removed left its numbers in Forgotten.
func (e *evaluation) newAlert(rule Rule, m *match) Alert {
	if m.before != nil {
		return *m.before
	}
	print := hex(m.fingerprint)
	forgotten := e.in.Evaluations.Forgotten
	return Alert{
		ID:          e.in.Group.ID + "|" + rule.UID + "|" + print,
		Group:       e.in.Group.ID,
		Rule:        rule.UID,
		Fingerprint: print,
		Labels:      m.sample.Labels,
		State:       Inactive,
		Episode:     forgotten.Episode,
		Changes:     forgotten.Changes,
	}
}
