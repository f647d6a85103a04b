package sharedread

import (
	"slices"
	"strings"

	"github.com/uow-go/uow/driver"
)

// Wants are the rows of one collection that a group wants.
type Wants[T comparable, C any] struct {
	// IDs are the rows' ids, sorted, each once.
	IDs []string

	all []want[T, C]
}

type want[T comparable, C any] struct {
	id string
	r  *Reading[T, C]
}

// Of returns what a group wants of a collection.
func Of[T comparable, C any](table T, group []*Reading[T, C]) Wants[T, C] {
	var w Wants[T, C]
	for _, r := range group {
		if r.Table != table {
			continue
		}
		r.Rows = nil
		for _, id := range r.IDs {
			w.all = append(w.all, want[T, C]{id, r})
		}
	}
	slices.SortFunc(w.all, func(a, b want[T, C]) int { return strings.Compare(a.id, b.id) })
	for i := range w.all {
		if i == 0 || w.all[i].id != w.all[i-1].id {
			w.IDs = append(w.IDs, w.all[i].id)
		}
	}
	return w
}

// Give calls add for each reading that wants a row, which belongs to it alone.
func (w Wants[T, C]) Give(id string, add func(rows *[]driver.Row) error) error {
	i, _ := slices.BinarySearchFunc(w.all, id, func(w want[T, C], id string) int { return strings.Compare(w.id, id) })
	for last := (*Reading[T, C])(nil); i < len(w.all) && w.all[i].id == id; i++ {
		if r := w.all[i].r; r != last {
			if err := add(&r.Rows); err != nil {
				return err
			}
			last = r
		}
	}
	return nil
}
