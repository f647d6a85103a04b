package tocsintest

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"
	"time"
)

// Answer is how a receiver answers a request.
type Answer string

// The answers.
const (
	OK      Answer = "200"
	Fail    Answer = "500"
	Refuse  Answer = "400"
	Silent  Answer = "nothing" // until the sender gives up
	Slow    Answer = "200 after SlowBy"
	Late    Answer = "200 too late" // when the sender has given up
	Dropped Answer = "closed"       // the connection, without an answer
)

// Good reports whether the receiver took what was sent.
func (a Answer) Good() bool { return a == OK || a == Slow || a == Late }

// SlowBy is how long a slow answer takes.
const SlowBy = 250 * time.Millisecond

// Request is what a receiver got.
type Request struct {
	Order   int // of arrival, from 0
	At      time.Time
	ID      string // the notification's, the same in each attempt
	Attempt int    // 0 when the sender did not say
	Header  http.Header
	Body    []byte
	// Answer is what it was answered, and Answered the number of requests that
	// had come when it was, -1 before.
	Answer   Answer
	Answered int
}

// Receiver is a webhook that keeps what it gets.
type Receiver struct {
	URL string

	mu       sync.Mutex
	requests []Request
	answer   func(Request) Answer
}

// NewReceiver starts a receiver that answers 200.
func NewReceiver(t testing.TB) *Receiver {
	t.Helper()
	r := &Receiver{answer: func(Request) Answer { return OK }}
	server := httptest.NewServer(r)
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	r.URL = server.URL
	return r
}

// AnswerBy makes the receiver ask fn, one request after the other.
func (r *Receiver) AnswerBy(fn func(Request) Answer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer = fn
}

// AnswerAll makes the receiver answer all requests so.
func (r *Receiver) AnswerAll(a Answer) { r.AnswerBy(func(Request) Answer { return a }) }

// Requests returns what has come, in the order of arrival.
func (r *Receiver) Requests() []Request {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]Request(nil), r.requests...)
}

func (r *Receiver) arrived(request Request) Request {
	r.mu.Lock()
	defer r.mu.Unlock()
	request.Order, request.At, request.Answered = len(r.requests), time.Now(), -1
	request.Answer = r.answer(request)
	r.requests = append(r.requests, request)
	return request
}

func (r *Receiver) answered(request Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.requests[request.Order].Answered = len(r.requests)
}

// ServeHTTP takes a notification.
func (r *Receiver) ServeHTTP(w http.ResponseWriter, hr *http.Request) {
	body, err := io.ReadAll(io.LimitReader(hr.Body, 1<<20))
	if err != nil {
		return // the sender died while it sent: nothing has come
	}
	number, _ := strconv.Atoi(hr.Header.Get(AttemptHeader)) // 0 when it is missing
	request := r.arrived(Request{ID: hr.Header.Get(IDHeader), Attempt: number, Header: hr.Header.Clone(), Body: body})
	switch request.Answer {
	case Silent:
		<-hr.Context().Done()
		return
	case Late:
		<-hr.Context().Done()
	case Slow:
		timer := time.NewTimer(SlowBy)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-hr.Context().Done():
		}
	case Dropped:
		if hijacker, ok := w.(http.Hijacker); ok {
			if conn, _, err := hijacker.Hijack(); err == nil {
				_ = conn.Close() // rudely
			}
		}
		return
	}
	r.answered(request) // before the sender can know it
	switch request.Answer {
	case Fail:
		w.WriteHeader(http.StatusInternalServerError)
	case Refuse:
		w.WriteHeader(http.StatusBadRequest)
	default:
		w.WriteHeader(http.StatusOK)
	}
}

// The headers that name a notification and count its attempts.
const (
	IDHeader      = "Idempotency-Key"
	AttemptHeader = "Tocsin-Attempt"
)
