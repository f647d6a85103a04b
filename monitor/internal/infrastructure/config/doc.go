// Package config reads what a user writes: a prometheus.yml with its rule files,
// and tocsin's own section in it. It says of every mistake where it is, what was
// found and what was expected, and it never shows a secret.
//
// The sections of prometheus.yml that tocsin does not serve are accepted and
// named in Config.Ignored. A field that Prometheus does not know either is an
// error.
package config
