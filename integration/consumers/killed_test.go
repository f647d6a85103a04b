package consumers_test

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// TestP24_KilledConsumers lets one process commit events and relay them, and another consume
// them, and kills one of them, or both, at moments of chance. In the end the effects are
// compared with the outbox, and the outbox with what was to be committed.
func TestP24_KilledConsumers(t *testing.T) {
	for _, kind := range []string{"nats", "rabbitmq", "redis", "kafka"} {
		t.Run(kind, func(t *testing.T) {
			seed := *seedFlag
			if seed == 0 {
				seed = rand.Uint64()
			}
			t.Logf("-seed %d", seed)
			newScene(t, findBroker(t, kind), rand.New(rand.NewPCG(seed, 0))).play()
		})
	}
}

// scene is a producer and a consumer, and what those before them have said.
type scene struct {
	*testing.T
	broker             broker
	chance             *rand.Rand
	bank, shop         string
	producer, consumer *process // nil while there is none
	producers          int      // how many there were

	last      int             // the last unit that was begun
	committed int             // the last unit that was said to be committed
	done      map[string]bool // events that were said to have their effect

	inUnits, inHandlers, again, gaps int
}

func newScene(t *testing.T, b broker, chance *rand.Rand) *scene {
	dir := t.TempDir()
	return &scene{
		T: t, broker: b, chance: chance, bank: filepath.Join(dir, "bank.db"), shop: filepath.Join(dir, "shop.db"),
		last: -1, committed: -1, done: map[string]bool{},
	}
}

// play kills the consumer, the producer, and both, again and again; then nobody is killed
// any more, and all comes to its end.
func (s *scene) play() {
	share := max(units/(*rounds+1), 2) // of the units, for each round; two have an event
	first := s.chance.IntN(3)
	for round := range *rounds {
		s.startMissing()
		s.producer.grant(s.T, share)
		more := 1 + s.chance.IntN(share-(share+4)/5)
		victims := (first + round) % 3
		if victims == 1 || victims == 2 && s.chance.IntN(2) == 0 {
			s.producer.until(s.T, "the producer", heard(s.producer, more, s.allProduced))
		} else {
			s.consumer.until(s.T, "the consumer", heard(s.consumer, more, s.allDone))
		}
		if victims != 0 {
			s.endProducer(os.Kill)
		}
		if victims != 1 {
			s.endConsumer(os.Kill)
		}
	}
	s.startMissing()
	s.producer.grant(s.T, units)
	s.producer.until(s.T, "the producer", s.allProduced)
	s.consumer.until(s.T, "the consumer", s.allDone)
	s.endConsumer(syscall.SIGTERM)
	s.endProducer(syscall.SIGTERM)
	s.Logf("%d rounds: producers died in %d units, consumers in %d handlers; %d events came again, %d too early",
		*rounds, s.inUnits, s.inHandlers, s.again, s.gaps)
	if s.gaps > 0 {
		s.Errorf("events came before those that they follow %d times, with one consumer", s.gaps) // which every broker promises
	}
	compare(s.T, s.bank, s.shop)
}

// startMissing starts what was killed.
func (s *scene) startMissing() {
	if s.producer == nil {
		s.producer = start(s.T, s.broker, "produce", s.bank)
		s.producer.until(s.T, "the producer", func(said []string) bool { return len(said) > 0 }) // it makes what is consumed
		s.producers++
	}
	if s.consumer == nil {
		s.consumer = start(s.T, s.broker, "consume", s.shop)
	}
}

// heard is when a process has said so many more lines than now, or there is no more to say.
func heard(p *process, more int, all func(said []string) bool) func(said []string) bool {
	more += len(p.lines())
	return func(said []string) bool { return len(said) >= more || all(said) }
}

func (s *scene) allProduced(said []string) bool { return slices.Contains(said, "produced") }

// allDone is when each event has had its effect, as this consumer and those before it say.
func (s *scene) allDone(said []string) bool {
	fresh := map[string]bool{}
	for _, line := range said {
		if id, ok := strings.CutPrefix(line, "done "); ok && !s.done[id] {
			fresh[id] = true
		}
	}
	return len(s.done)+len(fresh) >= events
}

// endProducer ends the producer. What it has said to be committed must be there for the
// next, and nothing else that was not begun.
func (s *scene) endProducer(by os.Signal) {
	s.producer.end(s.T, by)
	open := false
	for _, line := range s.producer.lines() {
		what, which, _ := strings.Cut(line, " ")
		n, _ := strconv.Atoi(which)
		switch what {
		case "resumes":
			if n <= s.committed || n > s.last+1 {
				s.Errorf("producer %d goes on with unit %d; before it %d was committed last, and %d begun", s.producers, n, s.committed, s.last)
			}
		case "begun":
			s.last, open = n, true
		case "committed":
			s.committed, open = n, false
		case "undone":
			open = false
		case "parked": // none may be, nor out of its stream
			s.Errorf("an event was not published: %s", which)
		}
	}
	if s.producer = nil; open {
		s.inUnits++
	}
}

// endConsumer ends the consumer, and counts what it has said.
func (s *scene) endConsumer(by os.Signal) {
	s.consumer.end(s.T, by)
	open := map[string]bool{}
	for _, line := range s.consumer.lines() {
		what, id, _ := strings.Cut(line, " ")
		switch what {
		case "handling":
			open[id] = true
		case "done":
			delete(open, id)
			if s.done[id] {
				s.again++
			}
			s.done[id] = true
		case "gap":
			s.gaps++
		case "failed":
			s.Errorf("an event was refused: %s", id)
		}
	}
	s.consumer = nil
	s.inHandlers += len(open)
}
