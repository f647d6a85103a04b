package uow

import (
	"fmt"
	"math"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/uow-go/uow/driver"
)

// CollectionConfig describes a kind of aggregate.
type CollectionConfig[T any] struct {
	// Name is the collection's name: a letter, then letters, digits and
	// underscores, at most 48, not beginning with "uow_". Required.
	Name string
	// ID returns an aggregate's id, which is never empty and never changes.
	// Default: the string field ID.
	ID func(*T) string
	// Codec encodes aggregates. Default: JSON.
	Codec Codec[T]
	// Upcasters bring documents of older versions of the aggregate's schema up to
	// date as they are loaded: the first from version 0 to 1, and so on. The version
	// of new documents is the number of upcasters, kept as their member "$schema";
	// documents without it have version 0. Documents are rewritten when their
	// aggregate changes, not before. Not with a Codec. Default: none.
	Upcasters []Upcaster
	// Table maps the collection to a table of the user's, in the place of Codec and
	// Indexes. Default: none, the store makes a table of documents.
	Table *Table[T]
	// References say which collections aggregates refer to, so that commits write
	// them in the right order. Default: none.
	References []Reference[T]
	// Indexes are the values that queries can ask for. Default: none, which
	// leaves queries by id.
	Indexes []Index[T]
	// Disposable promises that the id of a removed aggregate is never added
	// again. The store then remembers nothing of removed ones. Otherwise it
	// remembers the last version and event number of each, so that neither ever
	// goes back. Default: false.
	Disposable bool
}

// Codec encodes aggregates of one kind. It is used from many goroutines. Equal
// aggregates must have equal encodings: that is how changes are found.
type Codec[T any] interface {
	Encode(aggregate *T) ([]byte, error)
	// Decode fills the zero aggregate that it is given.
	Decode(body []byte, aggregate *T) error
}

// Index is a value of each aggregate that queries can ask for, kept in a column
// of its own.
type Index[T any] struct {
	// Name follows the rule of CollectionConfig.Name and is none of id, version,
	// sequence and body.
	Name string
	// Kind is the type of the values.
	Kind Kind
	// Value returns the value of an aggregate: nil, or a value of the kind.
	Value func(*T) any
	// Unique refuses two aggregates with the same value other than nil, by
	// ErrDuplicate.
	Unique bool
}

// Kind is the type of an index' values.
type Kind = driver.Kind

// The kinds of index values, and of columns. Strings are ordered by bytes; times
// have microseconds; false is before true. The last three are for columns of a Table,
// and queries can't compare them: []byte, the text of a number with a fixed number of
// digits, and JSON.
const (
	String = driver.String
	Int    = driver.Int
	Float  = driver.Float
	Bool   = driver.Bool
	Time   = driver.Time

	Bytes   = driver.Bytes
	Decimal = driver.Decimal
	JSON    = driver.JSON
)

// Collection is a kind of aggregate: plain structs of type T, each with an id. It
// is made once, usually as a package variable, and may be used with many
// databases and from many goroutines.
type Collection[T any] struct {
	desc   driver.Collection
	id     func(*T) string
	codec  Codec[T]
	values []func(*T) any
	table  *mapping[T] // nil for documents
	refers []Reference[T]
	unique bool    // has a unique index
	copier *copier // nil where only the encoding tells what has changed
	err    error
}

// AnyCollection is a *Collection of any type, as Config.Collections lists them.
type AnyCollection interface {
	describe() (driver.Collection, error)
	refersTo() []string
}

// Describe returns what stores are told of collections, in the order in which Open
// registers them. Packages of stores use it to write SQL for them.
func Describe(collections ...AnyCollection) ([]driver.Collection, error) {
	db := &DB{collections: make(map[string]int, len(collections))}
	if err := db.list(collections); err != nil {
		return nil, err
	}
	return db.descs, nil
}

// NewCollection returns the collection with all defaults: aggregates are stored
// as JSON under their field ID and can be found by it. A wrong name or type is
// reported by Open.
func NewCollection[T any](name string) *Collection[T] {
	return Define(CollectionConfig[T]{Name: name})
}

// Define returns the collection described. A wrong description is reported by
// Open.
func Define[T any](cfg CollectionConfig[T]) *Collection[T] {
	c := &Collection[T]{
		desc:   driver.Collection{Name: cfg.Name, Disposable: cfg.Disposable},
		copier: newCopier(reflect.TypeFor[T]()),
		id:     cfg.ID,
		codec:  cfg.Codec,
		refers: cfg.References,
	}
	c.err = c.define(cfg)
	return c
}

func (c *Collection[T]) define(cfg CollectionConfig[T]) error {
	if err := checkName("collection", cfg.Name); err != nil {
		return err
	}
	if err := conflicting(cfg); err != nil {
		return err
	}
	for _, index := range cfg.Indexes {
		c.desc.Indexes = append(c.desc.Indexes, driver.Index{Name: index.Name, Kind: index.Kind, Unique: index.Unique})
		c.values = append(c.values, index.Value)
	}
	if c.codec == nil {
		c.codec = newJSONCodec[T](cfg.Upcasters)
	}
	if cfg.Table != nil {
		if err := c.mapTable(cfg.Table); err != nil {
			return err
		}
	}
	for i, r := range cfg.References {
		if r.To == "" || r.IDs == nil {
			return configError("collection %s: References[%d] needs To and IDs", cfg.Name, i)
		}
		c.desc.SelfReferring = c.desc.SelfReferring || r.To == cfg.Name
	}
	if c.id == nil {
		id, err := fieldID[T]()
		if err != nil {
			return err
		}
		c.id = id
	}
	return c.validate()
}

