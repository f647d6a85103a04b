package files

import (
	"fmt"
	"slices"
	"sync"
)

// remembered is how many units are remembered, for those whose commit was in doubt.
// They are in the last record that was written, of which many fit in.
const remembered = 2048

// units remembers which units were committed last.
type units struct {
	mu        sync.Mutex
	order     []string
	committed map[string]bool
	// forgotten is the greatest id that is remembered no more: ids grow.
	forgotten string
	// fenced units must not be committed any more.
	fenced map[string]bool
}

type unitsJSON struct {
	Forgotten text   `json:"forgotten"`
	Committed []text `json:"committed"`
}

func newUnits() *units { return &units{committed: map[string]bool{}, fenced: map[string]bool{}} }

func (u *units) add(id string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if id == "" || u.committed[id] {
		return
	}
	u.order, u.committed[id] = append(u.order, id), true
	if len(u.order) > remembered {
		u.forgotten = max(u.forgotten, u.order[0])
		delete(u.committed, u.order[0])
		u.order = u.order[1:]
	}
}

// fence refuses a unit from now on.
func (u *units) fence(id string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.fenced[id] = true
}

func (u *units) admit(id string) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.fenced[id] {
		return fmt.Errorf("files: unit %s was said not to be committed", id)
	}
	return nil
}

// resolve reports whether a unit was committed, which is decided.
func (u *units) resolve(id string) (bool, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	switch {
	case u.committed[id]:
		delete(u.fenced, id)
		return true, nil
	case id <= u.forgotten:
		return false, fmt.Errorf("%w: unit %s", ErrForgotten, id)
	}
	return false, nil
}

func (u *units) encode() ([]byte, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	out := unitsJSON{Forgotten: text(u.forgotten)}
	for _, id := range u.order {
		out.Committed = append(out.Committed, text(id))
	}
	return sealJSON(out)
}

func readUnits(d disk) (*units, error) {
	content, err := d.Read(unitsFile)
	if err != nil {
		return nil, err
	}
	var in unitsJSON
	if err := unsealJSON(unitsFile, content, &in); err != nil {
		return nil, err
	}
	u := newUnits()
	u.forgotten = string(in.Forgotten)
	for _, id := range slices.Compact(in.Committed) {
		u.add(string(id))
	}
	return u, nil
}
