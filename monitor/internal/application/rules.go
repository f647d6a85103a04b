package application

import (
	"context"
	"time"

	"github.com/uow-go/uow"

	"github.com/uow-go/uow/monitor/internal/domain"
)

// Reconcile ends the alerts of groups that are in the rule files no longer: each
// active one gets a transition, and its destinations are told, in one unit for
// each group. Alerts of rules that vanished from a group that is still there are
// ended by the group's next evaluation.
func (e *Evaluator) Reconcile(ctx context.Context, groups []string, slot time.Time) error {
	known := make(map[string]bool, len(groups))
	for _, g := range groups {
		known[g] = true
	}
	gone, err := e.groupsGone(ctx, known)
	if err != nil {
		return err
	}
	for _, g := range gone {
		if err := e.deleteGroup(ctx, g, slot); err != nil {
			return err
		}
	}
	return nil
}

func (e *Evaluator) groupsGone(ctx context.Context, known map[string]bool) (gone []string, err error) {
	err = e.DB.Do(ctx, func(ctx context.Context, u *uow.Unit) error {
		gone = nil
		all, err := e.State.Evaluations.In(u).Find(ctx, uow.Query{})
		for _, ev := range all {
			if !known[ev.ID] {
				gone = append(gone, ev.ID)
			}
		}
		return err
	})
	return gone, err
}

func (e *Evaluator) deleteGroup(ctx context.Context, group string, slot time.Time) error {
	var transitions []domain.Transition
	err := e.DB.Do(ctx, func(ctx context.Context, u *uow.Unit) error {
		transitions = nil
		evaluations, err := e.State.Evaluations.In(u).Get(ctx, group)
		if err != nil {
			return err
		}
		alerts, err := e.State.Alerts.In(u).Find(ctx, uow.Query{Where: []uow.Condition{uow.Equal("rule_group", group)}})
		if err != nil {
			return err
		}
		for _, a := range alerts {
			switch {
			case a.State != domain.Inactive:
				ended, t := domain.Delete(*a, slot, "the rule group is not in the rule files any more")
				*a = ended
				transitions = append(transitions, t)
			case slot.Sub(a.ResolvedAt) > domain.ResolvedRetention:
				// The evaluations stay: they remember which numbers were given out,
				// should the group come back.
				*evaluations = evaluations.Forget(*a)
				if err := e.State.Alerts.In(u).Remove(a); err != nil {
					return err
				}
			}
		}
		return recordTransitions(e, u, transitions, false)
	})
	if err == nil && len(transitions) > 0 && e.Committed != nil {
		e.Committed(transitions)
	}
	return err
}
