package bench

import "strings"

// RelayMarks lists what the relay is to reach.
func RelayMarks() []Mark {
	atLeast := func(key, peer string, least float64) Mark {
		return Mark{Key: key, Peer: peer, Text: "rate against " + peer, Least: least, Value: rate}
	}
	best := func(peer string, least float64) Mark {
		return Mark{Key: "drain postgres", Peer: peer + ", tuned", Text: "rate against the best " + peer, Least: least,
			Value: func(c *Comparison, _ int) float64 { return bestOf(c, peer) }}
	}
	marks := []Mark{
		atLeast("drain postgres", "raw, asynchronous", 0.7), best("Watermill", 20), best("River", 5),
		atLeast("drain sqlite", "raw, asynchronous, uow's headers", 0.75),
		atLeast("drain sqlite durable", "raw, atomic batches of 1,000, uow's headers", 0.7),
		atLeast("sustained", "units alone", 0.85),
		atLeast("enqueue postgres, 8", "without a message", 0.9), atLeast("enqueue sqlite, 32", "without a message", 0.9),
		atLeast("listening", "nobody listens", 0.95),
	}
	for _, p := range []struct {
		name string
		at   float64
	}{{"p50", 0.5}, {"p99", 0.99}} {
		const hand, across = "by hand, LISTEN and NOTIFY", "uow, another process relays"
		marks = append(marks,
			Mark{Key: "latency", Peer: hand, Text: p.name + " against " + hand, Most: 0.7, Value: tail(p.at)},
			Mark{Key: "latency", Peer: across, Text: p.name + " of another process against " + hand, Most: 1.5,
				Value: func(c *Comparison, across int) float64 {
					return median(c.Of(across, seconds(p.at))) / median(c.Of(c.variant(hand), seconds(p.at)))
				}})
	}
	return marks
}

// bestOf is uow's rate by that of the fastest variant of a peer.
func bestOf(c *Comparison, peer string) float64 {
	least := 0.0
	for i, r := range c.runners() {
		if strings.HasPrefix(r.Name, peer) {
			if ratio := rate(c, i); least == 0 || ratio < least {
				least = ratio
			}
		}
	}
	return least
}
