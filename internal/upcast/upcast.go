// Package upcast brings JSON documents from the version of their schema in which they were
// written to today's: those of aggregates, and those of events.
package upcast

import (
	"encoding/json"
	"fmt"
)

// Document changes doc in place from a version to the one that the chain leads to, whose
// n-th member brings a document from version n to the next. The version is not above that.
func Document[U ~func(doc map[string]json.RawMessage) error](doc map[string]json.RawMessage, version int, chain []U) error {
	for ; version < len(chain); version++ {
		if err := chain[version](doc); err != nil {
			return fmt.Errorf("from version %d to %d: %w", version, version+1, err)
		}
	}
	return nil
}
