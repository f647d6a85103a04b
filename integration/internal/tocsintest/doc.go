// Package tocsintest runs real tocsin processes for tests: an installation in a
// directory of its own (Home), the exporter that it scrapes, the receiver that it
// tells, and what it wrote into its database. Everything listens on 127.0.0.1 and
// ends with the test.
package tocsintest
