package domain

import (
	"cmp"
	"errors"
	"slices"
	"strings"
)

// The errors that a rule's result can be, besides its own.
var (
	// ErrDuplicateLabels means that two samples of a rule's result have the same
	// labels, so that one alert would have two values.
	ErrDuplicateLabels = errors.New("domain: two samples of the result have the same labels")
	// ErrNoResult means that Input.Results has none for the rule.
	ErrNoResult = errors.New("domain: no result for the rule")
)

// place says to which rule an alert of the input belongs.
type place struct {
	rule  int // index in the group, the number of rules if it is in none
	alert int // index in Input.Alerts
}

// places are all alerts, by rule and then fingerprint, so that the order of the
// output does not depend on that of Input.Alerts.
func (in Input) places() []place {
	rules := make(map[string]int, len(in.Group.Rules))
	for i, rule := range in.Group.Rules {
		rules[rule.UID] = i
	}
	places := make([]place, len(in.Alerts))
	for i := range in.Alerts {
		rule, ok := rules[in.Alerts[i].Rule]
		if !ok {
			rule = len(in.Group.Rules)
		}
		places[i] = place{rule: rule, alert: i}
	}
	slices.SortFunc(places, func(a, b place) int {
		if a.rule != b.rule {
			return cmp.Compare(a.rule, b.rule)
		}
		return in.Alerts[a.alert].compare(&in.Alerts[b.alert])
	})
	return places
}

// compare orders by ID only what is left of several deleted rules.
func (a *Alert) compare(b *Alert) int {
	if a.Fingerprint != b.Fingerprint {
		return strings.Compare(a.Fingerprint, b.Fingerprint)
	}
	return strings.Compare(a.ID, b.ID)
}

// countOf counts the places at the front that are of the rule.
func countOf(places []place, rule int) int {
	n := slices.IndexFunc(places, func(p place) bool { return p.rule != rule })
	if n < 0 {
		return len(places)
	}
	return n
}

// result is the rule's, or an error if there is none: that a condition is false
// must have been seen.
func (in Input) result(rule int) Result {
	if rule >= len(in.Results) {
		return Result{Err: ErrNoResult}
	}
	return in.Results[rule]
}

// match is a sample of a rule's result and what it meets.
type match struct {
	fingerprint uint64
	sample      *Sample
	known       bool   // an active alert has these labels
	before      *Alert // an inactive one has
}

// matches are the samples of the result by fingerprint, none met yet.
func matches(result Result) ([]match, error) {
	if result.Err != nil {
		return nil, result.Err
	}
	found := make([]match, len(result.Samples))
	for i := range result.Samples {
		s := &result.Samples[i]
		found[i] = match{fingerprint: fingerprint(s.Labels), sample: s}
	}
	slices.SortFunc(found, func(a, b match) int { return cmp.Compare(a.fingerprint, b.fingerprint) })
	for i := 1; i < len(found); i++ {
		if found[i].fingerprint == found[i-1].fingerprint {
			return nil, ErrDuplicateLabels
		}
	}
	return found, nil
}

// find returns the match with the fingerprint, or nil.
func find(found []match, fingerprint uint64) *match {
	i, ok := slices.BinarySearchFunc(found, fingerprint, func(m match, f uint64) int {
		return cmp.Compare(m.fingerprint, f)
	})
	if !ok {
		return nil
	}
	return &found[i]
}
