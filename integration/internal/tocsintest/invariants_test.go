package tocsintest_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/uow-go/uow/integration/internal/tocsintest"
)

// story is what tocsin committed and what the receiver "hook" got.
type story struct {
	history  tocsintest.History
	requests []tocsintest.Request
}

// good is the story of one alert that fired and resolved. The first attempt of
// the first notification failed.
func good() *story {
	slot := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	s := &story{history: tocsintest.History{
		Transitions: []tocsintest.Transition{
			{ID: "a#1", Alert: "a", Episode: 1, Number: 1, Kind: "pending", From: "inactive", To: "pending", Slot: slot},
			{ID: "a#2", Alert: "a", Episode: 1, Number: 2, Kind: "firing", From: "pending", To: "firing", Slot: slot.Add(1), FiredAt: slot},
			{ID: "a#3", Alert: "a", Episode: 1, Number: 3, Kind: "resolved", From: "firing", To: "inactive", Slot: slot.Add(2), FiredAt: slot},
		},
		Deliveries: []tocsintest.Delivery{
			{ID: "n2", Transition: "a#2", Alert: "a", Destination: "hook", Number: 2, State: "delivered", Attempts: 2},
			{ID: "n3", Transition: "a#3", Alert: "a", Destination: "hook", Number: 3, State: "delivered", Attempts: 1},
		},
		Alerts: []tocsintest.Alert{{ID: "a", State: "inactive", Changes: 3}},
	}}
	s.came("n2", 1, tocsintest.Fail, "retry")
	s.came("n2", 2, tocsintest.OK, "delivered")
	s.came("n3", 1, tocsintest.OK, "delivered")
	return s
}

// came adds a request that was answered before the next one came, and its line
// of the ledger.
func (s *story) came(id string, attempt int, answer tocsintest.Answer, outcome string) {
	order := len(s.requests)
	s.requests = append(s.requests, tocsintest.Request{
		Order: order, ID: id, Attempt: attempt, Answer: answer, Answered: order + 1,
	})
	if outcome != "" {
		s.history.Attempts = append(s.history.Attempts, tocsintest.Attempt{
			ID: fmt.Sprintf("%s/%d", id, attempt), Notification: id, Number: attempt,
			Destination: "hook", Outcome: outcome,
			StartedAt: time.Unix(int64(order), 0), FinishedAt: time.Unix(int64(order), 1),
		})
	}
}

func (s *story) check() []string {
	return tocsintest.Check(s.history, map[string][]tocsintest.Request{"hook": s.requests})
}

func TestCheckAcceptsAGoodStory(t *testing.T) {
	if problems := good().check(); len(problems) > 0 {
		t.Errorf("problems: %s", strings.Join(problems, "\n"))
	}
}

func TestCheckFindsWhatIsWrong(t *testing.T) {
	for name, test := range map[string]struct {
		spoil func(s *story)
		want  string
	}{
		"a notification that never came": {func(s *story) { s.requests = s.requests[:2] }, "never answered notification n3"},
		"one that was only refused":      {func(s *story) { s.requests[2].Answer = tocsintest.Fail }, "never answered notification n3"},
		"one that nobody committed":      {func(s *story) { s.came("n9", 1, tocsintest.OK, "") }, "never committed"},
		"one for somebody else":          {func(s *story) { s.history.Deliveries[1].Destination = "other" }, "never committed for it"},
		"the wrong order": {func(s *story) {
			s.requests = nil
			s.came("n3", 1, tocsintest.OK, "")
			s.came("n2", 1, tocsintest.Fail, "")
			s.came("n2", 2, tocsintest.OK, "")
		}, "in the order 3 2"},
		"the next one too early": {func(s *story) { s.requests[1].Answered = 3 }, "before 2 was answered well"},
		"two notifications of one transition": {func(s *story) {
			s.history.Deliveries = append(s.history.Deliveries, tocsintest.Delivery{
				ID: "n4", Transition: "a#3", Alert: "a", Destination: "hook", Number: 3, State: "delivered",
			})
		}, "has two notifications"},
		"a transition without a notification": {func(s *story) { s.history.Deliveries = s.history.Deliveries[:1] }, "has no notification"},
		"a notification without a transition": {func(s *story) { s.history.Deliveries[0].Transition = "a#7" }, "no transition to tell of"},
		"one that is not delivered":           {func(s *story) { s.history.Deliveries[1].State = "undelivered" }, "is undelivered"},
		"an attempt without an end":           {func(s *story) { s.history.Attempts[1].Outcome = "" }, "never completed"},
		"an attempt without a line":           {func(s *story) { s.history.Attempts = s.history.Attempts[1:] }, "not in the ledger"},
		"an attempt that came twice":          {func(s *story) { s.came("n3", 1, tocsintest.OK, "") }, "came twice"},
		"an attempt that never came": {func(s *story) {
			s.history.Deliveries[1].Attempts = 2
			s.came("n3", 2, tocsintest.OK, "delivered")
			s.requests = s.requests[:3]
		}, "never came"},
		"a ledger that says otherwise":      {func(s *story) { s.history.Attempts[0].Outcome = "delivered" }, "the ledger says delivered"},
		"a ledger in the wrong order":       {func(s *story) { s.history.Attempts[2].StartedAt = time.Unix(0, 0) }, "before n2 was delivered"},
		"a count that is wrong":             {func(s *story) { s.history.Deliveries[0].Attempts = 3 }, "counts 3 attempts"},
		"a firing that is lost":             {func(s *story) { s.history.Transitions[2].From = "inactive" }, "the one before ended as"},
		"two that fire one after the other": {func(s *story) { s.history.Transitions[2].Kind = "firing" }, "is of kind firing"},
		"a number given twice":              {func(s *story) { s.history.Transitions[2].Number = 2 }, "has number 2 after 2"},
		"a state nobody was told of":        {func(s *story) { s.history.Alerts[0].State = "firing" }, "alert a is firing"},
		"a kind that is unknown":            {func(s *story) { s.history.Transitions[0].Kind = "odd" }, "is of kind odd"},
	} {
		t.Run(name, func(t *testing.T) {
			s := good()
			test.spoil(s)
			if problems := strings.Join(s.check(), "\n"); !strings.Contains(problems, test.want) {
				t.Errorf("found %q, want something with %q", problems, test.want)
			}
		})
	}
}
