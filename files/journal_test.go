package files

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/uow-go/uow/driver"
	"github.com/uow-go/uow/internal/mvcc"
	"github.com/uow-go/uow/outbox"
)

// sample is a record in which everything occurs.
func sample(number int64) *record {
	at := time.Date(2026, 1, 2, 3, 4, 5, 678901000, time.UTC)
	return &record{number: number, entries: []entry{
		{
			unit: "0198c0de-0000-7000-8000-000000000000",
			rows: []*image{
				{collection: "documents", id: "a", version: 3, sequence: 2, indexes: []byte(`{"note":"x\ny","count":null}`), body: []byte(`{"ID":"a"}`)},
				{collection: "documents", id: "B\xff/é\x00", version: 1, indexes: []byte(`{}`), body: []byte("no JSON\n\xff")},
				{collection: "documents", id: "c", version: 1, indexes: []byte(`{}`), body: []byte(" {\n} ")},
				{collection: "documents", id: "gone", version: 9, sequence: 4, removed: true},
				{collection: "scratch", id: "forgotten", version: 2, removed: true, forgotten: true},
			},
			log: mvcc.Change{Messages: []driver.Message{
				{Position: 1, ID: "m1", Topic: "t", Key: "k", Type: "T", AggregateType: "documents", AggregateID: "a", Sequence: 1,
					Payload: []byte(`{"x":[1,2.50]}`), Headers: map[string]string{"content-type": "application/json", "z": "<&>\u2028"}, CreatedAt: at},
				{Position: 2, Type: "T", Payload: []byte("\xfe\xff"), Headers: map[string]string{"\xff": "b", "a": "\xfe"}, CreatedAt: time.Date(12000, 1, 1, 0, 0, 0, 1000, time.UTC)},
			}},
		},
		{log: mvcc.Change{
			Cursors: []mvcc.CursorChange{
				{Name: "relay\xff", Position: 7, Epoch: 3, Gone: []int64{4}, Hold: []outbox.Hold{{Position: 6, Key: "k\xff", State: outbox.Parked, Attempts: 2, NextAt: at, Reason: "\"no\"", Since: at}}},
				{Name: "old", Dropped: true},
			},
			Trimmed: []int64{1, 2, 3},
		}},
	}}
}

// journalOf returns the content of a journal's file with records.
func journalOf(t testing.TB, from int64, records ...*record) []byte {
	t.Helper()
	content := encodeHead(from)
	for _, r := range records {
		payload, err := r.encode()
		if err != nil {
			t.Fatal(err)
		}
		content = appendLine(content, payload)
	}
	return content
}

func TestRecordsComeBack(t *testing.T) {
	want := sample(5)
	j, err := parseJournal("j", journalOf(t, 5, want, sample(6)))
	if err != nil {
		t.Fatal(err)
	}
	if len(j.records) != 2 || !reflect.DeepEqual(j.records[0], want) {
		t.Errorf("got %+v, want %+v", j.records[0], want)
	}
}

// TestTruncations cuts a journal off at every byte: what was whole is there, and
// the rest is no error.
func TestTruncations(t *testing.T) {
	content := journalOf(t, 1, sample(1), sample(2))
	for n := range len(content) + 1 {
		want := max(0, bytes.Count(content[:n], []byte("\n"))-1)
		j, err := parseJournal("j", content[:n])
		if err != nil || len(j.records) != want {
			t.Fatalf("cut off at %d: got %+v, %v, want %d records", n, j, err, want)
		}
	}
}

// TestDamages changes a journal at every byte. In front of a whole record that is
// an error, which names the file and the place; in the last record it can not be
// told from one that was never finished; nowhere does it change what is read.
func TestDamages(t *testing.T) {
	content := journalOf(t, 1, sample(1), sample(2))
	last := bytes.LastIndexByte(content[:len(content)-1], '\n') + 1
	want, err := parseJournal("j", content)
	if err != nil {
		t.Fatal(err)
	}
	for i := range content {
		for _, flip := range []byte{0x01, content[i] ^ '\n'} {
			if flip == 0 {
				continue
			}
			damaged := bytes.Clone(content)
			damaged[i] ^= flip
			j, err := parseJournal("the-file", damaged)
			switch {
			case i < last && (!errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "the-file: the line at byte ")):
				t.Fatalf("byte %d changed by %x: got %v, want ErrDamaged with file and place", i, flip, err)
			case i >= last && err == nil && !reflect.DeepEqual(j.records, want.records[:1]):
				t.Fatalf("byte %d changed by %x: got %d records", i, flip, len(j.records))
			case err != nil && !errors.Is(err, ErrDamaged):
				t.Fatalf("byte %d changed by %x: got %v, want ErrDamaged", i, flip, err)
			}
		}
	}
}

