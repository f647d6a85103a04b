package kafka

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/uow-go/uow/consumer"
)

// noted is a client that notes what it is told.
type noted struct{ said []string }

func (n *noted) mark(_ place, o kgo.EpochOffset) { n.said = append(n.said, fmt.Sprint(o.Offset)) }
func (n *noted) pause(place)                     { n.said = append(n.said, "pause") }
func (n *noted) resume(place)                    { n.said = append(n.said, "resume") }

func fly(a *assignment, n *noted, count, most int) (all []*consumer.Delivery) {
	for i := range count {
		all = append(all, a.delivery(&kgo.Record{Topic: "t", Offset: int64(10 * i)}, most, n))
	}
	return all
}

func TestOffsetsUpToTheFirstThatIsNotDone(t *testing.T) {
	a, n := newAssignment(), &noted{}
	all := fly(a, n, 5, 4)
	for _, i := range []int{2, 0, 1, 4, 3} {
		if err := all[i].Token.(*flight).acknowledge(4, n); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := fmt.Sprint(n.said), "[pause 1 21 resume 41]"; got != want {
		t.Errorf("the client was told %s, want %s", got, want)
	}
}

func TestNothingIsCommittedOfALostPartition(t *testing.T) {
	n := &noted{}
	s := &assignments{all: map[place]*assignment{}}
	s.onAssigned(t.Context(), nil, map[string][]int32{"t": {0}})
	a := s.find(&kgo.Record{Topic: "t"})
	all := fly(a, n, 1, 10)
	s.onLost(t.Context(), nil, map[string][]int32{"t": {0}})
	if err := all[0].Token.(*flight).acknowledge(10, n); !errors.Is(err, errLost) || len(n.said) > 0 {
		t.Errorf("it was acknowledged: %v, and the client told %v", err, n.said)
	}
	if all[0].Session.Err() == nil || s.find(&kgo.Record{Topic: "t"}) != nil {
		t.Error("it is still assigned")
	}
}

// What is being handled when a partition is revoked is waited for, for a while.
func TestRevokedPartitionDrains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, n := newAssignment(), &noted{}
		all := fly(a, n, 2, 10)
		time.AfterFunc(time.Second, func() {
			if err := all[0].Token.(*flight).acknowledge(10, n); err != nil {
				t.Error(err)
			}
			all[0].Released()
		})
		time.AfterFunc(2*time.Second, all[1].Released)
		began := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		a.drain(ctx)
		if took := time.Since(began); took != 2*time.Second || a.session.Err() == nil || fmt.Sprint(n.said) != "[1]" {
			t.Errorf("it took %v, and the client was told %v", took, n.said)
		}
		stuck := newAssignment()
		fly(stuck, n, 1, 10)
		began = time.Now()
		stuck.drain(ctx)
		if took := time.Since(began); took != 58*time.Second {
			t.Errorf("it waited %v for what does not end", took)
		}
	})
}
