// Package relays kills and stops real processes, applications and relays that share one
// log, while units commit, and compares afterwards the database with the outbox, and the
// outbox with what was received: nothing is lost, nothing was invented, and the first
// arrivals of each key are in order. No relay finds a stream of events that is not.
//
//	-rounds N  how often TestAllDieByTurns kills or stops a process (default 200)
//	-seed N    the seed of chance
package relays
