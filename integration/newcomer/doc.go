// Package newcomer starts tocsin as somebody does who has just installed it: with
// no configuration at all.
package newcomer
