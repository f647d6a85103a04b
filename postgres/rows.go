package postgres

import "github.com/uow-go/uow/driver"

// rows reads rows with the columns of selectRows.
type rows struct {
	table *table
	id    string // of the only row that is asked for
	list  []driver.Row
	chunk []byte // room for bodies
}

func (r *rows) read(row [][]byte) error {
	got := driver.Row{Version: number(row[1]), Sequence: number(row[2])}
	if r.id != "" && r.id == string(row[0]) {
		got.ID = r.id
	} else {
		got.ID = string(row[0])
	}
	if r.table.mapped == nil {
		got.Body = r.keep(row[3])
	} else {
		got.Indexes = make([]driver.Value, len(r.table.desc.Indexes))
		for i, index := range r.table.desc.Indexes {
			got.Indexes[i] = valueOf(index.Kind, row[3+i])
		}
	}
	r.list = append(r.list, got)
	return nil
}

// take returns the rows, which are the caller's from then on.
func (r *rows) take() []driver.Row {
	list := r.list
	*r = rows{}
	return list
}

// From manyRows rows on bodies are copied into chunks of chunkSize bytes.
const (
	manyRows  = 16
	chunkSize = 32 << 10
)

// keep copies a body, since the driver uses its buffer again.
func (r *rows) keep(body []byte) []byte {
	if len(r.list) < manyRows || len(body) > chunkSize/8 {
		return blob(body)
	}
	if cap(r.chunk)-len(r.chunk) < len(body) {
		r.chunk = make([]byte, 0, chunkSize)
	}
	start := len(r.chunk)
	r.chunk = append(r.chunk, body...)
	return r.chunk[start:len(r.chunk):len(r.chunk)]
}
