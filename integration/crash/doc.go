// Package crash kills real tocsin processes, and fills their disk, while alerts
// come and go and the receivers misbehave, and compares afterwards what was
// committed, what the ledger says and what was received.
package crash