// conflicting refuses settings that exclude each other.
func conflicting[T any](cfg CollectionConfig[T]) error {
	switch {
	case cfg.Table != nil && (cfg.Codec != nil || len(cfg.Indexes) > 0 || len(cfg.Upcasters) > 0):
		return configError("collection %s: a Table has no Codec, Indexes or Upcasters", cfg.Name)
	case cfg.Codec != nil && len(cfg.Upcasters) > 0:
		return configError("collection %s: Upcasters are for JSON, and a Codec is given", cfg.Name)
	case slices.ContainsFunc(cfg.Upcasters, func(u Upcaster) bool { return u == nil }):
		return configError("collection %s: one of the Upcasters is nil", cfg.Name)
	}
	return nil
}

// Name returns the collection's name.
func (c *Collection[T]) Name() string { return c.desc.Name }

func (c *Collection[T]) describe() (driver.Collection, error) { return c.desc, c.err }

func (c *Collection[T]) refersTo() (names []string) {
	for _, r := range c.refers {
		names = append(names, r.To)
	}
	return names
}

// refersAt returns the rows that an aggregate refers to.
func (c *Collection[T]) refersAt(a *T) (rows []rowKey) {
	for _, r := range c.refers {
		for _, id := range r.IDs(a) {
			if id != "" {
				rows = append(rows, rowKey{r.To, id})
			}
		}
	}
	return rows
}

func fieldID[T any]() (func(*T) string, error) {
	t := reflect.TypeFor[T]()
	if t.Kind() == reflect.Struct {
		if field, ok := t.FieldByName("ID"); ok && field.Type.Kind() == reflect.String && len(field.Index) == 1 {
			i := field.Index[0]
			return func(a *T) string { return reflect.ValueOf(a).Elem().Field(i).String() }, nil
		}
	}
	return nil, configError("type %s has no string field ID: set CollectionConfig.ID", t)
}

func (c *Collection[T]) validate() error {
	seen := map[string]bool{"id": true, "version": true, "sequence": true, "body": true}
	if t := c.desc.Table; t != nil {
		seen = map[string]bool{"id": true, strings.ToLower(t.Key): true, strings.ToLower(t.Version): true, strings.ToLower(t.Sequence): true}
	}
	for i, index := range c.desc.Indexes {
		c.unique = c.unique || index.Unique
		if err := checkName("index", index.Name); err != nil {
			return fmt.Errorf("%w (collection %s)", err, c.desc.Name)
		}
		if seen[strings.ToLower(index.Name)] {
			return configError("collection %s: index name %q is taken; case does not count", c.desc.Name, index.Name)
		}
		seen[strings.ToLower(index.Name)] = true
		if !index.Kind.Comparable() && c.table == nil {
			return configError("collection %s: index %s has no kind", c.desc.Name, index.Name)
		}
		if c.values[i] == nil {
			return configError("collection %s: index %s has no Value function", c.desc.Name, index.Name)
		}
	}
	return nil
}

func checkName(what, name string) error {
	if regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_]{0,47}$`).MatchString(name) &&
		!regexp.MustCompile(`(?i)^(uow|sqlite)_`).MatchString(name) {
		return nil
	}
	return configError("%s name %q: want a letter, then letters, digits or underscores, at most 48, not beginning with uow_ or sqlite_", what, name)
}

// indexes returns the values of an aggregate's indexes.
func (c *Collection[T]) indexes(a *T) ([]driver.Value, error) {
	if len(c.values) == 0 {
		return nil, nil
	}
	if c.table != nil {
		img, err := c.capture(a)
		return img.columns, err
	}
	out := make([]driver.Value, len(c.values))
	for i, value := range c.values {
		v, err := convert(value(a), c.desc.Indexes[i].Kind)
		if err != nil {
			return nil, fmt.Errorf("uow: %s/%s: index %s: %w", c.desc.Name, c.id(a), c.desc.Indexes[i].Name, err)
		}
		out[i] = v
	}
	return out, nil
}

// convert turns a Go value into the value that stores know for the kind, going
// through the underlying type, so that an index may return a type of the
// user's.
func convert(v any, kind Kind) (driver.Value, error) {
	if v == nil {
		return nil, nil
	}
	switch x := v.(type) { // without reflection where possible
	case string:
		if kind == String {
			return x, nil
		}
	case int64:
		if kind == Int {
			return x, nil
		}
	case time.Time:
		if kind == Time {
			return x.UTC().Truncate(time.Microsecond), nil
		}
	}
	r := reflect.ValueOf(v)
	switch {
	case r.Kind() == reflect.Pointer && r.IsNil():
		return nil, nil
	case r.Kind() == reflect.Pointer:
		return convert(r.Elem().Interface(), kind)
	case kind == String && r.Kind() == reflect.String:
		return r.String(), nil
	case kind == Int && r.CanInt():
		return r.Int(), nil
	case kind == Int && r.CanUint() && r.Uint() <= math.MaxInt64:
		return int64(r.Uint()), nil
	case kind == Float && r.CanFloat() && !math.IsNaN(r.Float()):
		return r.Float(), nil
	case kind == Float && r.CanInt():
		return float64(r.Int()), nil
	case kind == Bool && r.Kind() == reflect.Bool:
		return r.Bool(), nil
	}
	return nil, fmt.Errorf("%T is no value of kind %s", v, kindName(kind))
}

func kindName(k Kind) string {
	return map[Kind]string{
		String: "String", Int: "Int", Float: "Float", Bool: "Bool", Time: "Time",
		Bytes: "Bytes", Decimal: "Decimal", JSON: "JSON",
	}[k]
}
