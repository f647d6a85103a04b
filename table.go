package uow

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"

	"github.com/uow-go/uow/driver"
)

// Table maps a collection to a table of the user's, with its own columns, which is
// neither created nor changed:
//
//	uow.Define(uow.CollectionConfig[Customer]{
//		Name: "customers",
//		Table: &uow.Table[Customer]{
//			Name: "crm.customer", Key: "customer_no", Version: "lock_version",
//			Columns: []uow.Column[Customer]{
//				{Name: "name", Field: func(c *Customer) any { return &c.Name }},
//				{Name: "born", Field: func(c *Customer) any { return &c.Born }},
//				{Name: "address", Kind: uow.JSON, Field: func(c *Customer) any { return &c.Address }},
//			},
//		},
//	})
//
// Columns that are not named are left alone, and get the table's defaults in new
// rows. Everything else is as in other collections; queries can ask for all columns
// whose kinds can be compared.
type Table[T any] struct {
	// Name is the table's name, with its schema before a dot where it has one.
	// Default: the collection's name.
	Name string
	// Key is the column of the id: the primary key, or another that is unique and
	// not null, of any type that has a text. Required.
	Key string
	// ID returns a pointer to the field of the id: a string, an integer, or a type
	// that implements encoding.TextMarshaler and TextUnmarshaler. An integer that is
	// 0 counts as an empty id: the database does not give ids. Default: the field ID.
	ID func(*T) any
	// Version is an integer column, not null, which each change raises by one.
	// Programs that write the table by themselves must do so too. Required.
	Version string
	// FirstVersion is what Version has in new rows. Default: 0, as many frameworks
	// have it.
	FirstVersion int64
	// Sequence is a bigint column, not null, that counts the events an aggregate has
	// recorded. Default: none; the store keeps that count in a table of its own.
	Sequence string
	// Columns are the other columns. Required.
	Columns []Column[T]
}

// Column maps a column to a field.
type Column[T any] struct {
	// Name is the column's name, of letters, digits and underscores.
	Name string
	// Field returns a pointer to the field. A pointer field is nil for NULL; a field
	// that can't be nil refuses NULL. Besides the types of the kinds, fields may be
	// named types of them (enums), and types that implement sql.Scanner and
	// driver.Valuer of database/sql, such as sql.Null and decimals.
	Field func(*T) any
	// Kind is the kind of the column. Default: that of the field, which for structs,
	// maps and slices is JSON, and for []byte Bytes. Types with a Scanner need it.
	Kind Kind
	// Unique says that the table refuses two rows with the same value, so that this
	// is reported as ErrDuplicate with the column's name.
	Unique bool
}

// image is an aggregate as it is stored.
type image struct {
	body    []byte
	columns []driver.Value // in a collection with a Table
}

func (a image) equal(b image) bool {
	return bytes.Equal(a.body, b.body) && slices.EqualFunc(a.columns, b.columns, sameValue)
}

func sameValue(a, b driver.Value) bool {
	x, isBytes := a.([]byte)
	if y, ok := b.([]byte); ok && isBytes {
		return bytes.Equal(x, y)
	}
	if a == nil || b == nil || isBytes {
		return a == nil && b == nil
	}
	return driver.Compare(a, b) == 0
}

// capture encodes an aggregate.
func (c *Collection[T]) capture(a *T) (img image, err error) {
	if c.table == nil {
		img.body, err = c.codec.Encode(a)
	} else {
		img.columns, err = c.table.values(a)
	}
	if err != nil {
		return img, c.encodeError(a, err)
	}
	return img, nil
}

func (c *Collection[T]) encodeError(a *T, err error) error {
	return fmt.Errorf("uow: %s/%s: encode: %w", c.desc.Name, c.id(a), err)
}

// restore decodes an aggregate.
func (c *Collection[T]) restore(id string, img image) (*T, error) {
	a := new(T)
	return a, c.restoreTo(a, id, img)
}

// restoreTo decodes an aggregate into its zero value.
func (c *Collection[T]) restoreTo(a *T, id string, img image) error {
	var err error
	if c.table == nil {
		err = c.codec.Decode(img.body, a)
	} else {
		err = c.table.assign(a, id, img.columns)
	}
	if err != nil {
		return fmt.Errorf("uow: %s/%s: decode: %w", c.desc.Name, id, err)
	}
	return nil
}

