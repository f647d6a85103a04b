package web

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/prometheus/prometheus/model/labels"
)

const (
	maxFilter = 4096
	maxTerms  = 40
)

// filter is what the line above a page's table asks for: matchers of labels, and
// words that must occur somewhere.
type filter struct {
	text     string
	matchers []*labels.Matcher
	words    []string
}

// parseFilter reads terms between commas or spaces:
//
//	alertname="x", severity=~"a|b" disk
func parseFilter(text string) (filter, error) {
	f := filter{text: strings.TrimSpace(text)}
	if len(text) > maxFilter {
		return filter{}, fmt.Errorf("it is longer than %d bytes", maxFilter)
	}
	rest := f.text
	if strings.HasPrefix(rest, "{") {
		rest = strings.TrimSuffix(strings.TrimPrefix(rest, "{"), "}")
	}
	matcher := regexp.MustCompile(`^([a-zA-Z_][a-zA-Z0-9_.]*|"(?:[^"\\]|\\.)*")\s*(=~|!~|!=|=)\s*("(?:[^"\\]|\\.)*"|[^\s,"]*)`)
	for n := 0; ; n++ {
		rest = strings.TrimLeft(rest, ", \t\r\n")
		if rest == "" {
			return f, nil
		}
		if n == maxTerms {
			return f, fmt.Errorf("it has more than %d terms", maxTerms)
		}
		var err error
		if parts := matcher.FindStringSubmatch(rest); parts != nil {
			rest = rest[len(parts[0]):]
			err = f.addMatcher(parts[1], parts[2], parts[3])
		} else {
			rest, err = f.addWord(rest)
		}
		if err != nil {
			return f, err
		}
	}
}

func (f *filter) addMatcher(name, operator, value string) error {
	name, err := unquote(name)
	if err != nil {
		return err
	}
	if value, err = unquote(value); err != nil {
		return err
	}
	kinds := map[string]labels.MatchType{
		"=": labels.MatchEqual, "!=": labels.MatchNotEqual, "=~": labels.MatchRegexp, "!~": labels.MatchNotRegexp,
	}
	m, err := labels.NewMatcher(kinds[operator], name, value)
	if err != nil {
		return fmt.Errorf("%s%s%q: %w", name, operator, shorten(value), err)
	}
	f.matchers = append(f.matchers, m)
	return nil
}

// addWord takes a word, or words in quotes, from the front.
func (f *filter) addWord(text string) (rest string, err error) {
	if strings.HasPrefix(text, `"`) {
		quoted, err := strconv.QuotedPrefix(text)
		if err != nil {
			return "", errors.New("a quotation mark has no partner")
		}
		word, err := unquote(quoted)
		f.words = append(f.words, strings.ToLower(word))
		return text[len(quoted):], err
	}
	if strings.ContainsAny(text[:1], "{}=!~") {
		return "", fmt.Errorf("%q is not where a label name or a word begins", text[:1])
	}
	end := strings.IndexAny(text, ", \t\r\n")
	if end < 0 {
		end = len(text)
	}
	f.words = append(f.words, strings.ToLower(text[:end]))
	return text[end:], nil
}

func unquote(s string) (string, error) {
	if !strings.HasPrefix(s, `"`) {
		return s, nil
	}
	out, err := strconv.Unquote(s)
	if err != nil {
		return "", fmt.Errorf("%s is not a quoted text", shorten(s))
	}
	return out, nil
}

// matches reports whether something with these labels and texts is asked for.
// extra are labels that only the filter knows, such as the state.
func (f filter) matches(of, extra map[string]string, texts ...string) bool {
	for _, m := range f.matchers {
		value, ok := of[m.Name]
		if !ok {
			value = extra[m.Name]
		}
		if !m.Matches(value) {
			return false
		}
	}
	for _, word := range f.words {
		if !occurs(word, of, texts) && !occurs(word, extra, nil) {
			return false
		}
	}
	return true
}

func occurs(word string, in map[string]string, texts []string) bool {
	for _, text := range texts {
		if strings.Contains(strings.ToLower(text), word) {
			return true
		}
	}
	for name, value := range in {
		if strings.Contains(strings.ToLower(name+"="+value), word) {
			return true
		}
	}
	return false
}
