// Package promises has the cases of alerts that get lost, delayed, repeated or
// invented by a monitoring that sends before it saves. Each has a
// number (S1 to S16, listed in docs/PROMISES.md), runs a real tocsin, and shows that
// it keeps what it promises. Nothing is asserted about durations: only about what was committed, in
// which slots, and what receivers got.
package promises
