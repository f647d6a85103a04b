// Package faultproxy stands between a store and its server, knows where the
// messages of their protocol begin, and does to them what networks and dying
// machines do: the connection ends before a message, in its middle or after it;
// a message is late; it comes twice.
//
// A message that was held back reaches the server although its sender has gone
// away in the meantime, as it does in a real network: what a client has sent before
// it closed a connection is forwarded in order, and only then the end.
//
// The protocols of PostgreSQL and of MySQL are known, unencrypted.
package faultproxy
