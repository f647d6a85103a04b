// Package chaos does to stores what networks, dying servers and careless callers do,
// and compares each answer with what is in the database then: connections cut at each
// message, a failover in mid-load, units that touch the same rows in opposite order,
// histories checked for strict serializability, and units that end in every wrong
// way.
//
// Every test is bounded. These flags make them longer:
//
//	-seed N           the seed of chance; 0, the default, for a new one, which is printed
//	-cut.rounds N     how often TestCuts goes through all messages (default 1)
//	-failover.rounds N  how many primaries TestFailover kills (default 2)
//	-opposite D       for how long TestOppositeOrder runs; 0, the default, for a fixed
//	                  number of units
//	-histories N      how many histories TestStrictSerializability checks per store
//	                  (default 3)
package chaos
