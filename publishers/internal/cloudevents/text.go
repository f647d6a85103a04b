package cloudevents

import "strings"

// Where headers are lines of text, values of attributes are percent-encoded, as the
// bindings for HTTP and NATS say.

// Encode percent-encodes what is not printable ASCII, and the percent sign, the space
// and the double quote.
func Encode(value string) string {
	if isPlain(value) {
		return value
	}
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(value) {
		if c := value[i]; mustEncode(c) {
			b.WriteByte('%')
			b.WriteByte(hex[c>>4])
			b.WriteByte(hex[c&15])
			continue
		}
		b.WriteByte(value[i])
	}
	return b.String()
}

// isPlain reports whether a value is encoded as it is.
func isPlain(value string) bool {
	for i := range len(value) {
		if mustEncode(value[i]) {
			return false
		}
	}
	return true
}

func mustEncode(c byte) bool { return c <= ' ' || c >= 0x7f || c == '"' || c == '%' }

// Decode undoes Encode. What is not encoded rightly stays as it is.
func Decode(value string) string {
	if !strings.Contains(value, "%") {
		return value
	}
	var b strings.Builder
	for i := 0; i < len(value); i++ {
		if value[i] == '%' && i+2 < len(value) {
			high, low := digit(value[i+1]), digit(value[i+2])
			if high >= 0 && low >= 0 {
				b.WriteByte(byte(high<<4 | low))
				i += 2
				continue
			}
		}
		b.WriteByte(value[i])
	}
	return b.String()
}

func digit(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	}
	return -1
}

// IsText reports whether a header can travel as a line of text, unchanged: its name is
// a token, and its value printable ASCII with no space at its ends.
func IsText(name, value string) bool {
	if name == "" || value != strings.Trim(value, " ") {
		return false
	}
	for i := range len(name) {
		c := name[i]
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !letter && !strings.ContainsRune("!#$%&'*+-.^_`|~", rune(c)) {
			return false
		}
	}
	for i := range len(value) {
		if value[i] < ' ' || value[i] > 0x7e {
			return false
		}
	}
	return true
}
