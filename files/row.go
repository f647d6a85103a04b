package files

import (
	"bytes"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"strconv"

	"github.com/uow-go/uow/driver"
	"github.com/uow-go/uow/internal/mvcc"
)

// image is a row as its file has it.
type image struct {
	collection, id    string
	version, sequence int64
	indexes           json.RawMessage // an object; nil for a removed row
	body              []byte
	removed           bool
	forgotten         bool
}

// key names a row.
type key struct{ collection, id string }

func (r *image) key() key { return key{r.collection, r.id} }

// newImage returns what is kept of a row.
func newImage(desc driver.Collection, row *mvcc.Row) (*image, error) {
	r := &image{
		collection: row.Collection,
		id:         row.ID,
		version:    row.Version,
		sequence:   row.Sequence,
		body:       row.Body,
		removed:    row.Deleted,
		forgotten:  row.Forgotten,
	}
	if r.removed {
		return r, nil
	}
	var err error
	if r.indexes, err = appendIndexes(nil, desc.Indexes, row.Indexes); err != nil {
		return nil, fmt.Errorf("%s/%s: %w", r.collection, r.id, err)
	}
	return r, nil
}

// row returns the row with the values that a collection asks for.
func (r *image) row(desc driver.Collection) (mvcc.Row, error) {
	row := mvcc.Row{
		Collection: r.collection,
		Row:        driver.Row{ID: r.id, Version: r.version, Sequence: r.sequence, Body: r.body},
		Deleted:    r.removed,
	}
	if r.removed {
		return row, nil
	}
	var values map[string]json.RawMessage
	if err := json.Unmarshal(r.indexes, &values); err != nil {
		return row, err
	}
	row.Indexes = make([]driver.Value, len(desc.Indexes))
	for i, index := range desc.Indexes {
		data, ok := values[index.Name]
		if !ok {
			return row, fmt.Errorf("it has no value of index %s", index.Name)
		}
		v, err := parseValue(index.Kind, data)
		if err != nil {
			return row, fmt.Errorf("its value of index %s is of another kind: %w", index.Name, err)
		}
		row.Indexes[i] = v
	}
	return row, nil
}

// header is the first line of a row's file.
type header struct {
	Collection text            `json:"collection"`
	ID         text            `json:"id"`
	Version    int64           `json:"version"`
	Sequence   int64           `json:"sequence"`
	Indexes    json.RawMessage `json:"indexes"`
	Removed    bool            `json:"removed"`
	Forgotten  bool            `json:"forgotten"` // in the journal only
	Size       int             `json:"size"`
	CRC        string          `json:"crc32c"`
}

// appendHeader adds the members of a header that are the row itself.
func (r *image) appendHeader(dst []byte) []byte {
	dst = appendText(append(dst, `{"collection":`...), r.collection)
	dst = appendText(append(dst, `,"id":`...), r.id)
	dst = strconv.AppendInt(append(dst, `,"version":`...), r.version, 10)
	dst = strconv.AppendInt(append(dst, `,"sequence":`...), r.sequence, 10)
	if r.indexes != nil {
		dst = append(append(dst, `,"indexes":`...), r.indexes...)
	}
	if r.removed {
		dst = append(dst, `,"removed":true`...)
	}
	if r.forgotten {
		dst = append(dst, `,"forgotten":true`...)
	}
	return dst
}

func (h *header) image() *image {
	return &image{
		collection: string(h.Collection),
		id:         string(h.ID),
		version:    h.Version,
		sequence:   h.Sequence,
		indexes:    h.Indexes,
		removed:    h.Removed,
		forgotten:  h.Forgotten,
	}
}

// encode returns the content of the row's file:
//
//	{"uow":{"collection":"accounts","id":"alice",…,"crc32c":"…"},
//	"body":
//	{"ID":"alice","Balance":100}
//	}
//
// All of it is one JSON value. A body that is no JSON is a text instead, and a
// removed row has none. The checksum is that of the header before it and the body.
func (r *image) encode() []byte {
	out := make([]byte, 0, len(r.body)+256)
	out = r.appendHeader(append(out, `{"uow":`...))
	out = strconv.AppendInt(append(out, `,"size":`...), int64(len(r.body)), 10)
	sum := crc32.Update(crc32.Checksum(out, castagnoli()), castagnoli(), r.body)
	out = fmt.Appendf(out, `,"crc32c":"%08x"}`, sum)
	switch {
	case r.removed:
	case json.Valid(r.body):
		out = append(append(out, ",\n\"body\":\n"...), r.body...)
	default:
		out = appendText(append(out, ",\n\"text\":\n"...), string(r.body))
	}
	return append(out, "\n}\n"...)
}

// decode returns the row of a file. A file that differs in any byte from what
// encode writes for the row is refused.
func decode(content []byte) (*image, error) {
	const begin = `{"uow":`
	if !bytes.HasPrefix(content, []byte(begin)) {
		return nil, fmt.Errorf("%w: it does not begin with %s", ErrDamaged, begin)
	}
	var h header
	d := json.NewDecoder(bytes.NewReader(content[len(begin):]))
	if err := d.Decode(&h); err != nil {
		return nil, fmt.Errorf("%w: its header can't be read: %w", ErrDamaged, err)
	}
	r := h.image()
	rest := content[len(begin)+int(d.InputOffset()):]
	const body, escaped, end = ",\n\"body\":\n", ",\n\"text\":\n", "\n}\n"
	switch inner := bytes.TrimSuffix(rest, []byte(end)); {
	case bytes.HasPrefix(inner, []byte(body)):
		r.body = inner[len(body):]
	case bytes.HasPrefix(inner, []byte(escaped)):
		var t text
		if err := json.Unmarshal(inner[len(escaped):], &t); err != nil {
			return nil, fmt.Errorf("%w: its text can't be read: %w", ErrDamaged, err)
		}
		r.body = []byte(t)
	}
	if !bytes.Equal(r.encode(), content) {
		return nil, fmt.Errorf("%w: it is not as it was written (its checksum or its form is wrong)", ErrDamaged)
	}
	return r, nil
}
