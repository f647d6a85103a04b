// Package endtoend runs tocsin between a real node_exporter and a real
// Alertmanager, as its users do.
package endtoend
