package relay

import (
	"fmt"
	"slices"
	"testing"

	"github.com/uow-go/uow/outbox"
)

// eventOf is the n-th event of an aggregate.
func eventOf(id string, n int64) outbox.Message {
	return outbox.Message{
		ID: fmt.Sprint(id, "-", n), Topic: "accounts", Key: "accounts/" + id, AggregateType: "accounts", AggregateID: id, Sequence: n,
	}
}

func TestStreams(t *testing.T) {
	for _, c := range []struct {
		name      string
		sequences []int64
		want      []string
	}{
		{"in order", []int64{1, 2, 3, 4}, nil},
		{"first met in its middle", []int64{41, 42}, nil},
		{"a gap", []int64{5, 7, 8}, []string{"7 after 5, 1 missing"}},
		{"a large gap", []int64{5, 1005}, []string{"1005 after 5, 999 missing"}},
		{"repeated", []int64{5, 5, 6}, []string{"5 after 5, late"}},
		{"back", []int64{5, 4, 6}, []string{"4 after 5, late"}},
		{"what was missing comes late", []int64{1, 3, 2, 4}, []string{"3 after 1, 1 missing", "2 after 3, late"}},
		{"begins again", []int64{1, 2, 1, 1, 2, 4}, []string{"4 after 2, 1 missing"}},
		{"without a sequence", []int64{3, 0, 0, 4}, nil},
		{"with a negative one", []int64{3, -1, 4}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			all := newStreams(1)
			var got []string
			for _, n := range c.sequences {
				m := eventOf("a", n)
				if last, yes := all.disordered(&m); yes {
					d := Disorder{m, last}
					if d.Late() {
						got = append(got, fmt.Sprintf("%d after %d, late", n, d.Last))
					} else {
						got = append(got, fmt.Sprintf("%d after %d, %d missing", n, d.Last, d.Missing()))
					}
				}
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("%v: got %q, want %q", c.sequences, got, c.want)
			}
		})
	}
}

func TestStreamsAreOfEventsAlone(t *testing.T) {
	all := newStreams(1)
	first := eventOf("a", 5)
	all.disordered(&first)
	for what, change := range map[string]func(m *outbox.Message){
		"another key":       func(m *outbox.Message) { m.Key = "accounts/b" },
		"no key":            func(m *outbox.Message) { m.Key = "" },
		"another topic":     func(m *outbox.Message) { m.Topic = "letters" },
		"another type":      func(m *outbox.Message) { m.AggregateType = "account" },
		"no aggregate":      func(m *outbox.Message) { m.AggregateType, m.AggregateID = "", "" },
		"another aggregate": func(m *outbox.Message) { m.AggregateID = "b" },
	} {
		m := eventOf("a", 3)
		change(&m)
		if last, yes := all.disordered(&m); yes {
			t.Errorf("a message with %s is taken for one of the stream, which is at %d", what, last)
		}
	}
	if m := eventOf("a", 6); all.pass(&m) != 5 {
		t.Error("messages that are no events have moved a stream")
	}
}

// Streams that are met again and again are remembered, whatever else is met between.
func TestStreamsForgetTheOldest(t *testing.T) {
	all := newStreams(1)
	const rounds, others = 64, maxStreams / 32
	for round := range int64(rounds) {
		m := eventOf("busy", round+1)
		if last := all.pass(&m); last != round {
			t.Fatalf("in round %d the busy stream is remembered as being at %d", round, last)
		}
		for i := range others {
			other := eventOf(fmt.Sprint(round, " ", i), 5)
			all.pass(&other)
		}
	}
	known := 0
	for back := range rounds {
		for i := range others {
			other := eventOf(fmt.Sprint(rounds-1-back, " ", i), 7)
			if last := all.pass(&other); last == 5 {
				known++
			} else if last != 0 {
				t.Fatalf("a stream that was at 5 is remembered as being at %d", last)
			}
		}
	}
	if known < maxStreams/2 || known > maxStreams {
		t.Errorf("%d streams are remembered, want some of the last %d", known, maxStreams)
	}
}

func TestStreamsOfManyPartitionsAreFew(t *testing.T) {
	for _, partitions := range []int{1, 3, 16, 100, outbox.MaxPartitions} {
		n := len(newStreams(partitions).sets) * streamsInSet
		if n < streamsInSet || n > maxStreams || n*partitions > allStreams {
			t.Errorf("each of %d partitions remembers %d streams", partitions, n)
		}
	}
}

// BenchmarkStreams passes events of so many streams in turn.
func BenchmarkStreams(b *testing.B) {
	for _, n := range []int{1, 1000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			events := make([]outbox.Message, n)
			for i := range events {
				events[i] = eventOf(fmt.Sprintf("0192f3b4-0000-7000-8000-%012d", i), 1)
			}
			all := newStreams(1)
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				m := &events[i]
				if _, yes := all.disordered(m); yes {
					b.Fatalf("%s is at %d", m.Key, m.Sequence)
				}
				m.Sequence++
				if i++; i == n {
					i = 0
				}
			}
		})
	}
}
