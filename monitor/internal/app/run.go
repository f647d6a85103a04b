package app

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/uow-go/uow/monitor/internal/application"
)

// retentionInterval is how often old history is looked for.
const retentionInterval = time.Hour

// Run serves until ctx ends, and returns when everything is closed. It stops in
// this order: no new evaluations, then deliveries, each completed or rolled back,
// then the page, the samples and the database. A part that fails ends all others.
func (a *App) Run(ctx context.Context) (err error) {
	defer func() { err = errors.Join(err, a.close()) }()
	asked := ctx
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)

	serving, stopServing := context.WithCancel(context.WithoutCancel(ctx))
	delivering, stopDelivering := context.WithCancel(context.WithoutCancel(ctx))
	var servers, deliverers sync.WaitGroup
	defer servers.Wait()
	defer stopServing()

	part := func(wg *sync.WaitGroup, ctx context.Context, name string, run func(context.Context) error) {
		wg.Go(func() {
			if err := run(ctx); err != nil && ctx.Err() == nil {
				stop(fmt.Errorf("tocsin: %s: %w", name, err))
			}
		})
	}
	part(&servers, serving, "page", func(ctx context.Context) error { return a.server.Serve(ctx, a.listener) })
	part(&servers, serving, "scraping", a.metrics.Run)
	for _, d := range a.dests {
		part(&deliverers, delivering, "destination "+d.name, d.relay.Run)
	}
	for _, l := range a.leases {
		deliverers.Go(func() { l.Run(delivering) })
	}
	deliverers.Go(func() { a.retain(delivering) })

	a.evaluate(ctx)
	stopDelivering()
	deliverers.Wait()
	if asked.Err() != nil {
		return nil
	}
	return context.Cause(ctx)
}

// evaluate runs the scheduler until ctx ends, anew after each reload.
func (a *App) evaluate(ctx context.Context) {
	for ctx.Err() == nil {
		cfg := a.cfg.Load()
		groups := evaluationGroups(cfg, a.metrics)
		round, end := context.WithCancel(ctx)
		scheduler := application.Scheduler{
			Evaluate:  a.evaluator.Evaluate,
			Ready:     func(ctx context.Context, _ application.Group) error { return a.metrics.WaitFirstScrape(ctx) },
			Committed: a.status.committed,
			Observer:  observer{a.telemetry, a.status, a.hub},
			Logger:    a.opts.Logger,
			Clock:     time.Now,
		}
		var running sync.WaitGroup
		running.Go(func() { a.reconcile(round, groups) })
		running.Go(func() { scheduler.Run(round, groups) })
		running.Go(func() { a.announceReady(round) })
		select {
		case <-ctx.Done():
		case <-a.reloaded:
		}
		end()
		running.Wait()
	}
}

func (a *App) announceReady(ctx context.Context) {
	if a.metrics.WaitFirstScrape(ctx) == nil {
		a.ready.Store(true)
	}
}

// reconcile ends the alerts of groups that are gone, and tries until it could.
func (a *App) reconcile(ctx context.Context, groups []application.Group) {
	ids := make([]string, len(groups))
	for i, g := range groups {
		ids[i] = g.ID
	}
	// Again from time to time, to forget what was ended when its time is over.
	a.every(ctx, time.Minute, "alerts of removed groups", func(ctx context.Context) error {
		return a.evaluator.Reconcile(ctx, ids, time.Now())
	})
}

func (a *App) retain(ctx context.Context) {
	r := application.Retention{
		DB: a.db, State: a.state, Clock: time.Now,
		Keep: time.Duration(a.cfg.Load().Retention.History),
	}
	a.every(ctx, retentionInterval, "old history", func(ctx context.Context) error {
		_, err := r.Run(ctx)
		return err
	})
}

// every does something now and after each interval until ctx ends. What fails is
// logged, and done again after the interval or a minute.
func (a *App) every(ctx context.Context, interval time.Duration, what string, do func(context.Context) error) {
	for {
		wait := interval
		if err := do(ctx); err != nil && ctx.Err() == nil {
			a.opts.Logger.Error("could not be tidied up, and will be tried again", "what", what, "error", err)
			wait = min(wait, time.Minute)
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}

// Reload reads the configuration again and takes it: targets, rules. When it is
// wrong the old one stays, and the error says why. Destinations, retention and
// on_gap are taken at the next start; Reload warns when they differ.
func (a *App) Reload(context.Context) error {
	a.reloading.Lock()
	defer a.reloading.Unlock()
	cfg, err := a.readConfig()
	if err != nil {
		return err
	}
	old := a.cfg.Load()
	if !sameDestinations(cfg, old) {
		a.opts.Logger.Warn("changes of destinations, retention and on_gap are taken at the next start")
	}
	if err := a.metrics.Apply(cfg); err != nil {
		return errors.Join(err, a.metrics.Apply(old))
	}
	a.cfg.Store(cfg)
	select {
	case a.reloaded <- struct{}{}:
	default:
	}
	a.opts.Logger.Info("configuration loaded", "groups", len(cfg.Groups), "scrape_configs", len(cfg.ScrapeConfigs))
	return nil
}
