// Package operations manages messages over every store, with a relay that runs meanwhile.
package operations
