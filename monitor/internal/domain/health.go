package domain

// next is the group's Evaluations after the slot, with no rule's health yet.
func (in Input) next() Evaluations {
	next := in.Evaluations
	next.ID, next.Slot, next.Interval = in.Group.ID, in.Slot, in.Group.Interval
	if gap := in.gap(); gap > 0 {
		next.Missed += int64(gap / in.Group.Interval)
	}
	next.Rules = make(map[string]RuleHealth, len(in.Group.Rules))
	return next
}

// health notes how the evaluation of a rule went; text is empty when well.
func (e *evaluation) health(rule Rule, text string, refused int) {
	h := RuleHealth{LastError: text, Refused: refused}
	if text != "" {
		h.ErrorSince = e.in.Slot
		if last := e.in.Evaluations.Rules[rule.UID]; last.LastError != "" {
			h.ErrorSince = last.ErrorSince
		}
	}
	e.out.Evaluations.Rules[rule.UID] = h
}

// Forget notes the numbers of an alert that is removed, so that no id is used
// twice: an alert with the same labels counts on from them.
func (v Evaluations) Forget(a Alert) Evaluations {
	v.Forgotten.Episode = max(v.Forgotten.Episode, a.Episode)
	v.Forgotten.Changes = max(v.Forgotten.Changes, a.Changes)
	return v
}
