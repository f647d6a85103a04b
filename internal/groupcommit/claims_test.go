package groupcommit

import (
	"errors"
	"testing"

	"github.com/uow-go/uow/driver"
)

func writes(list ...driver.Write) *driver.ChangeSet {
	for i := range list {
		list[i].Collection = "c"
	}
	return &driver.ChangeSet{Writes: list}
}

func checks(list ...driver.Check) *driver.ChangeSet {
	for i := range list {
		list[i].Collection = "c"
	}
	return &driver.ChangeSet{Checks: list}
}

func TestClaims(t *testing.T) {
	c := Claims{}
	for i, step := range []struct {
		cs   *driver.ChangeSet
		want bool
	}{
		{writes(driver.Write{ID: "a"}, driver.Write{ID: "b"}), true},
		{writes(driver.Write{ID: "x"}, driver.Write{ID: "b"}), false},
		{writes(driver.Write{ID: "x"}), true}, // the one before has added nothing
		{checks(driver.Check{ID: "y"}, driver.Check{ID: "a"}), false},
		{checks(driver.Check{ID: "y"}), true},
		{checks(driver.Check{ID: "y"}), true},
		{writes(driver.Write{ID: "y"}), false},
	} {
		if got := c.Add(step.cs); got != step.want {
			t.Errorf("step %d: %v, want %v", i, got, step.want)
		}
	}
}

func TestLeavings(t *testing.T) {
	l := Leavings{}
	if err := l.MissedBy(writes(driver.Write{ID: "a", Expected: 1})); err != nil {
		t.Error(err)
	}
	l.Add(writes(driver.Write{Op: driver.Update, ID: "a", Version: 5}, driver.Write{Op: driver.Delete, ID: "gone", Version: 8}), func(string) bool { return false })
	l.Add(writes(driver.Write{Op: driver.Delete, ID: "disposed", Version: 8}), func(string) bool { return true })
	for name, test := range map[string]struct {
		cs    *driver.ChangeSet
		found int64 // -1: no conflict
	}{
		"older":            {writes(driver.Write{ID: "a", Expected: 4}), 5},
		"older check":      {checks(driver.Check{ID: "a", Version: 4}), 5},
		"the same":         {writes(driver.Write{ID: "a", Expected: 5}), -1},
		"of another":       {writes(driver.Write{ID: "a", Expected: 6}), -1}, // another process has written since
		"deleted":          {writes(driver.Write{ID: "gone", Expected: 7}), 0},
		"inserted again":   {writes(driver.Write{ID: "gone"}), -1},
		"disposable":       {writes(driver.Write{ID: "disposed", Expected: 1}), -1}, // it was inserted again
		"something else":   {writes(driver.Write{ID: "z", Expected: 1}), -1},
		"the second of it": {writes(driver.Write{ID: "z", Expected: 1}, driver.Write{ID: "a", Expected: 1}), 5},
	} {
		err := l.MissedBy(test.cs)
		conflict, ok := errors.AsType[*driver.ConflictError](err)
		if ok != (test.found >= 0) || ok && conflict.Found != test.found {
			t.Errorf("%s: %v, want found %d", name, err, test.found)
		}
	}
}
