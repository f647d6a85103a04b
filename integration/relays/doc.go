// Package relays kills and stops real processes that share the relaying of one log,
// while units commit, and compares afterwards what was committed with what was
// received: nothing is lost, and the first arrivals of each key are in order.
package relays