// stored returns the values of the indexes of a row as it is stored.
func (c *Collection[T]) stored(row driver.Row) ([]driver.Value, error) {
	if c.table != nil || len(c.values) == 0 {
		return row.Indexes, nil
	}
	a, err := c.restore(row.ID, image{body: row.Body})
	if err != nil {
		return nil, err
	}
	return c.indexes(a)
}

// mapping is a Table whose description is complete.
type mapping[T any] struct {
	id      func(*T) any
	columns []Column[T]
}

// mapTable completes the description of a table.
func (c *Collection[T]) mapTable(t *Table[T]) error {
	m := &mapping[T]{id: t.ID, columns: slices.Clone(t.Columns)}
	if m.id == nil {
		field, ok := reflect.TypeFor[T]().FieldByName("ID")
		if !ok || len(field.Index) != 1 {
			return configError("collection %s: type %s has no field ID: set Table.ID", c.desc.Name, reflect.TypeFor[T]())
		}
		m.id = func(a *T) any { return reflect.ValueOf(a).Elem().FieldByIndex(field.Index).Addr().Interface() }
	}
	if _, err := formatID(m.id(new(T))); err != nil {
		return configError("collection %s: Table.ID: %v", c.desc.Name, err)
	}
	if c.id == nil {
		c.id = func(a *T) string {
			id, _ := formatID(m.id(a)) // an id that has no text is refused as empty
			return id
		}
	}
	name := t.Name
	if name == "" {
		name = c.desc.Name
	}
	if t.Key == "" || t.Version == "" || len(t.Columns) == 0 {
		return configError("collection %s: a Table needs Key, Version and Columns", c.desc.Name)
	}
	c.desc.Table = &driver.Table{Name: name, Key: t.Key, Version: t.Version, FirstVersion: t.FirstVersion, Sequence: t.Sequence}
	for i := range m.columns {
		column := &m.columns[i]
		if err := column.complete(); err != nil {
			return configError("collection %s: column %s: %v", c.desc.Name, column.Name, err)
		}
		c.desc.Indexes = append(c.desc.Indexes, driver.Index{Name: column.Name, Kind: column.Kind, Unique: column.Unique})
		c.values = append(c.values, func(a *T) any { return column.Field(a) })
	}
	c.table = m
	return nil
}

// complete finds out the column's kind.
func (c *Column[T]) complete() error {
	if c.Field == nil {
		return fmt.Errorf("it has no Field function")
	}
	pointer := reflect.TypeOf(c.Field(new(T)))
	if pointer == nil || pointer.Kind() != reflect.Pointer {
		return fmt.Errorf("what Field returns is %v, want a pointer to the field", pointer)
	}
	if c.Kind == 0 {
		c.Kind = kindOf(pointer.Elem())
	}
	if c.Kind < String || c.Kind > JSON {
		return fmt.Errorf("the kind of type %v is not known: set Kind", pointer.Elem())
	}
	return nil
}

func (m *mapping[T]) values(a *T) ([]driver.Value, error) {
	out := make([]driver.Value, len(m.columns))
	for i := range m.columns {
		v, err := fieldValue(m.columns[i].Field(a), m.columns[i].Kind)
		if err != nil {
			return nil, fmt.Errorf("column %s: %w", m.columns[i].Name, err)
		}
		out[i] = v
	}
	return out, nil
}

func (m *mapping[T]) assign(a *T, id string, values []driver.Value) error {
	if len(values) != len(m.columns) {
		return fmt.Errorf("the row has %d values, want %d", len(values), len(m.columns))
	}
	if err := parseID(m.id(a), id); err != nil {
		return err
	}
	for i, v := range values {
		if err := setField(m.columns[i].Field(a), m.columns[i].Kind, v); err != nil {
			return fmt.Errorf("column %s: %w", m.columns[i].Name, err)
		}
	}
	return nil
}

// jsonValue encodes a field of kind JSON; nil where it is NULL.
func jsonValue(field any) (driver.Value, error) {
	r := reflect.ValueOf(field).Elem()
	switch r.Kind() {
	case reflect.Pointer, reflect.Map, reflect.Slice, reflect.Interface:
		if r.IsNil() {
			return nil, nil
		}
	}
	text, err := json.Marshal(field)
	return text, err
}
