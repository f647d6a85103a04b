package bench

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"time"

	natsd "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/uow-go/uow/publishers/nats/embedded"
)

// site is what one run publishes from, and to: a database of its own, and a stream.
type site struct {
	where   string // what Store.Make has made
	address []nats.Option
	stream  string // its only subject has the same name
	conn    *nats.Conn
	js      jetstream.JetStream
	remove  []func() error
}

// settings of a site.
type settings struct {
	make func(ctx context.Context) (where string, remove func() error, err error)
	// serve starts a server in the process for each run; nil: the one that is there.
	serve func(dir string) (client nats.Option, stop func() error, err error)
	// atomic streams take atomic batches.
	atomic bool
}

// FindNATS returns the address of a NATS server with JetStream: the one in NATS_URL,
// else one at 127.0.0.1:4222.
func FindNATS() string { return cmp.Or(os.Getenv("NATS_URL"), "127.0.0.1:4222") }

// DescribeNATS says what a server is.
func DescribeNATS() (string, error) {
	conn, err := nats.Connect(FindNATS(), nats.Timeout(5*time.Second))
	if err != nil {
		return "", fmt.Errorf("bench: no NATS: set NATS_URL, or start one with JetStream at 127.0.0.1:4222: %w", err)
	}
	defer conn.Close()
	return "NATS server " + conn.ConnectedServerVersion() + ", streams in files", nil
}

// sites counts, so that each has a name of its own.
func (s settings) open(ctx context.Context) (*site, error) {
	made := &site{stream: fmt.Sprintf("uow_bench_%d", time.Now().UnixNano())}
	if err := made.open(ctx, s); err != nil {
		return nil, errors.Join(err, made.close())
	}
	return made, nil
}

func (s *site) open(ctx context.Context, settings settings) error {
	where, remove, err := settings.make(ctx)
	if err != nil {
		return err
	}
	s.where, s.remove = where, append(s.remove, remove)
	url := FindNATS()
	if settings.serve != nil {
		dir, remove, err := makeFolder(where)(ctx)
		if err != nil {
			return err
		}
		s.remove = append(s.remove, remove)
		client, stop, err := settings.serve(dir)
		if err != nil {
			return err
		}
		s.remove = append(s.remove, stop)
		s.address, url = []nats.Option{client}, ""
	}
	if s.conn, err = nats.Connect(url, s.address...); err != nil {
		return err
	}
	s.remove = append(s.remove, func() error { s.conn.Close(); return nil })
	if s.js, err = jetstream.New(s.conn, jetstream.WithPublishAsyncMaxPending(inFlight)); err != nil {
		return err
	}
	_, err = s.js.CreateStream(ctx, jetstream.StreamConfig{
		Name: s.stream, Subjects: []string{s.stream}, Storage: jetstream.FileStorage, AllowAtomicPublish: settings.atomic,
	})
	s.remove = append(s.remove, func() error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		return s.js.DeleteStream(ctx, s.stream)
	})
	return err
}

// close removes everything, the last thing first.
func (s *site) close() error {
	var errs []error
	for i := len(s.remove) - 1; i >= 0; i-- {
		errs = append(errs, s.remove[i]())
	}
	return errors.Join(errs...)
}

// durable is the server of package embedded, which syncs before it acknowledges.
func durable(dir string) (nats.Option, func() error, error) {
	s, err := embedded.Start(embedded.Config{Dir: dir})
	if err != nil {
		return nil, nil, err
	}
	return s.InProcess(), s.Close, nil
}

// relaxed is the same server with NATS' own default: it syncs every two minutes.
func relaxed(dir string) (nats.Option, func() error, error) {
	s, err := natsd.NewServer(&natsd.Options{
		JetStream: true, StoreDir: dir, DontListen: true, NoSigs: true, NoLog: true, MaxPayload: 8 << 20,
	})
	if err != nil {
		return nil, nil, err
	}
	s.Start()
	if !s.ReadyForConnections(time.Minute) {
		return nil, nil, errors.New("bench: the server in the process did not start")
	}
	return nats.InProcessServer(s), func() error {
		s.Shutdown()
		s.WaitForShutdown()
		return nil
	}, nil
}

