// Package migration reads the migrations that make a store's own tables.
package migration

import (
	"fmt"
	"io/fs"
)

// Step is a migration: it brings the schema to a version from the one before.
type Step struct {
	Version int
	Name    string // of the file
	SQL     string
}

// After returns the steps that lead on from a version of the schema, 0 being none. They
// are the files schema/*.sql in the order of their names.
func After(version int, files fs.FS) ([]Step, error) {
	names, err := fs.Glob(files, "schema/*.sql")
	if err != nil {
		return nil, err
	}
	if version < 0 || version > len(names) {
		return nil, fmt.Errorf("there is no version %d of the schema, but 0 to %d", version, len(names))
	}
	var steps []Step
	for i, name := range names[version:] {
		text, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, err
		}
		steps = append(steps, Step{Version: version + i + 1, Name: name, SQL: string(text)})
	}
	return steps, nil
}
