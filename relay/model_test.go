package relay_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/uow-go/uow/outbox"
	"github.com/uow-go/uow/relay"
)

// TestP21_RandomFaults lets relays live, die and be replaced while the log, the
// destination and the operator do what they want, and then checks what the
// protocol promises.
func TestP21_RandomFaults(t *testing.T) {
	seeds := uint64(100)
	if testing.Short() {
		seeds = 20
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { newModel(t, seed).check() })
		})
	}
}

var errFault = errors.New("fault")

// model is a fixture in which things go wrong.
type model struct {
	*fixture
	mu     sync.Mutex
	random *rand.Rand
	// calm is whether nothing goes wrong any more.
	calm atomic.Bool
	keys []string
}

func newModel(t *testing.T, seed uint64) *model {
	m := &model{fixture: newFixture(t), random: rand.New(rand.NewPCG(seed, 1))}
	m.keys = []string{"a", "b", "c", "d", "e", ""}[6-m.intn(6)-1:]
	return m
}

func (m *model) intn(n int) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.random.IntN(n)
}

// percent is true in so many of 100 cases, while things go wrong.
func (m *model) percent(n int) bool { return !m.calm.Load() && m.intn(100) < n }

func (m *model) upTo(d time.Duration) time.Duration { return time.Duration(m.intn(int(d))) }

// process is a relay's process, which can die.
type process struct {
	*model
	dead atomic.Bool
	run  *running
}

func (m *model) startProcess() *process {
	p := &process{model: m}
	cfg := relay.Config{
		Log:            &faultyLog{Log: m.log, fault: p.fault},
		Publisher:      relay.Each(p.receive, 1+m.intn(4)),
		BatchSize:      1 + m.intn(12),
		Retries:        1 + m.intn(3),
		PublishTimeout: 20 * time.Second,
		DrainTimeout:   time.Second,
		MaxAttempts:    4 + m.intn(8),
		Backoff:        relay.Backoff{Min: 100 * time.Millisecond, Max: 20 * time.Second},
	}
	p.run = m.fixture.run(cfg)
	return p
}

func (p *process) fault(operation string) (before, after error) {
	switch {
	case p.dead.Load(), p.percent(4):
		return errFault, nil
	case p.percent(4):
		return nil, errFault
	}
	return nil, nil
}

// die ends the process without a chance to say anything.
func (p *process) die() {
	p.dead.Store(true)
	p.run.cancel()
	<-p.run.ended
}

// receive is the destination, and the network before it.
func (p *process) receive(ctx context.Context, m outbox.Message) relay.Result {
	if p.percent(30) {
		sleep(p.upTo(3 * time.Second))
	}
	if p.percent(3) {
		<-ctx.Done()
	}
	unknown := relay.Result{Outcome: relay.Unknown, Err: errFault}
	switch {
	case p.dead.Load(), p.percent(5):
		return unknown
	case p.percent(8):
		p.to.store(m)
		return unknown
	case p.percent(8):
		return relay.Result{Outcome: relay.Retry, Err: errFault, After: p.upTo(time.Second)}
	case p.percent(2):
		panic("fault")
	case p.percent(2):
		return relay.Result{Outcome: relay.Refused, Err: errFault}
	case p.percent(2):
		return relay.Result{Outcome: relay.Unavailable, Err: errFault}
	}
	p.to.store(m)
	return relay.Result{Outcome: relay.Stored}
}

// write commits messages, several in a unit, of changing keys.
func (m *model) write(units int) {
	for range units {
		keys := make([]string, 1+m.intn(4))
		for i := range keys {
			keys[i] = m.keys[m.intn(len(m.keys))]
		}
		m.commit(keys...)
		sleep(m.upTo(2 * time.Second))
	}
}

// redrive makes parked messages due again, each in so many of 100 cases.
func (m *model) redrive(percent int) {
	var chosen []int64
	for _, position := range m.positions(outbox.Parked) {
		if m.intn(100) < percent {
			chosen = append(chosen, position)
		}
	}
	if _, err := m.log.Redrive(context.Background(), "default", chosen); err != nil {
		m.t.Error(err)
	}
}

// check lives through all of it.
func (m *model) check() {
	var writer sync.WaitGroup
	writer.Go(func() { m.write(60) })
	p := m.startProcess()
	for range 12 {
		pass(m.upTo(20 * time.Second))
		m.checkOrder()
		switch m.intn(5) {
		case 0:
			p.die()
			p = m.startProcess()
		case 1:
			p.run.cancel()
			<-p.run.ended // it may fail to drain
			p = m.startProcess()
		case 2: // the old one goes on until it is fenced
			p = m.startProcess()
		case 3:
			m.redrive(50)
		}
	}
	writer.Wait()
	m.calm.Store(true)
	p.die()
	p = m.startProcess()
	pass(20 * time.Minute)
	m.checkOrder()
	m.checkNothingIsMissing()
	m.redrive(100)
	p.run.Wake()
	pass(20 * time.Minute)
	m.checkAllIsDelivered()
	p.run.stop()
}

// checkOrder checks that each key's messages arrived in commit order, without a
// gap. Those that arrived again do not count.
func (m *model) checkOrder() {
	m.t.Helper()
	for _, key := range m.keys {
		if numbers := m.to.numbers(key); key != "" {
			wantOrder(m.t, key, numbers, len(numbers))
		}
	}
}

// checkNothingIsMissing checks that what has not arrived is parked, or behind a
// parked message of its key.
func (m *model) checkNothingIsMissing() {
	m.t.Helper()
	held := map[string]int{}
	parked := map[string]bool{}
	for _, h := range m.held(outbox.HeldFilter{}) {
		held[h.Key]++
		parked[h.Key] = parked[h.Key] || h.State == outbox.Parked
		if h.State == outbox.Retrying || h.State == outbox.Waiting && !parked[h.Key] {
			m.t.Errorf("%s is still %s long after the last fault", h.Message.ID, h.State)
		}
	}
	for _, key := range m.keys {
		if missing := m.next[key] - len(m.to.numbers(key)); missing > held[key] {
			m.t.Errorf("key %q: %d messages have not arrived, but %d are held", key, missing, held[key])
		}
	}
}

func (m *model) checkAllIsDelivered() {
	m.t.Helper()
	if held := m.held(outbox.HeldFilter{}); len(held) != 0 {
		m.t.Errorf("%d messages are held after all was redriven", len(held))
	}
	for _, key := range m.keys {
		numbers := m.to.numbers(key)
		slices.Sort(numbers) // those without a key have no order
		wantOrder(m.t, fmt.Sprintf("key %q", key), numbers, m.next[key])
	}
	m.checkOrder()
}
