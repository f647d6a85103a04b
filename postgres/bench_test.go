package postgres

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/uow-go/uow"
)

// BenchmarkUnit compares a unit with what one would write by hand with pgx: load a
// row of 300 bytes, change it with a check of its version, append a message of 300
// bytes, commit. The variants take turns of a second, and each iteration is a turn of
// each, so that -benchtime=3x means three seconds for each. UOW_BENCH names those to
// run, by parts of their names.
func BenchmarkUnit(b *testing.B) {
	for _, delay := range []time.Duration{0, time.Millisecond} {
		for _, callers := range []int{1, 8, 32, 256} {
			b.Run(fmt.Sprintf("delay=%v/callers=%d", delay, callers), func(b *testing.B) { benchmark(b, delay, callers) })
		}
	}
}

type variant struct {
	name      string
	unit      func(ctx context.Context, id string) error
	latencies []time.Duration
	rates     []float64
}

const benchRows = 4096

func benchmark(b *testing.B, delay time.Duration, callers int) {
	dsn := needServer(b)
	if delay > 0 {
		dsn = delayed(b, delay)
	}
	variants := append(byHand(b, dsn), benchOurs(b, dsn))
	variants = slices.DeleteFunc(variants, func(v *variant) bool {
		only := os.Getenv("UOW_BENCH")
		return only != "" && !slices.ContainsFunc(strings.Split(only, ","), func(part string) bool { return strings.Contains(v.name, part) })
	})
	for _, v := range variants { // connections and statements
		v.run(b, callers, 300*time.Millisecond)
		v.latencies, v.rates = nil, nil
	}
	b.ResetTimer()
	for b.Loop() {
		for _, v := range variants {
			v.run(b, callers, time.Second)
		}
	}
	for _, v := range variants {
		slices.Sort(v.rates)
		slices.Sort(v.latencies)
		b.ReportMetric(v.rates[len(v.rates)/2], v.name+"/s")
		b.ReportMetric(float64(v.latencies[len(v.latencies)*99/100])/1e6, v.name+"-p99-ms")
	}
	b.ReportMetric(0, "ns/op")
}

func (v *variant) run(b *testing.B, callers int, d time.Duration) {
	var wg sync.WaitGroup
	var mu sync.Mutex
	n, start := 0, time.Now()
	for g := range callers {
		wg.Go(func() {
			var latencies []time.Duration
			per := benchRows / callers
			for i := 0; ; i++ {
				began := time.Now()
				if began.Sub(start) > d {
					break
				}
				if err := v.unit(b.Context(), benchID(g*per+i%per)); err != nil {
					b.Error(v.name, err)
					return
				}
				latencies = append(latencies, time.Since(began))
			}
			mu.Lock()
			defer mu.Unlock()
			n += len(latencies)
			v.latencies = append(v.latencies, latencies...)
		})
	}
	wg.Wait()
	v.rates = append(v.rates, float64(n)/time.Since(start).Seconds())
}

type account struct {
	uow.Events
	ID      string
	Owner   string
	Balance int64
	Note    string
}

type moved struct{ Text string }

func benchID(i int) string { return fmt.Sprintf("account-%06d", i) }

func benchPayload() string { return strings.Repeat("m", 285) }

