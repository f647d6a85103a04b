// Package stores is the table of the stores that tests run on: how to open a
// database of each, and what the tests must know of it that package uow does not
// tell, such as how many connections are in use.
//
// A new store is one more entry in All.
package stores
