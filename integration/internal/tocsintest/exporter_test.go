package tocsintest_test

import (
	"context"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/uow-go/uow/integration/internal/tocsintest"
)

// scrape returns the status and the beginning of the body as it is sent.
func scrape(t *testing.T, e *tocsintest.Exporter) (status int, body string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+e.Address+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Accept-Encoding", "identity")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, ""
	}
	defer response.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(response.Body, 1<<20)) // it may never end
	return response.StatusCode, string(text)
}

func TestExporter(t *testing.T) {
	e := tocsintest.NewExporter(t)
	e.Set(`b{x="1"}`, 2.5)
	e.Set("a", 0)
	e.Flip("a")
	if status, body := scrape(t, e); status != 200 || body != "a 1\nb{x=\"1\"} 2.5\n" {
		t.Errorf("healthy: %d %q", status, body)
	}
	e.Remove("a")
	if _, body := scrape(t, e); body != "b{x=\"1\"} 2.5\n" {
		t.Errorf("without a series: %q", body)
	}
	for behaviour, want := range map[tocsintest.Behaviour]int{
		tocsintest.Failing: 500, tocsintest.Garbage: 200, tocsintest.Hanging: 0,
		tocsintest.Endless: 200, tocsintest.Bomb: 200, tocsintest.Duplicates: 200,
	} {
		e.Behave(behaviour)
		if status, _ := scrape(t, e); status != want {
			t.Errorf("%s: status %d, want %d", behaviour, status, want)
		}
	}
}