// await waits until the stream has so many messages, and returns how many it has.
func (s *site) await(ctx context.Context, least int) (n int, err error) {
	stream, err := s.js.Stream(ctx, s.stream)
	if err != nil {
		return 0, err
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		info, err := stream.Info(ctx)
		if err != nil {
			return 0, err
		}
		if n = int(info.State.Msgs); n >= least {
			return n, nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return n, fmt.Errorf("bench: the stream has %d of %d messages: %w", n, least, context.Cause(ctx))
		}
	}
}

// parcel is what a message is about, 300 bytes of JSON. Number is its place among all.
type parcel struct {
	Number int
	Key    string
	Text   string
}

// keys is how many aggregates the messages are of, chosen by chance for each.
const keys = 10_000

const parcelSize = 300

// newParcel returns the key and the payload of a message.
func newParcel(number int) (key string, payload []byte) { return newParcelOf(number, keys) }

// newParcelOf is newParcel with another number of aggregates.
func newParcelOf(number, keys int) (key string, payload []byte) {
	x := uint64(number) * 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	p := parcel{Number: number, Key: accountID(int((x ^ x>>27) % uint64(keys)))}
	payload, _ = json.Marshal(p) // has nothing that can fail
	p.Text = strings.Repeat("m", parcelSize-len(payload))
	payload, _ = json.Marshal(p)
	return p.Key, payload
}

func parcelID(number int) string { return fmt.Sprintf("0197f2c4-0000-7000-8000-%012d", number) }

// delivered checks what a stream has got.
type delivered struct {
	seen    []bool
	count   int
	last    map[string]int
	ordered bool
}

func newDelivered(n int, ordered bool) *delivered {
	return &delivered{seen: make([]bool, n), last: make(map[string]int, keys), ordered: ordered}
}

func (d *delivered) add(payload []byte) error {
	var p parcel
	if err := json.Unmarshal(payload, &p); err != nil {
		return fmt.Errorf("bench: the stream has a message that is none: %w", err)
	}
	if p.Number < 0 || p.Number >= len(d.seen) || d.seen[p.Number] || len(payload) != parcelSize {
		return fmt.Errorf("bench: message %d was not enqueued so, or is in the stream twice", p.Number)
	}
	if before, known := d.last[p.Key]; d.ordered && known && before > p.Number {
		return fmt.Errorf("bench: of the key %s message %d came before %d", p.Key, before, p.Number)
	}
	d.seen[p.Number], d.last[p.Key] = true, p.Number
	d.count++
	return nil
}

// verify reads the stream: what it has was enqueued and is there once, those of a key
// in order where that is promised, and it has the least that was wanted, which may be
// all.
func (s *site) verify(ctx context.Context, enqueued, least int, ordered bool) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	stream, err := s.js.Stream(ctx, s.stream)
	if err != nil {
		return err
	}
	n := int(stream.CachedInfo().State.Msgs)
	if n < least || n > enqueued {
		return fmt.Errorf("bench: the stream has %d messages, want %d of %d", n, least, enqueued)
	}
	consumer, err := s.js.OrderedConsumer(ctx, s.stream, jetstream.OrderedConsumerConfig{})
	if err != nil {
		return err
	}
	all := newDelivered(enqueued, ordered)
	done := make(chan error, 1)
	var over atomic.Bool
	consuming, err := consumer.Consume(func(m jetstream.Msg) {
		if over.Load() {
			return
		}
		if err := all.add(m.Data()); err != nil || all.count == n {
			over.Store(true)
			done <- err
		}
	}, jetstream.PullMaxMessages(2000))
	if err != nil {
		return err
	}
	defer consuming.Stop()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("bench: reading the stream: %w", context.Cause(ctx))
	}
}
