package uow

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/uow-go/uow/internal/upcast"
)

// Upcaster brings a JSON document from one version of its schema to the next: it
// adds, renames or rewrites members of doc in place.
type Upcaster func(doc map[string]json.RawMessage) error

// schemaMember is the member of a document that says which version it has.
const schemaMember = "$schema"

// jsonCodec keeps aggregates as JSON objects, with the version of their schema where
// there are upcasters.
type jsonCodec[T any] struct {
	upcasters []Upcaster
	head      []byte // how documents of today's version begin; nil for version 0
}

func newJSONCodec[T any](upcasters []Upcaster) jsonCodec[T] {
	c := jsonCodec[T]{upcasters: upcasters}
	if len(upcasters) > 0 {
		c.head = fmt.Appendf(nil, `{"%s":%d`, schemaMember, len(upcasters))
	}
	return c
}

// Encode implements Codec.
func (c jsonCodec[T]) Encode(aggregate *T) ([]byte, error) {
	body, err := json.Marshal(aggregate)
	if err != nil || c.head == nil {
		return body, err
	}
	return withHead(make([]byte, 0, len(c.head)+len(body)), c.head, body)
}

// withHead appends a document that begins with head.
func withHead(out, head, body []byte) ([]byte, error) {
	if len(body) < 2 || body[0] != '{' {
		return nil, fmt.Errorf("an aggregate with Upcasters must be a JSON object, and is %.20s", body)
	}
	out = append(out, head...)
	if body[1] != '}' {
		out = append(out, ',')
	}
	return append(out, body[1:]...), nil
}

// Decode implements Codec.
func (c jsonCodec[T]) Decode(body []byte, aggregate *T) error {
	if c.head == nil || c.current(body) {
		return json.Unmarshal(body, aggregate)
	}
	var doc map[string]json.RawMessage
	if err := json.Unmarshal(body, &doc); err != nil {
		return err
	}
	version, err := schemaVersion(doc)
	if err != nil {
		return err
	}
	if version > len(c.upcasters) {
		return fmt.Errorf("the document has version %d of its schema, and this program knows %d at most: it was written by a newer one", version, len(c.upcasters))
	}
	if err := upcast.Document(doc, version, c.upcasters); err != nil {
		return err
	}
	delete(doc, schemaMember)
	upcasted, err := json.Marshal(doc)
	if err != nil {
		return err
	}
	return json.Unmarshal(upcasted, aggregate)
}

// current reports whether a document begins as those of today's version do.
func (c jsonCodec[T]) current(body []byte) bool {
	rest, ok := bytes.CutPrefix(body, c.head)
	return ok && len(rest) > 0 && (rest[0] == ',' || rest[0] == '}')
}

// schemaVersion returns a document's version, which is 0 where it does not say.
func schemaVersion(doc map[string]json.RawMessage) (int, error) {
	text, ok := doc[schemaMember]
	if !ok {
		return 0, nil
	}
	var version int
	if err := json.Unmarshal(text, &version); err != nil || version < 0 {
		return 0, fmt.Errorf("the document's member %s is %.20s, want a version", schemaMember, text)
	}
	return version, nil
}
