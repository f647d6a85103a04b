// Package destination has what the senders over HTTP share: one exchange with a
// receiver, and how it is told without telling secrets. The packages beside it
// each serve one kind of destination.
package destination
