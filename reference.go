package uow

import (
	"fmt"
	"slices"
	"strings"

	"github.com/uow-go/uow/driver"
)

// Reference says that aggregates of a collection refer to others, so that a commit
// writes what is referred to before what refers to it, and deletes it after: as
// foreign keys in the database demand. It adds no foreign key by itself, and does
// not check that what is referred to exists.
type Reference[T any] struct {
	// To is the name of the collection referred to, which may be the same.
	To string
	// IDs returns the ids that an aggregate refers to; those that are empty do not
	// count. It is asked where collections refer to each other in a circle, or to
	// themselves: there a commit orders single aggregates, and refuses those that
	// refer to each other, with an ErrCycle that names them.
	IDs func(*T) []string
}

// rowKey names a row.
type rowKey struct{ collection, id string }

// String is how errors name the row.
func (k rowKey) String() string { return k.collection + "/" + k.id }

// change is one write in the making.
type change struct {
	write driver.Write
	node  *node
	group group
	// refers are the rows that an inserted aggregate refers to, or that a deleted
	// one did, where single rows have to be ordered.
	refers []rowKey
}

// group is the place of a collection in the order of references.
type group struct {
	// rank is the place of the collections that refer to each other in a circle,
	// most of which are one alone.
	rank int
	// place is the collection's own.
	place int
	// related says that the collection refers or is referred to, and cyclic that
	// it is in a circle.
	related, cyclic bool
}

// rankCollections puts the collections in an order in which those that are referred
// to come first, and that is otherwise that of the Config. names and targets have
// the collections as configured; order has their places.
func rankCollections(names []string, targets [][]string) (groups []group, order []int, err error) {
	places := make(map[string]int, len(names))
	for i, name := range names {
		places[name] = i
	}
	edges := make([][]int, len(names))
	groups = make([]group, len(names))
	for i, to := range targets {
		for _, name := range to {
			j, ok := places[name]
			if !ok {
				return nil, nil, configError("collection %s: a reference to collection %q, which is not in Config.Collections", names[i], name)
			}
			edges[i] = append(edges[i], j)
			groups[i].related, groups[j].related = true, true
			groups[i].cyclic = groups[i].cyclic || i == j
		}
	}
	for rank, circle := range components(edges) {
		slices.Sort(circle)
		for _, i := range circle {
			groups[i].rank, groups[i].place = rank, len(order)
			groups[i].cyclic = groups[i].cyclic || len(circle) > 1
			order = append(order, i)
		}
	}
	return groups, order, nil
}

// components returns the strongly connected components of a graph, each after those
// that it has edges to: Tarjan, "Depth-first search and linear graph algorithms",
// 1972.
func components(edges [][]int) [][]int {
	var out [][]int
	var stack []int
	index, low, on := make([]int, len(edges)), make([]int, len(edges)), make([]bool, len(edges))
	next := 1
	var visit func(v int)
	visit = func(v int) {
		index[v], low[v] = next, next
		next++
		stack, on[v] = append(stack, v), true
		for _, w := range edges[v] {
			switch {
			case index[w] == 0:
				visit(w)
				low[v] = min(low[v], low[w])
			case on[w]:
				low[v] = min(low[v], index[w])
			}
		}
		if low[v] != index[v] {
			return
		}
		at := slices.Index(stack, v)
		circle := slices.Clone(stack[at:])
		stack = stack[:at]
		for _, w := range circle {
			on[w] = false
		}
		out = append(out, circle)
	}
	for v := range edges {
		if index[v] == 0 {
			visit(v)
		}
	}
	return out
}

// phase is the first criterion of the order of writes: what is unrelated frees its
// unique values first, and what is related is deleted last.
func (c *change) phase() int {
	if c.write.Op == driver.Delete && c.group.related {
		return 1
	}
	return 0
}

// step is the criterion within a collection.
func (c *change) step() int {
	switch {
	case c.write.Op == driver.Delete:
		return 0
	case c.group.cyclic && c.write.Op == driver.Insert: // updates may refer to it
		return 1
	case c.write.Op == driver.Update:
		return 2
	}
	return 3
}

func compareChanges(a, b *change) int {
	if p := a.phase() - b.phase(); p != 0 {
		return p
	}
	sign := 1
	if a.phase() == 1 {
		sign = -1 // what refers goes before what it refers to
	}
	if a.group.rank != b.group.rank {
		return sign * (a.group.rank - b.group.rank)
	}
	if a.group.cyclic && a.step() != b.step() {
		return a.step() - b.step()
	}
	if a.group.place != b.group.place {
		return sign * (a.group.place - b.group.place)
	}
	if a.step() != b.step() {
		return a.step() - b.step()
	}
	return strings.Compare(a.write.ID, b.write.ID)
}

// sortChanges puts writes in the order that they must be applied in, which is the
// same in every unit but for what references demand.
func sortChanges(changes []change) error {
	if len(changes) < 2 {
		return nil
	}
	slices.SortFunc(changes, func(a, b change) int { return compareChanges(&a, &b) })
	for from := 0; from < len(changes); {
		to := from + 1
		for to < len(changes) && sameKnot(&changes[from], &changes[to]) {
			to++
		}
		if to-from > 1 && changes[from].group.cyclic && changes[from].write.Op != driver.Update {
			if err := untie(changes[from:to]); err != nil {
				return err
			}
		}
		from = to
	}
	return nil
}

// sameKnot reports whether two changes may have to be ordered row by row.
func sameKnot(a, b *change) bool {
	return a.group.rank == b.group.rank && a.write.Op == b.write.Op
}

// untie orders inserted rows so that those referred to come first, or deleted ones so
// that they come last.
func untie(changes []change) error {
	k := knot{changes: changes, places: make(map[rowKey]int, len(changes)), state: make([]byte, len(changes))}
	for i, c := range changes {
		k.places[rowKey{c.write.Collection, c.write.ID}] = i
	}
	for i := range changes {
		if err := k.visit(i); err != nil {
			return err
		}
	}
	if changes[0].write.Op == driver.Delete {
		slices.Reverse(k.out)
	}
	copy(changes, k.out)
	return nil
}

// knot is a depth-first walk over rows along their references.
type knot struct {
	changes []change
	places  map[rowKey]int
	state   []byte // 0 new, 1 on the path, 2 done
	path    []rowKey
	out     []change
}

func (k *knot) visit(i int) error {
	key := rowKey{k.changes[i].write.Collection, k.changes[i].write.ID}
	switch k.state[i] {
	case 2:
		return nil
	case 1:
		return k.cycle(key)
	}
	k.state[i] = 1
	k.path = append(k.path, key)
	for _, to := range k.changes[i].refers {
		if j, ok := k.places[to]; ok && to != key {
			if err := k.visit(j); err != nil {
				return err
			}
		}
	}
	k.path = k.path[:len(k.path)-1]
	k.state[i] = 2
	k.out = append(k.out, k.changes[i])
	return nil
}

func (k *knot) cycle(back rowKey) error {
	var b strings.Builder
	for _, key := range k.path[slices.Index(k.path, back):] {
		b.WriteString(key.String() + " → ")
	}
	return fmt.Errorf("%w: %s%v: leave one reference out, Flush, and set it then", ErrCycle, b.String(), back)
}
