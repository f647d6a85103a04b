// Package webhook posts each notification to a URL, in one of two formats.
//
// # Headers
//
//	Idempotency-Key    the notification's id: the same in every attempt
//	Tocsin-Attempt     the number of the attempt, from 1
//	webhook-id         the notification's id, for Standard Webhooks
//	webhook-timestamp  when the attempt began, in seconds since 1970
//	webhook-signature  v1,<base64 of HMAC-SHA256>, when there is a secret
//
// A receiver that has seen the id can answer 2xx and do nothing: an attempt is
// repeated when its answer was lost.
//
// # The format cloudevents
//
// The body is a CloudEvents 1.0 event in structured JSON: id is the
// notification's id, type is tocsin.alert. and the kind of the transition, source
// is where tocsin's page is, subject the alert's id and time the evaluation's. Its
// data is the notification:
//
//	{
//	  "id": "…",                 the same as the event's
//	  "destination": "…",        its name in the configuration
//	  "externalURL": "…",        where tocsin's page is; may be absent
//	  "late": true,              found more than one interval after its slot; absent if not
//	  "transition": {
//	    "id": "…", "alert": "…", the alert's id, '#', and number
//	    "number": 3,             counts the transitions of the alert, without gaps
//	    "episode": 1,            counts the lives of the alert
//	    "kind": "firing",        resolved, held, hold_ended, fell_back, rule_deleted
//	    "from": "pending", "to": "firing",
//	    "hold": "stale",         why the condition can't be evaluated; absent if it can
//	    "reason": "…",           in words, where the kind does not say it all
//	    "group": "…", "rule": "…", "name": "…",
//	    "slot": "…",             the evaluation's time
//	    "value": "0.5",          a string, as in Prometheus' API
//	    "labels": {…}, "annotations": {…},
//	    "activeAt": "…", "firedAt": "…", "resolvedAt": "…"
//	  }
//	}
//
// # The format alertmanager
//
// The body is what Alertmanager's webhook receiver posts, version 4, with one
// alert, so that what receives from an Alertmanager can receive from tocsin. It is
// as from an Alertmanager that groups by all labels: the group is the alert.
//
// That format knows firing and resolved only:
//
//	firing        firing
//	resolved      resolved
//	rule_deleted  resolved, and the annotation tocsin_reason says why: the
//	              condition was not found to be false
//	fell_back     resolved, with tocsin_reason: the alert is pending again. When it
//	              fires, it is told so; when it does not, nothing more is told of
//	              it, and a receiver that still had it firing would keep it for ever
//	held          nothing: a held alert goes on firing, and firing was told
//	hold_ended    nothing, for the same reason
//
// Where nothing is told, no request is made, and the ledger says so.
package webhook
