package memory

import "github.com/uow-go/uow"

// InUse counts the snapshots that transactions have.
func InUse(db *uow.DB) int {
	s := db.Store().(*store)
	s.mu.RLock()
	defer s.mu.RUnlock()
	return len(s.pins.list)
}
