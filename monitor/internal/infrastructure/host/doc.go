// Package host collects the figures of this machine, under the names that
// Prometheus' node_exporter uses, so that its rules and dashboards work. A source
// that fails or hangs is absent, and counted in tocsin_host_collector_success; it
// does not keep the others from being collected.
package host
