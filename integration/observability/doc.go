// Package observability holds docs/observability to what the OpenTelemetry
// exporter for Prometheus really shows after units and relays have run.
package observability
