// Package domain is the alerting core of tocsin: rules, alerts and the state
// machine that takes alerts from one evaluation to the next. It does no input or
// output, keeps no state and reads no clock: Evaluate is a function of the
// previous state, the result of the queries and the slot.
//
// The states and their rules are Prometheus'. Where tocsin differs, it is to keep
// its promises; the differences are listed at Evaluate.
package domain
