package files

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/uow-go/uow/driver"
)

// format is the version of everything in the directory that is written, and all from
// oldestFormat on can be read: what the newer ones have more is left out where there is
// none of it. Format 2 has partitions of cursors, delayed messages, and the identity of the
// log.
const (
	format       = 2
	oldestFormat = 1
)

func knownFormat(f int) bool { return f >= oldestFormat && f <= format }

// journal is the file to which commits are written. Its methods are called by one
// goroutine at a time.
type journal struct {
	disk   *writer
	file   file
	name   string
	number int64 // of the file
	size   int64
	last   int64 // the number of the last record
	broken error // why nothing can be written any more
}

// journalHead is the first line of a journal's file.
type journalHead struct {
	Format int `json:"format"`
	// From is a number that the first record, present or to come, has at least: the
	// files before have all records before it.
	From int64 `json:"from"`
}

func encodeHead(from int64) []byte {
	return appendLine(nil, fmt.Appendf(nil, `{"format":%d,"from":%d}`, format, from))
}

// write adds a record and makes it durable. When there is no room nothing has
// happened. When the sync fails nobody knows, and the journal is broken: the
// operating system may have dropped what it could not write, and another sync
// would not tell.
func (j *journal) write(entries []entry) error {
	if j.broken != nil {
		return j.broken
	}
	r := record{number: j.last + 1, entries: entries}
	payload, err := r.encode()
	if err != nil {
		return err
	}
	data := appendLine(make([]byte, 0, len(payload)+32), payload)
	if _, err := j.file.Write(data); err != nil {
		return j.retreat(wrap("write "+j.name, err))
	}
	if err := j.file.Sync(); err != nil {
		j.broken = fmt.Errorf("%w: sync %s: %w", ErrBroken, j.name, err)
		return fmt.Errorf("%w: %w", driver.ErrInDoubt, j.broken)
	}
	j.size += int64(len(data))
	j.last++
	return nil
}

// retreat takes a record back that could not be written.
func (j *journal) retreat(failed error) error {
	err := j.file.Cut(j.size)
	if err == nil {
		err = j.file.Sync()
	}
	if err != nil {
		j.broken = fmt.Errorf("%w: cut %s after a failed write: %w", ErrBroken, j.name, err)
		return errors.Join(failed, j.broken)
	}
	return failed
}

// prepare makes the next file, beside commits, which go on. last is the number of
// the last record by now. The first line is synced before any record follows it: a
// power loss could else leave the second line without the first.
func (j *journal) prepare(last int64) (next *journal, err error) {
	next = &journal{disk: j.disk, number: j.number + 1, name: journalName(j.number + 1)}
	if err := j.disk.Remove(next.name); err != nil { // left by an attempt that failed
		return nil, wrap("remove "+next.name, err)
	}
	if next.file, err = j.disk.Create(next.name); err != nil {
		return nil, wrap("create "+next.name, err)
	}
	head := encodeHead(last + 1)
	next.size = int64(len(head))
	_, err = next.file.Write(head)
	if err == nil {
		err = next.file.Sync()
	}
	if err == nil {
		err = j.disk.SyncDir(journals)
	}
	if err != nil {
		return nil, errors.Join(wrap("begin "+next.name, err), next.file.Close())
	}
	return next, nil
}

// read is what was found in a journal's file.
type read struct {
	name    string
	number  int64
	headed  bool // it has its first line, and so may have records
	from    int64
	records []*record
	raw     [][]byte // the payloads of the records
}

// parseJournal reads the content of a journal's file.
func parseJournal(name string, content []byte) (*read, error) {
	payloads, _, err := lines(name, content)
	if err != nil || len(payloads) == 0 {
		return &read{name: name}, err
	}
	var head journalHead
	if err := json.Unmarshal(payloads[0], &head); err != nil || head.From < 1 {
		return nil, fmt.Errorf("%w: %s: the first line is none of a journal", ErrDamaged, name)
	}
	if !knownFormat(head.Format) {
		return nil, fmt.Errorf("%w: %s has format %d, this program knows %d", ErrFormat, name, head.Format, format)
	}
	j := &read{name: name, headed: true, from: head.From, raw: payloads[1:]}
	for i, payload := range j.raw {
		r, err := decodeRecord(payload)
		if err == nil && (r.number < j.from || i > 0 && r.number != j.records[i-1].number+1) {
			err = fmt.Errorf("%w: its number is %d", ErrDamaged, r.number)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: line %d: %w", name, i+2, err)
		}
		j.records = append(j.records, r)
	}
	return j, nil
}

// readJournals reads all files of the journal, in their order.
func readJournals(d disk) ([]*read, error) {
	entries, err := d.List(journals)
	if err != nil {
		return nil, err
	}
	var all []*read
	for _, entry := range entries {
		name := journals + "/" + entry.Name()
		n, err := strconv.ParseInt(strings.TrimSuffix(entry.Name(), ".log"), 10, 64)
		isJournal := err == nil && name == journalName(n)
		if err := checkForeign(journals, entry, isJournal || name == unitsFile); err != nil {
			return nil, err
		}
		if !isJournal {
			continue
		}
		content, err := d.Read(name)
		if err != nil {
			return nil, err
		}
		j, err := parseJournal(name, content)
		if err != nil {
			return nil, err
		}
		j.number = n
		all = append(all, j)
	}
	slices.SortFunc(all, func(a, b *read) int { return int(a.number - b.number) })
	return all, nil
}

// chain returns the records that come after the last one that was applied. Files
// may repeat records of those before them; a gap is an error, also one at the end
// of a file that others follow, where a record was damaged that can't be told from
// one that was never finished.
func chain(all []*read, applied int64) (records []*record, raw [][]byte, err error) {
	if len(all) == 0 {
		return nil, nil, fmt.Errorf("%w: %s has no journal", ErrDamaged, journals)
	}
	last := applied
	for _, j := range all {
		if !j.headed {
			continue // it was begun, and nothing was committed since
		}
		first := j.from
		if len(j.records) > 0 {
			first = j.records[0].number
		}
		if first > last+1 {
			return nil, nil, fmt.Errorf("%w: records %d to %d are missing before %s", ErrDamaged, last+1, first-1, j.name)
		}
		for i, r := range j.records {
			if r.number == last+1 {
				records, raw, last = append(records, r), append(raw, j.raw[i]), r.number
			}
		}
	}
	return records, raw, nil
}
