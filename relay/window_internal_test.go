package relay

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/memory"
	"github.com/uow-go/uow/outbox"
)

// countingLog counts scans.
type countingLog struct {
	outbox.Log
	scans atomic.Int64
}

func (l *countingLog) Scan(ctx context.Context, query outbox.Query) ([]outbox.Message, int64, error) {
	l.scans.Add(1)
	return l.Log.Scan(ctx, query)
}

// logOf returns a log with so many messages, of a dozen keys and of none.
func logOf(t *testing.T, n int) *countingLog {
	t.Helper()
	db, err := memory.Open(t.Context(), uow.Config{})
	if err != nil {
		t.Fatal(err)
	}
	log, err := outbox.Of(db)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Do(t.Context(), func(_ context.Context, u *uow.Unit) error {
		for i := range n {
			m := outbox.Message{Key: fmt.Sprint(i * 7 % 13), Type: "T", Topic: fmt.Sprint(i % 2)}
			if m.Key == "0" {
				m.Key = ""
			}
			if err := outbox.Append(u, m); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return &countingLog{Log: log}
}

// reader is what a session does: it goes on, and sometimes goes back.
type reader struct {
	w         *window
	partition int
	position  int64
	got       []int64
}

func (r *reader) step(t *testing.T) (more bool) {
	t.Helper()
	query := outbox.Query{
		After: r.position, Limit: r.w.cfg.BatchSize, Topics: r.w.cfg.Topics,
		Share: outbox.Share{Of: r.w.cfg.Partitions, Partitions: []int{r.partition}},
	}
	messages, next, _, err := r.w.scan(t.Context(), r.partition, query)
	if err != nil {
		t.Fatal(err)
	}
	if len(messages) > query.Limit || next < r.position {
		t.Fatalf("partition %d got %d messages, and went from %d to %d", r.partition, len(messages), r.position, next)
	}
	for _, m := range messages {
		r.got = append(r.got, m.Position)
	}
	more = next > r.position
	r.position = next
	return more
}

// back forgets what comes after some message that was got already.
func (r *reader) back() {
	if n := len(r.got); n > 0 {
		r.got = r.got[:rand.IntN(n)]
		r.position = 0
		if len(r.got) > 0 {
			r.position = r.got[len(r.got)-1]
		}
	}
}

// Whatever the order in which partitions read, each gets its messages, once and in
// order.
func TestEachPartitionReadsItsMessages(t *testing.T) {
	for _, topics := range [][]string{nil, {"1"}} {
		log := logOf(t, 500)
		all, _, err := log.Scan(t.Context(), outbox.Query{Limit: 1000, Topics: topics})
		if err != nil {
			t.Fatal(err)
		}
		w := newWindow(&Config{Log: log, Partitions: 4, BatchSize: 7, Topics: topics})
		var readers []*reader
		for partition := range 4 {
			w.open(partition, 0)
			readers = append(readers, &reader{w: w, partition: partition})
		}
		for range 300 {
			r := readers[rand.IntN(4)]
			switch rand.IntN(12) {
			case 0:
				r.back()
			case 1: // another relay had it meanwhile, and has brought it as far as this one
				w.close(r.partition)
				w.open(r.partition, r.position)
			default:
				r.step(t)
			}
		}
		for partition, r := range readers {
			for r.step(t) {
			}
			var want []int64
			for _, m := range all {
				if outbox.Partition(m.Key, m.ID, 4) == partition {
					want = append(want, m.Position)
				}
			}
			if !slices.Equal(r.got, want) {
				t.Errorf("partition %d read %v, want %v", partition, r.got, want)
			}
		}
	}
}

func TestOneScanServesAllPartitions(t *testing.T) {
	log := logOf(t, 100)
	w := newWindow(&Config{Log: log, Partitions: 4, BatchSize: 200})
	read := 0
	for partition := range 4 {
		w.open(partition, 0)
	}
	for partition := range 4 {
		r := &reader{w: w, partition: partition}
		r.step(t)
		read += len(r.got)
	}
	if scans := log.scans.Load(); scans != 1 || read != 100 {
		t.Errorf("%d scans brought %d messages, want 1 and 100", scans, read)
	}
}
