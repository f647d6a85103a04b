package uow

import (
	"regexp"
	"slices"
	"testing"
	"time"
)

func TestIDIsUUIDVersion7(t *testing.T) {
	id := newID(time.UnixMilli(0x0123456789ab))
	if !regexp.MustCompile(`^01234567-89ab-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`).MatchString(id) {
		t.Errorf("got %s, want a UUID of version 7 with the time in front", id)
	}
}

func TestIDsAreDifferentAndOrderedByTime(t *testing.T) {
	var ids []string
	seen := map[string]bool{}
	for ms := range int64(1000) {
		id := newID(time.UnixMilli(1_700_000_000_000 + ms))
		if seen[id] {
			t.Fatalf("%s came twice", id)
		}
		seen[id] = true
		ids = append(ids, id)
	}
	if !slices.IsSorted(ids) {
		t.Error("later ids should sort later")
	}
	if a, b := newID(time.UnixMilli(0)), newID(time.UnixMilli(0)); a == b {
		t.Errorf("two ids of one moment are both %s", a)
	}
}
