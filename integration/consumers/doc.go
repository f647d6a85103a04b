// Package consumers lets programs work together by real brokers: one that commits events
// and relays them, and one that consumes them. Now one is killed, now the other, now both. In
// the end the outbox has each event that was to be committed once, and each has had its
// effect once, in the order of its aggregate.
//
// One process consumes at a time, so that every broker keeps the order. Where several do,
// most brokers don't promise it: docs/consumers.md says which, and the inbox sees it by the
// numbers of events.
//
// The test is bounded. These flags make it longer:
//
//	-rounds N  how often one or both are killed, for each broker (default 6)
//	-seed N    the seed of chance; 0, the default, for a new one, which is printed
package consumers
