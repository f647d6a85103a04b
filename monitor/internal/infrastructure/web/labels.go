package web

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// labelView is a label as a page shows it, with the filter that asks for it too.
type labelView struct {
	Name, Value string
	Filter      string
}

// IsURL reports whether the value is an address that a page may link to.
func (l labelView) IsURL() bool {
	return strings.HasPrefix(l.Value, "https://") || strings.HasPrefix(l.Value, "http://")
}

// labelViews lists labels by name, the severity first, without those that the
// page shows elsewhere.
func labelViews(labels map[string]string, filter string, without ...string) []labelView {
	names := slices.SortedFunc(maps.Keys(labels), func(a, b string) int {
		return cmp.Or(severityFirst(a)-severityFirst(b), strings.Compare(a, b))
	})
	views := make([]labelView, 0, len(names))
	for _, name := range names {
		if !slices.Contains(without, name) {
			views = append(views, labelView{name, labels[name], narrowed(filter, name, labels[name])})
		}
	}
	return views
}

func severityFirst(name string) int {
	if name == "severity" {
		return 0
	}
	return 1
}

// narrowed adds a matcher to a filter.
func narrowed(filter, name, value string) string {
	if !isLabelName(name) {
		name = strconv.Quote(name)
	}
	matcher := name + "=" + strconv.Quote(value)
	if filter == "" {
		return matcher
	}
	if strings.Contains(filter, matcher) {
		return filter
	}
	return filter + ", " + matcher
}

func isLabelName(s string) bool {
	for i, c := range s {
		letter := c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return s != ""
}
