package uowtest

import (
	"context"
	"slices"
	"strings"

	"github.com/uow-go/uow/driver"
)

// Faults of what an inbox keeps, each named after what the store does wrong.

// loses drops writes of an inbox' records, however they come.
func loses(which func(w driver.Write) bool) fault {
	without := func(cs *driver.ChangeSet) *driver.ChangeSet {
		rest := *cs
		rest.Writes = slices.DeleteFunc(slices.Clone(cs.Writes), func(w driver.Write) bool {
			return w.Collection == "inbox_records" && which(w)
		})
		return &rest
	}
	return fault{
		flush: func(t *brokenTx, ctx context.Context, cs *driver.ChangeSet) error {
			return t.Tx.Flush(ctx, without(cs))
		},
		commit: func(t *brokenTx, ctx context.Context, cs *driver.ChangeSet) error {
			return t.commit(ctx, without(cs))
		},
	}
}

func losesMarks() fault {
	return loses(func(w driver.Write) bool { return strings.Contains(w.ID, "/m/") })
}

func losesStreams() fault {
	return loses(func(w driver.Write) bool { return strings.Contains(w.ID, "/s/") })
}

func keepsMarks() fault {
	return loses(func(w driver.Write) bool { return w.Op == driver.Delete })
}

// forgetsHowFar keeps no record of what was forgotten.
func forgetsHowFar() fault {
	return loses(func(w driver.Write) bool { return !strings.Contains(w.ID, "/") })
}
