package promises_test

import (
	"syscall"
	"testing"
)

// TestS5_ALabelIsAdded: the old label set's alert ends by a notification, and the
// new one begins, although the rule was edited while it fired.
func TestS5_ALabelIsAdded(t *testing.T) {
	s := newScene(t, plain)
	p := s.Start(t)
	s.exporter.Set("level", 1)
	s.WaitKinds(t, "High", "firing")
	s.configure(t, `- {alert: High, expr: level > 0, labels: {team: night}}`)
	p.Signal(t, syscall.SIGHUP)
	s.WaitKinds(t, "High", "firing resolved; firing")
	s.exporter.Set("level", 0)
	for _, transition := range s.WaitKinds(t, "High", "firing resolved; firing resolved")[2:] {
		if transition.Kind == "firing" && transition.Labels["team"] != "night" {
			t.Errorf("the new alert has the labels %v", transition.Labels)
		}
	}
	p.Stop(t)
	s.expect(t, "firing resolved; firing resolved")
}

// TestS5c_TheRuleIsDeleted: the alert ends, and its receivers are told why.
func TestS5c_TheRuleIsDeleted(t *testing.T) {
	const other = `- {alert: Other, expr: level > 5}`
	for name, test := range map[string]struct {
		rules string
		while bool
	}{
		"by a reload":       {other, true},
		"while it was down": {other, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t, plain)
			p := s.Start(t)
			s.exporter.Set("level", 1)
			s.WaitKinds(t, "High", "firing")
			if test.while {
				s.configure(t, test.rules)
				p.Signal(t, syscall.SIGHUP)
			} else {
				p.Kill()
				s.configure(t, test.rules)
				p = s.Start(t)
			}
			ended := s.WaitKinds(t, "High", "firing rule_deleted")[1]
			if ended.Reason == "" || ended.To != "inactive" {
				t.Errorf("it ended as %s with reason %q", ended.To, ended.Reason)
			}
			s.WaitDelivered(t)
			p.Stop(t)
			s.expect(t, "firing rule_deleted")
		})
	}
}

// TestS5d_TheGroupIsDeleted: as S5c, and the file has no rule of it any more.
func TestS5d_TheGroupIsDeleted(t *testing.T) {
	s := newScene(t, plain)
	p := s.Start(t)
	s.exporter.Set("level", 1)
	s.WaitKinds(t, "High", "firing")
	s.Write(t, "rules.yml", "groups:\n  - {name: another, rules: [{alert: Other, expr: level > 5}]}\n")
	p.Signal(t, syscall.SIGHUP)
	s.WaitKinds(t, "High", "firing rule_deleted")
	p.Stop(t)
	s.expect(t, "firing rule_deleted")
}

// TestS6_TheRuleFails: an evaluation that fails says nothing about the fault.
func TestS6_TheRuleFails(t *testing.T) {
	s := newScene(t, `- {alert: High, expr: 'max by (job) (level) / on (job) twin > 0'}`)
	s.exporter.Set(`twin{n="1"}`, 1)
	p := s.Start(t)
	s.exporter.Set("level", 1)
	s.WaitKinds(t, "High", "firing")
	s.exporter.Set(`twin{n="2"}`, 1) // now the right side has two partners
	held := s.WaitKinds(t, "High", "firing held")[1]
	if held.Hold != "error" || held.To != "firing" || held.Reason == "" {
		t.Errorf("held as %s because of %q: %q", held.To, held.Hold, held.Reason)
	}
	s.exporter.Remove(`twin{n="2"}`)
	s.WaitKinds(t, "High", "firing held hold_ended")
	s.exporter.Set("level", 0)
	s.WaitKinds(t, "High", "firing held hold_ended resolved")
	p.Stop(t)
	s.expect(t, "firing held hold_ended resolved")
}
