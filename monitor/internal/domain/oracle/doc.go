// Package oracle compares the alert state machine with Prometheus' own, slot by
// slot, on random rules, series and slots. It has tests only, so that the domain
// itself needs nothing but the standard library.
package oracle
