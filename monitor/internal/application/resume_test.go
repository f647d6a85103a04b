package application_test

import (
	"testing"
	"testing/synctest"
	"time"
)

// A reload runs the groups anew, and leaves no gap behind.
func TestARunGoesOnAfterTheLastCommittedSlot(t *testing.T) {
	for name, c := range map[string]struct {
		last int // seconds
		want []string
	}{
		"the slot that was cut off": {20, []string{"30@33", "40@40"}},
		"nothing was missed":        {30, []string{"40@40"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSchedule()
				s.Committed = func(string) (time.Time, bool) { return s.start.Add(time.Duration(c.last) * time.Second), true }
				time.Sleep(33 * time.Second)
				s.run(t, 10*time.Second)
				s.want(t, c.want...)
			})
		})
	}
}

func TestARunSkipsToThePresentWhenTheLastCommittedSlotIsLongAgo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSchedule()
		s.Committed = func(string) (time.Time, bool) { return s.start, true }
		time.Sleep(time.Hour)
		s.run(t, 15*time.Second)
		s.want(t, "3610@3610")
	})
}
