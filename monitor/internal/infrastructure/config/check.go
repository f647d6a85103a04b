package config

import (
	"encoding"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/alecthomas/units"
	commonconfig "github.com/prometheus/common/config"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/discovery"
	"github.com/prometheus/prometheus/discovery/file"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/relabel"
	"go.yaml.in/yaml/v3"
)

// checker compares a YAML tree with the Go type that it is to be decoded into.
// The decoder alone would tell the line of some mistakes, and the place of those
// that the types' own methods find not at all.
type checker struct {
	file string
	errs []*Error
	seen map[visit]bool
}

type visit struct {
	node *yaml.Node
	typ  reflect.Type
}

func newChecker(file string) *checker {
	return &checker{file: file, seen: map[visit]bool{}}
}

// read checks a node and decodes it into out, a pointer. It reports whether
// there was no mistake.
func (c *checker) read(n *yaml.Node, out any, path string) bool {
	before := len(c.errs)
	c.check(n, reflect.TypeOf(out).Elem(), path)
	if len(c.errs) > before {
		return false
	}
	if err := n.Decode(out); err != nil {
		c.add(n, path, "%s", decodeProblem(err, path))
		return false
	}
	return true
}

func (c *checker) add(n *yaml.Node, path, format string, args ...any) {
	c.errs = append(c.errs, at(c.file, n, path, format, args...))
}

// check goes down to the leaves first, so that a mistake is reported at the
// deepest place that shows it.
func (c *checker) check(n *yaml.Node, t reflect.Type, path string) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	target := resolve(n)
	if c.seen[visit{target, t}] || isNull(target) {
		return
	}
	c.seen[visit{target, t}] = true
	before := len(c.errs)
	switch {
	case t == reflect.TypeFor[yaml.Node]():
	case isLeaf(t):
		c.checkLeaf(n, t, path)
	case t.Kind() == reflect.Struct:
		c.checkStruct(n, shape(t), path)
	case t.Kind() == reflect.Map:
		c.checkMap(n, t, path)
	case t.Kind() == reflect.Slice:
		c.checkList(n, t, path)
	}
	if len(c.errs) == before && !isLeaf(t) && decodesItself(t) {
		c.try(n, t, path)
	}
}

func (c *checker) checkLeaf(n *yaml.Node, t reflect.Type, path string) {
	mapping := t == reflect.TypeFor[labels.Labels]()
	if target := resolve(n); mapping != (target.Kind == yaml.MappingNode) || target.Kind == yaml.SequenceNode {
		c.add(n, path, "found %s, expected %s", found(n, path), expected(t))
		return
	}
	if mapping {
		c.checkKeys(n, path)
	}
	c.try(n, t, path)
}

// try decodes into a value that is thrown away.
func (c *checker) try(n *yaml.Node, t reflect.Type, path string) {
	err := n.Decode(reflect.New(t).Interface())
	if err == nil {
		return
	}
	if isLeaf(t) {
		problem := fmt.Sprintf("found %s, expected %s", found(n, path), expected(t))
		if !isTypeError(err) && !sensitive(path) {
			problem += ": " + decodeProblem(err, path)
		}
		c.add(n, path, "%s", problem)
		return
	}
	c.add(n, path, "%s", decodeProblem(err, path))
}

func (c *checker) checkStruct(n *yaml.Node, t reflect.Type, path string) {
	if resolve(n).Kind != yaml.MappingNode {
		c.add(n, path, "found %s, expected a mapping", found(n, path))
		return
	}
	c.checkKeys(n, path)
	fields, rest := fieldsOf(t)
	for _, e := range entries(n) {
		field, ok := fields[e.key.Value]
		switch {
		case ok:
			c.check(e.value, field, child(path, e.key.Value))
		case rest != nil:
			c.check(e.value, rest, child(path, e.key.Value))
		default:
			c.add(e.key, path, "found the unknown field %q, expected %s", shorten(e.key.Value), suggest(e.key.Value, fields))
		}
	}
}

func (c *checker) checkMap(n *yaml.Node, t reflect.Type, path string) {
	if resolve(n).Kind != yaml.MappingNode {
		c.add(n, path, "found %s, expected a mapping", found(n, path))
		return
	}
	c.checkKeys(n, path)
	for _, e := range entries(n) {
		c.check(e.value, t.Elem(), child(path, e.key.Value))
	}
}

func (c *checker) checkList(n *yaml.Node, t reflect.Type, path string) {
	if resolve(n).Kind != yaml.SequenceNode {
		c.add(n, path, "found %s, expected a list", found(n, path))
		return
	}
	for i, item := range items(n) {
		if isNull(item) && reflect.Pointer == t.Elem().Kind() {
			c.add(item, index(path, i), "found nothing, expected a mapping")
			continue
		}
		c.check(item, t.Elem(), index(path, i))
	}
}

