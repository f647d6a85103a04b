package webhook

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/uow-go/uow/monitor/internal/domain"
)

// message is the body that Alertmanager's webhook receiver posts, version 4.
type message struct {
	Version           string            `json:"version"`
	GroupKey          string            `json:"groupKey"`
	TruncatedAlerts   int               `json:"truncatedAlerts"`
	Status            string            `json:"status"`
	Receiver          string            `json:"receiver"`
	GroupLabels       map[string]string `json:"groupLabels"`
	CommonLabels      map[string]string `json:"commonLabels"`
	CommonAnnotations map[string]string `json:"commonAnnotations"`
	ExternalURL       string            `json:"externalURL"`
	Alerts            []messageAlert    `json:"alerts"`
}

// messageAlert has the time 0001-01-01T00:00:00Z as its end while it fires, as
// Alertmanager's do.
type messageAlert struct {
	Status       string            `json:"status"`
	Labels       map[string]string `json:"labels"`
	Annotations  map[string]string `json:"annotations"`
	StartsAt     time.Time         `json:"startsAt"`
	EndsAt       time.Time         `json:"endsAt"`
	GeneratorURL string            `json:"generatorURL"`
	Fingerprint  string            `json:"fingerprint"`
}

const (
	statusFiring   = "firing"
	statusResolved = "resolved"
	// reasonAnnotation says why an alert counts as resolved although its condition
	// was not found to be false.
	reasonAnnotation = "tocsin_reason"
)

// message returns ok false for what the format can't tell.
func (s *Sender) message(n domain.Notification) (m message, ok bool) {
	t := n.Transition
	annotations := make(map[string]string, len(t.Annotations)+1)
	maps.Copy(annotations, t.Annotations)
	status := statusResolved
	switch t.Kind {
	case domain.BecameFiring:
		status = statusFiring
	case domain.BecameResolved:
	case domain.RuleDeleted:
		annotations[reasonAnnotation] = because("the rule was deleted", t.Reason)
	case domain.FellBack:
		annotations[reasonAnnotation] = because("the alert is pending again", t.Reason)
	default:
		return message{}, false
	}
	alert := messageAlert{
		Status:       status,
		Labels:       t.Labels,
		Annotations:  annotations,
		StartsAt:     first(t.FiredAt, t.ActiveAt, t.Slot),
		GeneratorURL: n.ExternalURL,
		Fingerprint:  domain.Fingerprint(t.Labels),
	}
	if status == statusResolved {
		alert.EndsAt = first(t.ResolvedAt, t.Slot)
	}
	if s.cfg.GeneratorURL != nil {
		alert.GeneratorURL = s.cfg.GeneratorURL(n)
	}
	return message{
		Version:           "4",
		GroupKey:          groupKey(t.Labels),
		Status:            status,
		Receiver:          s.cfg.Name,
		GroupLabels:       t.Labels,
		CommonLabels:      t.Labels,
		CommonAnnotations: annotations,
		ExternalURL:       n.ExternalURL,
		Alerts:            []messageAlert{alert},
	}, true
}

func because(what, reason string) string {
	if reason == "" {
		return what
	}
	return what + ": " + reason
}

func first(times ...time.Time) time.Time {
	for _, t := range times {
		if !t.IsZero() {
			return t
		}
	}
	return time.Time{}
}

// groupKey is spelled as by Alertmanager for a group of the topmost route.
func groupKey(labels map[string]string) string {
	pairs := make([]string, 0, len(labels))
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		pairs = append(pairs, fmt.Sprintf("%s=%q", name, labels[name]))
	}
	return "{}:{" + strings.Join(pairs, ", ") + "}"
}
