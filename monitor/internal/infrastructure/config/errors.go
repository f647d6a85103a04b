package config

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// ErrInvalid is what every mistake in a configuration or rule file wraps.
var ErrInvalid = errors.New("invalid configuration")

// Error is one mistake in a file.
type Error struct {
	File string
	// Line and Column start at 1; 0 means that they are not known.
	Line, Column int
	// Path is where in the document it is, such as scrape_configs[0].job_name.
	// It is empty for a mistake in the syntax.
	Path string
	// Problem says what was found and what was expected.
	Problem string
}

// Error returns the position, the path and the problem in one line.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("config: " + e.File)
	if e.Line > 0 {
		b.WriteString(":" + strconv.Itoa(e.Line))
		if e.Column > 0 {
			b.WriteString(":" + strconv.Itoa(e.Column))
		}
	}
	b.WriteString(": ")
	if e.Path != "" {
		b.WriteString(e.Path + ": ")
	}
	b.WriteString(e.Problem)
	return b.String()
}

// Unwrap returns ErrInvalid.
func (e *Error) Unwrap() error { return ErrInvalid }

// join makes one error of many, in the order of the files and lines.
func join(errs []*Error) error {
	if len(errs) == 0 {
		return nil
	}
	slices.SortStableFunc(errs, func(a, b *Error) int {
		if c := strings.Compare(a.File, b.File); c != 0 {
			return c
		}
		return a.Line - b.Line
	})
	all := make([]error, len(errs))
	for i, e := range errs {
		all[i] = e
	}
	return errors.Join(all...)
}

// at makes an error for a node.
func at(file string, n *yaml.Node, path, format string, args ...any) *Error {
	e := &Error{File: file, Path: path, Problem: redact(fmt.Sprintf(format, args...))}
	if n != nil {
		e.Line, e.Column = n.Line, n.Column
	}
	return e
}

// syntaxError takes the line out of the YAML parser's message.
func syntaxError(file string, err error) *Error {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	e := &Error{File: file}
	if rest, ok := strings.CutPrefix(text, "line "); ok {
		if number, message, ok := strings.Cut(rest, ": "); ok {
			if line, err := strconv.Atoi(number); err == nil {
				e.Line, text = line, message
			}
		}
	}
	e.Problem = redact("not valid YAML: " + text)
	return e
}

// redact takes the user and password out of the addresses in a text.
func redact(text string) string {
	userinfo := regexp.MustCompile(`[^\s"'/@]+:[^\s"'/@]*@`)
	return userinfo.ReplaceAllString(text, "<secret>@")
}

// sensitive reports whether the value at a path may be a secret.
func sensitive(path string) bool {
	path = strings.ToLower(path)
	for _, word := range []string{
		"password", "secret", "token", "credential", "auth", "header", "tls_config.key", "access_key",
	} {
		if strings.Contains(path, word) {
			return true
		}
	}
	return strings.HasPrefix(path, "tocsin.destinations") && strings.HasSuffix(path, ".url")
}

// found describes a node's content without giving a secret away.
func found(n *yaml.Node, path string) string {
	n = resolve(n)
	switch {
	case n == nil || n.Kind == 0:
		return "nothing"
	case n.Kind == yaml.MappingNode:
		return "a mapping"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case isNull(n):
		return "nothing"
	case sensitive(path):
		return "<secret>"
	default:
		return strconv.Quote(shorten(n.Value))
	}
}

func shorten(text string) string {
	const most = 80
	if runes := []rune(text); len(runes) > most {
		return string(runes[:most]) + "…"
	}
	return text
}