func TestChains(t *testing.T) {
	file := func(number, from int64, records ...int64) *read {
		j := &read{name: fmt.Sprint("file", number), number: number, headed: from > 0, from: from}
		for _, n := range records {
			j.records, j.raw = append(j.records, &record{number: n}), append(j.raw, nil)
		}
		return j
	}
	for name, c := range map[string]struct {
		applied int64
		files   []*read
		want    []int64
		bad     bool
	}{
		"nothing":                        {bad: true},
		"one that is new":                {files: []*read{file(1, 1)}},
		"one after another":              {files: []*read{file(1, 1, 1, 2), file(2, 3, 3)}, want: []int64{1, 2, 3}},
		"what is applied is left out":    {applied: 2, files: []*read{file(1, 1, 1, 2), file(2, 3, 3)}, want: []int64{3}},
		"records that are repeated":      {files: []*read{file(1, 1, 1, 2), file(2, 1, 1, 2, 3)}, want: []int64{1, 2, 3}},
		"one that was only begun":        {files: []*read{file(1, 1, 1), file(2, 0), file(3, 2, 2)}, want: []int64{1, 2}},
		"a first line that came early":   {files: []*read{file(1, 1, 1, 2), file(2, 2, 3)}, want: []int64{1, 2, 3}},
		"a file is missing":              {files: []*read{file(1, 1, 1), file(3, 3, 3)}, bad: true},
		"the first file is missing":      {files: []*read{file(2, 2, 2)}, bad: true},
		"an old file is missing":         {applied: 1, files: []*read{file(2, 2, 2)}, want: []int64{2}},
		"the end of a file is missing":   {files: []*read{file(1, 1, 1), file(2, 3)}, bad: true},
		"a record's end, and a late one": {files: []*read{file(1, 1, 1), file(2, 2, 3)}, bad: true},
	} {
		records, _, err := chain(c.files, c.applied)
		var got []int64
		for _, r := range records {
			got = append(got, r.number)
		}
		if c.bad != errors.Is(err, ErrDamaged) || !slices.Equal(got, c.want) {
			t.Errorf("%s: got %v, %v, want %v", name, got, err, c.want)
		}
	}
}

func TestNewerJournals(t *testing.T) {
	if _, err := parseJournal("j", appendLine(nil, []byte(`{"format":3,"from":1}`))); !errors.Is(err, ErrFormat) {
		t.Errorf("got %v, want ErrFormat", err)
	}
}

// FuzzJournal reads anything: without a panic, with ErrDamaged or ErrFormat where
// it is no journal, and what was read comes back when it is written again.
func FuzzJournal(f *testing.F) {
	whole := journalOf(f, 1, sample(1), sample(2))
	f.Add(whole)
	f.Add(whole[:len(whole)-10])
	f.Add(whole[:len(whole)/2])
	f.Add([]byte{})
	f.Add(encodeHead(7))
	f.Add(appendLine(encodeHead(1), []byte(`{"record":1,"changes":[{"unit":"u","rows":[{"collection":"c","id":"i","removed":true}]}]}`)))
	f.Add(appendLine(encodeHead(1), []byte(`{"record":1}`)))
	f.Add([]byte("5 00000000 hello\n12 aaaaaaaa x\n"))
	f.Fuzz(func(t *testing.T, content []byte) {
		j, err := parseJournal("j", content)
		if err == nil {
			checkReread(t, j, content)
		} else if !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrFormat) {
			t.Fatalf("got %v, want ErrDamaged or ErrFormat", err)
		}
		// The same behind a good head and a good checksum, which a fuzzer does not find.
		j, err = parseJournal("j", appendLine(encodeHead(1), bytes.ReplaceAll(content, []byte("\n"), nil)))
		if err == nil && len(j.records) == 1 {
			checkReread(t, j, nil)
		}
	})
}

// checkReread writes the records that were read, and demands the same when they are
// read again.
func checkReread(t *testing.T, j *read, content []byte) {
	t.Helper()
	if !j.headed {
		return
	}
	again := encodeHead(j.from)
	for _, payload := range j.raw {
		again = appendLine(again, payload)
	}
	if content != nil && len(j.raw) > 0 && !bytes.Contains(content, again[len(encodeHead(j.from)):]) {
		t.Fatalf("read %d records that are not there", len(j.raw))
	}
	got, err := parseJournal("j", journalOf(t, j.from, j.records...))
	if err != nil {
		t.Fatalf("written again: %v", err)
	}
	if len(got.records) != len(j.records) {
		t.Fatalf("written again: %d records, want %d", len(got.records), len(j.records))
	}
	for i := range got.records {
		want, err := j.records[i].encode()
		have, err2 := got.records[i].encode()
		if err != nil || err2 != nil || !bytes.Equal(have, want) {
			t.Fatalf("record %d, written again: %s, want %s", i, have, want)
		}
	}
}
