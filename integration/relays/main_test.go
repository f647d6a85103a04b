package relays_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/integration/internal/servers"
	"github.com/uow-go/uow/mysql"
	"github.com/uow-go/uow/outbox"
	"github.com/uow-go/uow/postgres"
	"github.com/uow-go/uow/relay"
	"github.com/uow-go/uow/sqlite"
)

var (
	local servers.Local

	seedFlag = flag.Uint64("seed", 0, "the seed of chance; 0 for a new one")
	rounds   = flag.Int("rounds", 200, "how often TestAllDieByTurns kills or stops a process, of all stores together")
)

// child are the variables of a process that is a relay, or an application: which of
// them, store and place of the database, the receiver's URL, and the lease of a relay or
// the number of an application.
const child = "UOW_RELAYS_CHILD"

func TestMain(m *testing.M) {
	if args := os.Getenv(child); args != "" {
		be := beApplication
		what, args, _ := strings.Cut(args, "\n")
		if what == "relay" {
			be = beRelay
		}
		if err := be(strings.Split(args, "\n")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	code := m.Run()
	local.Close()
	os.Exit(code)
}

// open opens a database with collections.
func open(ctx context.Context, store, place string, collections ...uow.AnyCollection) (*uow.DB, error) {
	cfg := uow.Config{Collections: collections}
	switch store {
	case "postgres":
		dsn, schema, _ := strings.Cut(place, "|")
		return postgres.Options{Schema: schema}.Open(ctx, dsn, cfg)
	case "mysql":
		return mysql.Open(ctx, place, cfg)
	case "sqlite":
		return sqlite.Open(ctx, place, cfg)
	}
	return nil, fmt.Errorf("there is no store %q", store)
}

// beRelay is what a child does, until it is told to stop.
func beRelay(args []string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	db, err := open(ctx, args[0], args[1])
	if err != nil {
		return err
	}
	defer db.Close()
	log, err := outbox.Of(db)
	if err != nil {
		return err
	}
	lease, err := time.ParseDuration(args[3])
	if err != nil {
		return err
	}
	var disorder error
	r, err := relay.New(relay.Config{
		Observer: onDisorder(func(d relay.Disorder) { disorder = errorOf(d); stop() }),
		Log:      log, Partitions: partitions, Lease: lease, BatchSize: 20, PollInterval: 50 * time.Millisecond, DrainTimeout: 5 * time.Second,
		PublishTimeout: 5 * time.Second, Backoff: relay.Backoff{Min: 20 * time.Millisecond, Max: 100 * time.Millisecond}, MaxAttempts: -1,
		Publisher: relay.Each(func(ctx context.Context, m outbox.Message) relay.Result { return post(ctx, args[2], m) }, 4),
	})
	if err != nil {
		return err
	}
	return errors.Join(r.Run(ctx), disorder)
}

// onDisorder is an observer that is told of streams that are not in order.
type onDisorder func(relay.Disorder)

func (onDisorder) Delivered(outbox.Message, time.Duration)  {}
func (onDisorder) Failed(outbox.Message, int, relay.Result) {}
func (onDisorder) Parked(outbox.Message, string)            {}
func (f onDisorder) Disordered(d relay.Disorder)            { f(d) }

func errorOf(d relay.Disorder) error {
	return fmt.Errorf("number %d of %s comes after %d", d.Message.Sequence, d.Message.Key, d.Last)
}

const partitions = 8

func post(ctx context.Context, url string, m outbox.Message) relay.Result {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(m.Payload))
	if err != nil {
		return relay.Result{Outcome: relay.Refused, Err: err}
	}
	request.Header.Set("Id", m.ID)
	request.Header.Set("Key", m.Key)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return relay.Result{Outcome: relay.Unknown, Err: err}
	}
	_, err = io.Copy(io.Discard, response.Body)
	if err = errors.Join(err, response.Body.Close()); err != nil || response.StatusCode != http.StatusOK {
		return relay.Result{Outcome: relay.Retry, Err: errors.Join(err, errors.New(response.Status))}
	}
	return relay.Result{Outcome: relay.Stored}
}
