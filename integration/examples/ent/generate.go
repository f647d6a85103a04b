// Package ent shows ent in a unit; its client is generated.
package ent

//go:generate go run entgo.io/ent/cmd/ent@v0.14.5 generate --target client ./schema
