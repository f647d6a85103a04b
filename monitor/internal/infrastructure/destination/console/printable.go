package console

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// printable returns s with all but letters, marks, numbers, punctuation, symbols
// and the plain space as escapes: control characters, line ends, marks that turn
// the direction of the text, invisible characters, and bytes that are no UTF-8.
func printable(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		i += n
		if strconv.IsPrint(r) && (r != utf8.RuneError || n > 1) {
			b.WriteRune(r)
			continue
		}
		quoted := strconv.Quote(s[i-n : i])
		b.WriteString(quoted[1 : len(quoted)-1])
	}
	return b.String()
}

// maxText is how many characters of one text are shown.
const maxText = 300

// shorten keeps one text from filling the screen.
func shorten(s string) string {
	if len(s) <= maxText {
		return s
	}
	count := 0
	for i := range s {
		if count == maxText {
			return s[:i] + "…"
		}
		count++
	}
	return s
}
