package postgres

import (
	"testing"
	"time"
)

// After a rest several go at once, and then one in each interval, however many are
// wanted.
func TestPaceOfNotifications(t *testing.T) {
	var p pace
	now, atOnce := time.Now(), 0
	for p.next(now) == 0 {
		atOnce++
	}
	if want := int(rest / every); atOnce != want {
		t.Errorf("%d may go at once after a rest, want %d", atOnce, want)
	}
	now = now.Add(every) // the one that had to wait goes
	sent, end := 0, now.Add(time.Second)
	for now.Before(end) {
		now = now.Add(max(p.next(now), 100*time.Microsecond))
		sent++
	}
	if most := int(time.Second/every) + 1; sent > most || sent < most-2 {
		t.Errorf("%d were sent in a second in which more were wanted, want one each %v", sent, every)
	}
	if wait := p.next(now.Add(10 * every)); wait != 0 {
		t.Errorf("after a pause the next one waits %v", wait)
	}
}
