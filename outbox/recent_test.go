package outbox_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/uow-go/uow/outbox"
)

// add adds messages at positions.
func add(r *outbox.Recent, positions ...int64) {
	messages := make([]outbox.Message, len(positions))
	for i, at := range positions {
		topic := "odd"
		if at%2 == 0 {
			topic = "even"
		}
		messages[i] = outbox.Message{Position: at, ID: fmt.Sprint(at), Key: fmt.Sprint(at), Topic: topic}
	}
	r.Add(messages)
}

// scan describes what a scan returns.
func scan(r *outbox.Recent, q outbox.Query) string {
	q.Recent = true
	if q.Limit == 0 {
		q.Limit = 10
	}
	messages, next, ok := r.Scan(q)
	if !ok {
		if len(messages) > 0 || next != q.After {
			return "not ok, with something"
		}
		return "ask the log"
	}
	ids := make([]string, len(messages))
	for i, m := range messages {
		ids[i] = m.ID
	}
	return fmt.Sprintf("%s|%d", strings.Join(ids, " "), next)
}

func want(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %q, want %q", what, got, want)
	}
}

func TestP22_RecentHasNoGaps(t *testing.T) {
	r := &outbox.Recent{}
	want(t, "nothing was added", scan(r, outbox.Query{}), "ask the log")
	add(r, 5, 6)
	want(t, "what comes before is not known", scan(r, outbox.Query{After: 3}), "ask the log")
	want(t, "both", scan(r, outbox.Query{After: 4}), "5 6|6")
	want(t, "the second", scan(r, outbox.Query{After: 5}), "6|6")
	want(t, "nothing is newer", scan(r, outbox.Query{After: 6}), "|6")
	want(t, "others have appended", scan(r, outbox.Query{After: 7}), "ask the log")
	add(r, 8)
	want(t, "a gap is ahead", scan(r, outbox.Query{After: 4}), "ask the log")
	want(t, "behind the gap", scan(r, outbox.Query{After: 7}), "8|8")
	add(r, 7)
	want(t, "the gap is closed", scan(r, outbox.Query{After: 4}), "5 6 7 8|8")
	want(t, "fewer than there are", scan(r, outbox.Query{After: 4, Limit: 2}), "5 6|6")
	want(t, "a topic", scan(r, outbox.Query{After: 4, Topics: []string{"even"}}), "6 8|8")
	for part := range 3 {
		var inIt []string
		for _, id := range []string{"5", "6", "7", "8"} {
			if outbox.Partition(id, id, 3) == part {
				inIt = append(inIt, id)
			}
		}
		query := outbox.Query{After: 4, Share: outbox.Share{Of: 3, Partitions: []int{part}}}
		want(t, fmt.Sprint("partition ", part), scan(r, query), strings.Join(inIt, " ")+"|8")
	}
	if _, _, ok := r.Scan(outbox.Query{After: 4, Limit: 10}); ok {
		t.Error("a query that asks for the log was answered from memory")
	}
}

func TestRecentIsBounded(t *testing.T) {
	r := &outbox.Recent{}
	for at := int64(1); at <= 10_000; at++ {
		add(r, at)
	}
	want(t, "what was long ago", scan(r, outbox.Query{After: 5_000}), "ask the log")
	want(t, "what is new", scan(r, outbox.Query{After: 9_998}), "9999 10000|10000")
	r.Add([]outbox.Message{{Position: 10_001, Payload: make([]byte, 5<<20)}})
	want(t, "what is very large", scan(r, outbox.Query{After: 10_000}), "ask the log")
	add(r, 10_002)
	want(t, "behind it", scan(r, outbox.Query{After: 10_001}), "10002|10002")
	for at := int64(10_003); at <= 10_020; at++ {
		r.Add([]outbox.Message{{Position: at, ID: fmt.Sprint(at), Payload: make([]byte, 1<<20)}})
	}
	want(t, "more than may be kept", scan(r, outbox.Query{After: 10_002, Limit: 100}), "ask the log")
	want(t, "the last of it", scan(r, outbox.Query{After: 10_019}), "10020|10020")
}

func TestRecentGetsOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &outbox.Recent{}
		add(r, 1)
		time.Sleep(700 * time.Millisecond)
		add(r, 2)
		want(t, "both are new", scan(r, outbox.Query{}), "1 2|2")
		time.Sleep(700 * time.Millisecond)
		want(t, "one is old", scan(r, outbox.Query{}), "ask the log")
		want(t, "one is new", scan(r, outbox.Query{After: 1}), "2|2")
	})
}

func TestRecentKeepsCopies(t *testing.T) {
	r := &outbox.Recent{}
	given := outbox.Message{Position: 1, Payload: []byte("payload"), Headers: map[string]string{"a": "1"}}
	r.Add([]outbox.Message{given})
	given.Payload[0], given.Headers["a"] = 'X', "changed by the caller"
	for range 2 {
		got, _, _ := r.Scan(outbox.Query{Recent: true, Limit: 1})
		if len(got) != 1 || string(got[0].Payload) != "payload" || got[0].Headers["a"] != "1" {
			t.Fatalf("got %+v", got)
		}
		got[0].Payload[0], got[0].Headers["a"] = 'Y', "changed by a reader"
	}
}
