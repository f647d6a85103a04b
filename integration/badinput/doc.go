// Package badinput gives tocsin what it should not be given: wrong command lines
// and files, hostile targets, hostile requests.
package badinput
