package files

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"maps"
	"slices"

	"github.com/uow-go/uow/driver"
	"github.com/uow-go/uow/internal/mvcc"
	"github.com/uow-go/uow/outbox"
)

// state is what the store keeps of the log in memory, and writes with each batch of
// files: the cursors, and where the messages are.
type state struct {
	// applied is the number of the last record of the journal whose changes are in
	// the files.
	applied int64
	// log has the cursors, and no messages.
	log      mvcc.Log
	segments []segment
	// trimmed are positions that are deleted, of messages in segments.
	trimmed []span
}

// segment is a file with messages.
type segment struct {
	First int64 `json:"first"`
	Last  int64 `json:"last"`
	Size  int64 `json:"size"`
	// sealed segments get no more messages.
	sealed bool
}

// span is a range of positions, both ends included.
type span struct {
	First int64 `json:"first"`
	Last  int64 `json:"last"`
}

type stateJSON struct {
	Format   int               `json:"format"`
	Log      string            `json:"log"`
	Applied  int64             `json:"applied"`
	End      int64             `json:"end"`
	Epochs   int64             `json:"epochs"`
	Delays   int64             `json:"delays"`
	Delayed  []json.RawMessage `json:"delayed"`
	Cursors  []cursorJSON      `json:"cursors"`
	Segments []segment         `json:"segments"`
	Trimmed  []span            `json:"trimmed"`
}

// sealedJSON is a JSON value with its checksum.
type sealedJSON struct {
	CRC   string          `json:"crc32c"`
	Value json.RawMessage `json:"value"`
}

func sealJSON(v any) ([]byte, error) {
	value, err := json.MarshalIndent(v, "", "\t")
	if err != nil {
		return nil, err
	}
	return fmt.Appendf(nil, "{\"crc32c\":\"%08x\",\"value\":\n%s\n}\n", crc32.Checksum(value, castagnoli()), value), nil
}

func unsealJSON(name string, content []byte, v any) error {
	var in sealedJSON
	if err := json.Unmarshal(content, &in); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrDamaged, name, err)
	}
	if sum := fmt.Sprintf("%08x", crc32.Checksum(in.Value, castagnoli())); sum != in.CRC {
		return fmt.Errorf("%w: %s: its checksum is %s, want %s", ErrDamaged, name, sum, in.CRC)
	}
	if err := json.Unmarshal(in.Value, v); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrDamaged, name, err)
	}
	return nil
}

func newLog() mvcc.Log { return mvcc.Log{Cursors: map[string]*mvcc.Cursor{}} }

// encode returns the content of the state's file.
func (s *state) encode() ([]byte, error) {
	out := stateJSON{
		Format:   format,
		Log:      s.log.ID,
		Applied:  s.applied,
		End:      s.log.End,
		Epochs:   s.log.Epochs,
		Delays:   s.log.Delays,
		Segments: s.segments,
		Trimmed:  s.trimmed,
	}
	for _, name := range slices.Sorted(maps.Keys(s.log.Cursors)) {
		c := s.log.Cursors[name]
		change := mvcc.CursorChange{Name: name, Position: c.Position, Epoch: c.Epoch, Split: c.Split}
		for _, position := range slices.Sorted(maps.Keys(c.Held)) {
			change.Hold = append(change.Hold, c.Held[position])
		}
		out.Cursors = append(out.Cursors, cursorsJSON([]mvcc.CursorChange{change})...)
	}
	for _, number := range slices.Sorted(maps.Keys(s.log.Delayed)) {
		m := s.log.Delayed[number]
		encoded, err := appendMessage(nil, &m)
		if err != nil {
			return nil, err
		}
		out.Delayed = append(out.Delayed, encoded)
	}
	return sealJSON(out)
}

// readState reads the state's file.
func readState(d disk) (*state, error) {
	content, err := d.Read(stateFile)
	if err != nil {
		return nil, err
	}
	var in stateJSON
	if err := unsealJSON(stateFile, content, &in); err != nil {
		return nil, err
	}
	if !knownFormat(in.Format) {
		return nil, fmt.Errorf("%w: %s has format %d, this program knows %d", ErrFormat, stateFile, in.Format, format)
	}
	s := &state{applied: in.Applied, log: newLog(), segments: in.Segments, trimmed: in.Trimmed}
	s.log.End, s.log.Epochs, s.log.ID = in.End, in.Epochs, in.Log
	if s.log.ID == "" { // of format 1
		s.log.ID = outbox.NewLogID()
	}
	s.log.Delays = in.Delays
	for _, encoded := range in.Delayed {
		var m messageJSON
		if err := json.Unmarshal(encoded, &m); err != nil {
			return nil, fmt.Errorf("%w: %s: delayed message: %w", ErrDamaged, stateFile, err)
		}
		if s.log.Delayed == nil {
			s.log.Delayed = map[int64]driver.Message{}
		}
		s.log.Delayed[m.Position] = m.message()
	}
	for _, c := range in.Cursors {
		change := c.change()
		cursor := &mvcc.Cursor{Position: change.Position, Epoch: change.Epoch, Split: change.Split, Held: map[int64]outbox.Hold{}}
		for _, h := range change.Hold {
			cursor.Held[h.Position] = h
		}
		s.log.Cursors[change.Name] = cursor
	}
	return s, nil
}

