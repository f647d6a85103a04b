package uow

import "github.com/uow-go/uow/driver"

// uniqueValue is a value of a unique index of one collection.
type uniqueValue struct {
	index int
	value driver.Value
}

// releases finds the unique values that rows of one collection give up, by an update
// or a delete, and that other rows of it take: so that values can be handed on, and
// swapped, whatever the order of the writes.
func (m *identityMap[T]) releases(changes []change) (out []driver.Release, err error) {
	desc := m.collection.desc
	taken := map[uniqueValue]string{}
	for i := range changes {
		w := &changes[i].write
		for j, v := range w.Indexes {
			if desc.Indexes[j].Unique && v != nil {
				taken[uniqueValue{j, equatable(v)}] = w.ID
			}
		}
	}
	for i := range changes {
		w := &changes[i].write
		if w.Op == driver.Insert || w.Op == driver.Delete && !m.group.related { // which go first
			continue
		}
		before, err := m.collection.stored(driver.Row{ID: w.ID, Body: changes[i].node.image.body, Indexes: changes[i].node.image.columns})
		if err != nil {
			return nil, err
		}
		for j, v := range before {
			if !desc.Indexes[j].Unique || v == nil {
				continue
			}
			if by, ok := taken[uniqueValue{j, equatable(v)}]; ok && by != w.ID {
				out = append(out, driver.Release{Collection: w.Collection, ID: w.ID, Index: j})
			}
		}
	}
	return out, nil
}

// equatable returns a value that == compares as Compare does.
func equatable(v driver.Value) driver.Value {
	switch x := v.(type) {
	case interface{ UnixMicro() int64 }:
		return x.UnixMicro()
	case []byte:
		return string(x)
	}
	return v
}
