// Package browser looks at a real tocsin through a real browser.
package browser
