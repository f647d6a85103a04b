package relay

import (
	"context"
	"maps"
	"slices"
	"sync"

	"github.com/uow-go/uow/outbox"
)

// window is the part of the log that has been read for the partitions of a relay: one
// scan serves all of those that are at the same place. It may be used from many
// goroutines, for each partition from one at a time.
type window struct {
	cfg *Config
	// turn is held by the one who reads.
	turn chan struct{}

	mu    sync.Mutex
	parts map[int]*part
}

// part is what has been read for a partition, and not been taken: its messages after
// from and up to upTo.
type part struct {
	from, upTo int64
	messages   []outbox.Message
}

// newWindow returns nil where there is but one partition.
func newWindow(cfg *Config) *window {
	if cfg.Partitions == 1 {
		return nil
	}
	return &window{cfg: cfg, turn: make(chan struct{}, 1), parts: map[int]*part{}}
}

// open adds a partition that is at a position, and close removes it.
func (w *window) open(partition int, position int64) {
	if w != nil {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.parts[partition] = &part{from: position, upTo: position}
	}
}

func (w *window) close(partition int) {
	if w != nil {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.parts, partition)
	}
}

// scan is Log.Scan of one partition. read is whether the log was read for it, rather than
// for another one before.
func (w *window) scan(ctx context.Context, partition int, query outbox.Query) (messages []outbox.Message, next int64, read bool, err error) {
	if messages, next := w.take(partition, query); next > query.After {
		return messages, next, false, nil
	}
	select {
	case w.turn <- struct{}{}:
		defer func() { <-w.turn }()
	case <-ctx.Done():
		return nil, query.After, false, context.Cause(ctx)
	}
	if messages, next := w.take(partition, query); next > query.After { // another one has read it meanwhile
		return messages, next, false, nil
	}
	if err := w.read(ctx, partition, query); err != nil {
		return nil, query.After, false, err
	}
	messages, next = w.take(partition, query)
	return messages, next, true, nil
}

// take takes what has been read after the query's position: nothing, with that
// position, where nothing has been.
func (w *window) take(partition int, query outbox.Query) (messages []outbox.Message, next int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	p := w.parts[partition]
	if p == nil || query.After != p.from {
		return nil, query.After
	}
	if len(p.messages) > query.Limit {
		messages, p.messages = p.messages[:query.Limit:query.Limit], p.messages[query.Limit:]
		p.from = messages[len(messages)-1].Position
		return messages, p.from
	}
	messages, p.messages, p.from = p.messages, nil, p.upTo
	return messages, p.from
}

// maxRead is how many messages are read at once for several partitions, unless a batch
// has more.
const maxRead = 4096

// maxWaiting is how many batches may wait for a partition that takes none before the
// others go on without it.
const maxWaiting = 4

// read reads what is after a position, for a partition and for those that have been read
// up to there too, unless very much waits for them. It does not pass those that are further
// ahead, so that the partition comes together with them again.
func (w *window) read(ctx context.Context, partition int, wanted outbox.Query) error {
	together, ahead := w.together(partition, wanted.After)
	query := outbox.Query{
		After: wanted.After, Recent: wanted.Recent, Topics: w.cfg.Topics, Limit: max(w.cfg.BatchSize, min(w.cfg.BatchSize*len(together), maxRead)),
	}
	if len(together) < w.cfg.Partitions {
		query.Share = outbox.Share{Of: w.cfg.Partitions, Partitions: slices.Sorted(maps.Keys(together))}
	}
	messages, next, err := w.cfg.Log.Scan(ctx, query)
	if err != nil {
		return err
	}
	if ahead > 0 && next > ahead {
		next = ahead
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range messages {
		m := &messages[i]
		if p := together[outbox.Partition(m.Key, m.ID, w.cfg.Partitions)]; p != nil && m.Position <= next {
			p.messages = append(p.messages, *m)
		}
	}
	for _, p := range together {
		p.upTo = next
	}
	return nil
}

// together returns the parts that are to be read from a position on, and where the next
// of the others is ahead of it; 0: nowhere.
func (w *window) together(partition int, after int64) (parts map[int]*part, ahead int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	// It may have gone back, since messages could not be published.
	w.parts[partition] = &part{from: after, upTo: after}
	parts = map[int]*part{}
	for number, p := range w.parts {
		switch {
		case p.upTo == after && len(p.messages) < maxWaiting*w.cfg.BatchSize:
			parts[number] = p
		case p.upTo > after && (ahead == 0 || p.upTo < ahead):
			ahead = p.upTo
		}
	}
	return parts, ahead
}
