// Package files is a store over plain files.
package files
