package tocsintest_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/uow-go/uow/integration/internal/tocsintest"
)

// post sends one notification and returns the status, 0 when there was none.
func post(t *testing.T, r *tocsintest.Receiver, id, attempt string, timeout time.Duration) int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, r.URL, strings.NewReader(`{"a":1}`))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set(tocsintest.AttemptHeader, attempt)
	request.Header[strings.ToLower(tocsintest.IDHeader)] = []string{id}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0
	}
	response.Body.Close()
	return response.StatusCode
}

func TestReceiverKeepsAndAnswers(t *testing.T) {
	r := tocsintest.NewReceiver(t)
	for answer, want := range map[tocsintest.Answer]int{
		tocsintest.OK: 200, tocsintest.Slow: 200, tocsintest.Fail: 500, tocsintest.Refuse: 400, tocsintest.Dropped: 0,
	} {
		r.AnswerAll(answer)
		before := len(r.Requests())
		if got := post(t, r, "some-id", "3", time.Minute); got != want {
			t.Errorf("%s: status %d, want %d", answer, got, want)
		}
		requests := r.Requests()[before:]
		if len(requests) != 1 {
			t.Fatalf("%s: %d requests, want 1", answer, len(requests))
		}
		got := requests[0]
		if got.ID != "some-id" || got.Attempt != 3 || string(got.Body) != `{"a":1}` || got.Answer != answer {
			t.Errorf("%s: kept %+v", answer, got)
		}
		if answered := got.Answered >= 0; answered != (want != 0) {
			t.Errorf("%s: answered after %d requests", answer, got.Answered)
		}
	}
}

func TestReceiverThatDoesNotAnswerInTime(t *testing.T) {
	for answer, taken := range map[tocsintest.Answer]bool{tocsintest.Silent: false, tocsintest.Late: true} {
		r := tocsintest.NewReceiver(t)
		r.AnswerAll(answer)
		if got := post(t, r, "some-id", "1", 200*time.Millisecond); got != 0 {
			t.Errorf("%s: status %d, want none", answer, got)
		}
		tocsintest.Eventually(t, string(answer), func() error {
			requests := r.Requests()
			if len(requests) != 1 || requests[0].Answered >= 0 != taken {
				return fmt.Errorf("kept %+v, want one request, answered: %v", requests, taken)
			}
			return nil
		})
	}
}