// readMessages reads the messages of the segments, and checks all of them. What is
// behind a segment's size is from a batch that was not finished: the journal has
// it.
func (s *state) readMessages(d disk) (messages []driver.Message, err error) {
	last := int64(0)
	for _, g := range s.segments {
		name := segmentName(g.First)
		content, err := d.Read(name)
		if err != nil {
			return nil, err
		}
		if int64(len(content)) < g.Size || g.Size < 0 {
			return nil, fmt.Errorf("%w: %s has %d bytes, want %d at least", ErrDamaged, name, len(content), g.Size)
		}
		payloads, valid, err := lines(name, content[:g.Size])
		if err == nil && int64(valid) != g.Size {
			err = fmt.Errorf("%w: %s: the line at byte %d is not as it was written", ErrDamaged, name, valid)
		}
		if err != nil {
			return nil, err
		}
		for i, payload := range payloads {
			var m messageJSON
			if err := json.Unmarshal(payload, &m); err != nil {
				return nil, fmt.Errorf("%w: %s: message %d: %w", ErrDamaged, name, i, err)
			}
			if m.Position <= last || m.Position < g.First || m.Position > g.Last {
				return nil, fmt.Errorf("%w: %s: position %d is out of order", ErrDamaged, name, m.Position)
			}
			last = m.Position
			if !s.isTrimmed(last) {
				messages = append(messages, m.message())
			}
		}
		if last != g.Last {
			return nil, fmt.Errorf("%w: %s: it ends at position %d, want %d", ErrDamaged, name, last, g.Last)
		}
	}
	return messages, nil
}

func (s *state) isTrimmed(position int64) bool {
	i, found := slices.BinarySearchFunc(s.trimmed, position, func(r span, p int64) int { return int(r.First - p) })
	return found || i > 0 && s.trimmed[i-1].Last >= position
}

// trim notes deleted positions.
func (s *state) trim(positions []int64) {
	for _, p := range positions {
		s.trimmed = append(s.trimmed, span{p, p})
	}
	slices.SortFunc(s.trimmed, func(a, b span) int { return int(a.First - b.First) })
	merged := s.trimmed[:0]
	for _, r := range s.trimmed {
		if n := len(merged); n > 0 && r.First <= merged[n-1].Last+1 {
			merged[n-1].Last = max(merged[n-1].Last, r.Last)
			continue
		}
		merged = append(merged, r)
	}
	s.trimmed = merged
}

// shed takes out the segments of which every message is deleted, and what is known
// of positions before all others. It returns the names.
func (s *state) shed() (names []string) {
	s.segments = slices.DeleteFunc(s.segments, func(g segment) bool {
		whole := slices.ContainsFunc(s.trimmed, func(r span) bool { return r.First <= g.First && g.Last <= r.Last })
		if whole {
			names = append(names, segmentName(g.First))
		}
		return whole
	})
	s.trimmed = slices.DeleteFunc(s.trimmed, func(r span) bool {
		return !slices.ContainsFunc(s.segments, func(g segment) bool { return r.First <= g.Last && g.First <= r.Last })
	})
	return names
}

// store adds messages to the last segment, or begins another. What was added counts
// once the state is written.
func (s *state) store(w *writer, messages []driver.Message, segmentSize int64) error {
	if len(messages) == 0 {
		return nil
	}
	var data []byte
	for i := range messages {
		payload, err := appendMessage(nil, &messages[i])
		if err != nil {
			return err
		}
		data = appendLine(data, payload)
	}
	first, last := messages[0].Position, messages[len(messages)-1].Position
	n := len(s.segments)
	if n == 0 || s.segments[n-1].sealed || s.segments[n-1].Size >= segmentSize {
		s.segments = append(s.segments, segment{First: first, Last: last, Size: int64(len(data))})
		return w.replace(segmentName(first), data)
	}
	g := &s.segments[n-1]
	f, err := w.Append(segmentName(g.First), g.Size)
	if err != nil {
		return wrap("open "+segmentName(g.First), err)
	}
	if _, err := f.Write(data); err != nil {
		return errors.Join(wrap("write "+segmentName(g.First), err), f.Close())
	}
	g.Last, g.Size = last, g.Size+int64(len(data))
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return wrap("sync "+segmentName(g.First), err)
	}
	return nil
}

// removeStray removes segments that the state does not list: they are from batches
// that were not finished, or whose messages are deleted.
func (s *state) removeStray(w *writer, entries []fs.DirEntry) error {
	for _, entry := range entries {
		name := log + "/" + entry.Name()
		listed := slices.ContainsFunc(s.segments, func(g segment) bool { return segmentName(g.First) == name })
		if name == stateFile || listed || entry.Name()[0] == '.' {
			continue
		}
		if err := w.Remove(name); err != nil {
			return wrap("remove "+name, err)
		}
	}
	return nil
}

// clone returns a copy that shares nothing that changes.
func (s *state) clone() *state {
	c := *s
	c.segments, c.trimmed = slices.Clone(s.segments), slices.Clone(s.trimmed)
	c.log.Delayed = maps.Clone(s.log.Delayed)
	c.log.Cursors = make(map[string]*mvcc.Cursor, len(s.log.Cursors))
	for name, cursor := range s.log.Cursors {
		copied := *cursor
		copied.Held = maps.Clone(cursor.Held)
		c.log.Cursors[name] = &copied
	}
	return &c
}