// checkKeys finds keys that are no text and keys that occur twice.
func (c *checker) checkKeys(n *yaml.Node, path string) {
	lines := map[string]int{}
	content := resolve(n).Content
	for i := 0; i+1 < len(content); i += 2 {
		key := content[i]
		if key.Kind != yaml.ScalarNode {
			c.add(key, path, "found %s as a key, expected a text", found(key, path))
			continue
		}
		if line, ok := lines[key.Value]; ok {
			c.add(key, path, "found %q a second time, expected it once; it is in line %d too", shorten(key.Value), line)
			continue
		}
		lines[key.Value] = key.Line
	}
}

// targetGroup is what a static_configs item looks like in YAML.
type targetGroup struct {
	Targets []string          `yaml:"targets"`
	Labels  map[string]string `yaml:"labels"`
}

// shape returns the type that has the YAML fields of t.
func shape(t reflect.Type) reflect.Type {
	if t == reflect.TypeFor[targetgroup.Group]() {
		return reflect.TypeFor[targetGroup]()
	}
	return t
}

// fieldsOf returns the YAML fields of a struct, and the type of all other
// fields where it takes any.
func fieldsOf(t reflect.Type) (fields map[string]reflect.Type, rest reflect.Type) {
	fields = map[string]reflect.Type{}
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		switch {
		case f.Type == reflect.TypeFor[discovery.Configs]():
			fields["static_configs"] = reflect.TypeFor[[]*targetgroup.Group]()
			fields["file_sd_configs"] = reflect.TypeFor[[]*file.SDConfig]()
		case !f.IsExported() || name == "-":
		case options == "inline" && f.Type.Kind() == reflect.Map:
			rest = f.Type.Elem()
		case options == "inline":
			inner, innerRest := fieldsOf(f.Type)
			for k, v := range inner {
				fields[k] = v
			}
			if innerRest != nil {
				rest = innerRest
			}
		case name == "":
			fields[strings.ToLower(f.Name)] = f.Type
		default:
			fields[name] = f.Type
		}
	}
	return fields, rest
}

// unmarshaler is what the types of Prometheus implement.
type unmarshaler interface {
	UnmarshalYAML(unmarshal func(any) error) error
}

func decodesItself(t reflect.Type) bool {
	return reflect.PointerTo(t).Implements(reflect.TypeFor[unmarshaler]())
}

// isLeaf reports whether a type is not made of fields, keys or items.
func isLeaf(t reflect.Type) bool {
	switch t {
	case reflect.TypeFor[labels.Labels](), reflect.TypeFor[relabel.Regexp](), reflect.TypeFor[commonconfig.URL]():
		return true
	}
	if reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()) {
		return true
	}
	return t.Kind() != reflect.Struct && t.Kind() != reflect.Map && t.Kind() != reflect.Slice
}

// expected says in words what a value of a type looks like.
func expected(t reflect.Type) string {
	switch t {
	case reflect.TypeFor[model.Duration]():
		return `a duration such as "30s" or "5m"`
	case reflect.TypeFor[units.Base2Bytes]():
		return `a size such as "64MB"`
	case reflect.TypeFor[relabel.Regexp]():
		return "a regular expression"
	case reflect.TypeFor[commonconfig.URL]():
		return `a URL such as "http://host:port"`
	case reflect.TypeFor[labels.Labels]():
		return "a mapping of label names to values"
	case reflect.TypeFor[relabel.Action]():
		return "a relabel action such as replace, keep, drop or labelmap"
	case reflect.TypeFor[model.ValidationScheme]():
		return "utf8 or legacy"
	}
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int64, reflect.Int32:
		return "a whole number"
	case reflect.Uint, reflect.Uint64, reflect.Uint32, reflect.Uint16:
		return "a whole number that is not negative"
	case reflect.Float64:
		return "a number"
	default:
		return "a text"
	}
}

// suggest names the field that was probably meant, or all of them.
func suggest(name string, fields map[string]reflect.Type) string {
	names := make([]string, 0, len(fields))
	for field := range fields {
		names = append(names, field)
	}
	slices.Sort(names)
	for _, field := range names {
		if distance(name, field) <= 2 {
			return fmt.Sprintf("%q", field)
		}
	}
	return "one of " + strings.Join(names, ", ")
}

// distance is the number of single-letter edits between two names.
func distance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return 64
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			next := min(row[j]+1, row[j+1]+1, diagonal+cost)
			diagonal, row[j+1] = row[j+1], next
		}
	}
	return row[len(b)]
}

func isTypeError(err error) bool {
	var typeError *yaml.TypeError
	return errors.As(err, &typeError)
}

// decodeProblem makes a sentence of a decoder's error.
func decodeProblem(err error, path string) string {
	var typeError *yaml.TypeError
	if errors.As(err, &typeError) {
		if sensitive(path) {
			return "found a value of the wrong type"
		}
		return strings.Join(typeError.Errors, "; ")
	}
	return strings.TrimPrefix(err.Error(), "yaml: ")
}
