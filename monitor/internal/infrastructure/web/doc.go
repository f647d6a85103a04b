// Package web is tocsin's HTTP side: the pages, Prometheus' query API, tocsin's
// own JSON, the metrics and the health checks. It reads and never changes
// anything.
package web
