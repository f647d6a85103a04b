// Package sqlc shows sqlc in a unit; the packages pg and lite are generated.
package sqlc

//go:generate go run github.com/sqlc-dev/sqlc/cmd/sqlc@v1.31.1 generate
