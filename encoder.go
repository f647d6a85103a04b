package uow

import (
	"bytes"
	"encoding/json"
)

// encoder encodes aggregates of one collection, one after the other, to find those that
// have changed: most have not, and what they encode to is forgotten at once.
type encoder[T any] struct {
	collection *Collection[T]
	buf        bytes.Buffer
	json       *json.Encoder // nil where the codec is the user's
	head       []byte
	out        []byte
	last       bool // nothing will be encoded after
}

func (c *Collection[T]) encoder() *encoder[T] {
	e := &encoder[T]{collection: c}
	if codec, ok := c.codec.(jsonCodec[T]); ok && c.table == nil {
		e.json, e.head = json.NewEncoder(&e.buf), codec.head
	}
	return e
}

// capture encodes an aggregate into about as many bytes as expected. What it returns is
// valid until the next call: see keep.
func (e *encoder[T]) capture(a *T, expected int) (img image, err error) {
	if e.json == nil {
		return e.collection.capture(a)
	}
	e.buf.Reset()
	e.buf.Grow(expected + 64)
	if err := e.json.Encode(a); err != nil {
		return img, e.collection.encodeError(a, err)
	}
	body := e.buf.Bytes()
	body = body[:len(body)-1] // without the newline
	if e.head == nil {
		return image{body: body}, nil
	}
	e.out, err = withHead(e.out[:0], e.head, body)
	if err != nil {
		return img, e.collection.encodeError(a, err)
	}
	return image{body: e.out}, nil
}

// keep returns an image of the last call as one that stays.
func (e *encoder[T]) keep(img image) image {
	if e.json != nil && !e.last {
		img.body = bytes.Clone(img.body)
	}
	return img
}