// benchOurs is the unit by this package.
func benchOurs(b *testing.B, dsn string) *variant {
	accounts := uow.NewCollection[account]("accounts")
	o := Options{Schema: newSchema(b), MaxConns: 32}
	db, err := o.Open(b.Context(), dsn, uow.Config{Collections: []uow.AnyCollection{accounts}})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { db.Close() })
	err = db.Do(b.Context(), func(_ context.Context, u *uow.Unit) error {
		for i := range benchRows {
			if err := accounts.In(u).Add(&account{ID: benchID(i), Owner: "owner@example.com", Note: strings.Repeat("n", 220)}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	text := benchPayload()
	return &variant{name: "uow", unit: func(ctx context.Context, id string) error {
		return db.Do(ctx, func(ctx context.Context, u *uow.Unit) error {
			a, err := accounts.In(u).Get(ctx, id)
			if err != nil {
				return err
			}
			a.Balance++
			a.Record(moved{text})
			return nil
		})
	}}
}

const (
	handRead   = `SELECT version, body FROM accounts WHERE id = $1`
	handUpdate = `UPDATE accounts SET version = version + 1, body = $3 WHERE id = $1 AND version = $2`
	handInsert = `INSERT INTO outbox (id, topic, key, created_at, payload) VALUES ($1, $2, $3, $4, $5)`
)

// byHand are units by pgx alone, with a pool as large as ours.
func byHand(b *testing.B, dsn string) []*variant {
	schema := newSchema(b)
	cfg, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		b.Fatal(err)
	}
	cfg.MaxConns = 32
	cfg.ConnConfig.RuntimeParams["search_path"] = schema
	pool, err := pgxpool.NewWithConfig(b.Context(), cfg)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(pool.Close)
	body := `{"ID":"x","Owner":"owner@example.com","Balance":0,"Note":"` + strings.Repeat("n", 220) + `"}`
	_, err = pool.Exec(b.Context(), `CREATE SCHEMA `+schema+`;
		CREATE TABLE accounts (id text COLLATE "C" PRIMARY KEY, version bigint NOT NULL, body json NOT NULL);
		CREATE TABLE outbox (position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, id text NOT NULL, topic text NOT NULL,
			key text NOT NULL, created_at timestamptz NOT NULL, payload bytea);
		INSERT INTO accounts SELECT 'account-' || lpad(i::text, 6, '0'), 1, '`+body+`' FROM generate_series(0, `+fmt.Sprint(benchRows)+`) i`,
		pgx.QueryExecModeSimpleProtocol)
	if err != nil {
		b.Fatal(err)
	}
	h := &hand{pool: pool, payload: []byte(`{"Text":"` + benchPayload() + `"}`)}
	return []*variant{{name: "five", unit: h.five}, {name: "two", unit: h.two}, {name: "cte", unit: h.cte}}
}

type hand struct {
	pool    *pgxpool.Pool
	payload []byte
}

// five is one statement at a time.
func (h *hand) five(ctx context.Context, id string) error {
	return pgx.BeginFunc(ctx, h.pool, func(tx pgx.Tx) error {
		var version int64
		var body []byte
		if err := tx.QueryRow(ctx, handRead, id).Scan(&version, &body); err != nil {
			return err
		}
		tag, err := tx.Exec(ctx, handUpdate, id, version, body)
		if err != nil || tag.RowsAffected() != 1 {
			return fmt.Errorf("conflict: %w", err)
		}
		_, err = tx.Exec(ctx, handInsert, id, "accounts", id, time.Now(), h.payload)
		return err
	})
}

// two is BEGIN with the read, and the writes with COMMIT.
func (h *hand) two(ctx context.Context, id string) error {
	c, err := h.pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer c.Release()
	var version int64
	var body []byte
	first := &pgx.Batch{}
	first.Queue("BEGIN")
	first.Queue(handRead, id).QueryRow(func(row pgx.Row) error { return row.Scan(&version, &body) })
	if err := c.SendBatch(ctx, first).Close(); err != nil {
		return err
	}
	second := &pgx.Batch{}
	second.Queue(handUpdate, id, version, body)
	second.Queue(handInsert, id, "accounts", id, time.Now(), h.payload)
	second.Queue("COMMIT")
	return c.SendBatch(ctx, second).Close()
}

// cte is a plain read, and then one statement.
func (h *hand) cte(ctx context.Context, id string) error {
	c, err := h.pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer c.Release()
	var version int64
	var body []byte
	if err := c.QueryRow(ctx, handRead, id).Scan(&version, &body); err != nil {
		return err
	}
	tag, err := c.Exec(ctx, `WITH w AS (UPDATE accounts SET version = version + 1, body = $3 WHERE id = $1 AND version = $2 RETURNING id)
		INSERT INTO outbox (id, topic, key, created_at, payload) SELECT id, $4, id, $5, $6 FROM w`, id, version, body, "accounts", time.Now(), h.payload)
	if err != nil || tag.RowsAffected() != 1 {
		return fmt.Errorf("conflict: %w", err)
	}
	return nil
}

// delayed returns the dsn of the server behind a network with this round trip.
func delayed(b *testing.B, trip time.Duration) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { l.Close() })
	to := address(b)
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", to)
			if err != nil {
				client.Close()
				return
			}
			go late(server, client, trip/2)
			go late(client, server, trip/2)
		}
	}()
	u, err := url.Parse(needServer(b))
	if err != nil {
		b.Skip("the dsn is no URL")
	}
	u.Host = l.Addr().String()
	return u.String()
}

// late forwards what it reads, a while later.
func late(to io.WriteCloser, from io.ReadCloser, by time.Duration) {
	defer to.Close()
	defer from.Close()
	type chunk struct {
		at   time.Time
		data []byte
	}
	chunks := make(chan chunk, 1024)
	go func() {
		defer close(chunks)
		for {
			data := make([]byte, 32<<10)
			n, err := from.Read(data)
			if err != nil {
				return
			}
			chunks <- chunk{time.Now().Add(by), data[:n]}
		}
	}()
	for c := range chunks {
		time.Sleep(time.Until(c.at))
		if _, err := to.Write(c.data); err != nil {
			return
		}
	}
}
