// Package application has tocsin's use cases, one file each: evaluate a group,
// deliver a notification, keep an Alertmanager's leases, show what there is. Each
// change is one unit of work, opened here; the interfaces that a use case needs of
// the world are declared beside it.
package application
