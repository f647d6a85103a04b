// Package consumers lets programs work together by real brokers: one that commits events
// and relays them, and one that consumes them, which is killed again and again. In the end
// each event of the outbox has had its effect once, in the order of its aggregate.
//
// The test is bounded. These flags make it longer:
//
//	-rounds N  how often the consumer is killed, for each broker (default 6)
//	-seed N    the seed of chance; 0, the default, for a new one, which is printed
package consumers
