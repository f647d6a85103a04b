// Package model has spin check the models of relay/model, and has it find the error in
// each of their mutations. Other tests compare the names of the models with relay/doc.go
// and internal/logscan, and the table of their assumptions with the code.
package model
