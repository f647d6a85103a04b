package bench

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
)

// riverJob publishes one message.
type riverJob struct {
	ID      string `json:"id"`
	Subject string `json:"subject"`
	Payload string `json:"payload"`
}

// Kind implements river.JobArgs.
func (riverJob) Kind() string { return "publish" }

type riverWorker struct {
	river.WorkerDefaults[riverJob]
	js jetstream.JetStream
}

// Work implements river.Worker.
func (w *riverWorker) Work(ctx context.Context, job *river.Job[riverJob]) error {
	m := &nats.Msg{Subject: job.Args.Subject, Data: []byte(job.Args.Payload), Header: nats.Header{nats.MsgIdHdr: {job.Args.ID}}}
	_, err := w.js.PublishMsg(ctx, m)
	return err
}

// riverDrain is River with a job for each message, which promises no order.
func riverDrain(name string, share float64, tuned bool) drain {
	return drain{name: name, share: share,
		open: func(ctx context.Context, s *site, n int) (func(context.Context) error, func() error, error) {
			pool, err := newPool(ctx, s.where)
			if err != nil {
				return nil, nil, err
			}
			end := func() error { pool.Close(); return nil }
			workers := river.NewWorkers()
			river.AddWorker(workers, &riverWorker{js: s.js})
			config := &river.Config{
				Queues: map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: 100}}, Workers: workers, Logger: slog.New(slog.DiscardHandler),
			}
			if tuned {
				config.Queues[river.QueueDefault] = river.QueueConfig{MaxWorkers: 2000}
				config.FetchCooldown, config.FetchPollInterval = 5*time.Millisecond, 50*time.Millisecond
			}
			client, err := newRiver(ctx, riverpgxv5.New(pool), config, s.stream, n)
			if err != nil {
				return nil, nil, errors.Join(err, end())
			}
			return func(ctx context.Context) error {
				if err := client.Start(context.WithoutCancel(ctx)); err != nil {
					return err
				}
				<-ctx.Done()
				return client.Stop(context.WithoutCancel(ctx))
			}, end, nil
		}}
}

// newRiver makes River's tables, and lets n jobs wait.
func newRiver(ctx context.Context, driver *riverpgxv5.Driver, config *river.Config, subject string, n int) (*river.Client[pgx.Tx], error) {
	migrator, err := rivermigrate.New(driver, &rivermigrate.Config{Logger: config.Logger})
	if err != nil {
		return nil, err
	}
	if _, err := migrator.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
		return nil, err
	}
	client, err := river.NewClient(driver, config)
	if err != nil {
		return nil, err
	}
	const chunk = 1000
	for from := 0; from < n; from += chunk {
		var jobs []river.InsertManyParams
		for i := from; i < min(from+chunk, n); i++ {
			_, payload := newParcel(i)
			jobs = append(jobs, river.InsertManyParams{Args: riverJob{ID: parcelID(i), Subject: subject, Payload: string(payload)}})
		}
		if _, err := client.InsertManyFast(ctx, jobs); err != nil {
			return nil, err
		}
	}
	return client, nil
}
