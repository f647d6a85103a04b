package badinput_test

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/uow-go/uow/integration/internal/tocsintest"
)

// TestHostileRequests: each request that makes no sense gets an answer that says
// why, and none ends the process or shows its insides.
func TestHostileRequests(t *testing.T) {
	home := tocsintest.NewHome(t)
	home.Configure(t, tocsintest.Setup{Rules: "- {alert: Always, expr: vector(1)}"})
	p := home.Start(t)
	long := strings.Repeat("a", 40_000)
	for name, test := range map[string]struct {
		path   string
		status []int
	}{
		"no query":            {"/api/v1/query", []int{400}},
		"a broken query":      {"/api/v1/query?query=" + url.QueryEscape("sum("), []int{400}},
		"a huge query":        {"/api/v1/query?query=" + long, []int{400, 414}},
		"a deep query":        {"/api/v1/query?query=" + strings.Repeat("(", 9000) + "1" + strings.Repeat(")", 9000), []int{200, 400, 422}},
		"a slow query":        {"/api/v1/query?timeout=50ms&query=" + url.QueryEscape("count_over_time((vector(time()))[1000d:1s])"), []int{503}},
		"a time that is none": {"/api/v1/query?query=1&time=yesterday", []int{400}},
		"a time of ages":      {"/api/v1/query?query=1&time=1e400", []int{400}},
		"too many steps":      {"/api/v1/query_range?query=1&start=0&end=1e9&step=1", []int{400}},
		"no step":             {"/api/v1/query_range?query=1&start=0&end=1&step=0", []int{400}},
		"an end before":       {"/api/v1/query_range?query=1&start=2&end=1&step=1", []int{400}},
		"a broken matcher":    {"/api/v1/series?match[]=" + url.QueryEscape("{a="), []int{400}},
		"no matcher":          {"/api/v1/series", []int{400}},
		"a strange label":     {"/api/v1/label/%ff/values", []int{400, 404}},
		"no such alert":       {"/api/alerts/timeline?id=none", []int{404}},
		"no alert at all":     {"/api/alerts/timeline", []int{400, 404}},
		"a negative limit":    {"/api/deliveries?limit=-1", []int{400}},
		"a huge limit":        {"/api/deliveries?limit=99999999999999999999", []int{400}},
		"no such endpoint":    {"/api/v1/secrets", []int{404}},
		"another endpoint":    {"/api/nothing", []int{404}},
	} {
		t.Run(name, func(t *testing.T) {
			status, body := p.Get(t, test.path)
			good := false
			for _, want := range test.status {
				good = good || status == want
			}
			if !good {
				t.Errorf("status %d, want one of %v: %.300s", status, test.status, body)
			}
			var answer struct{ Status, ErrorType, Error string }
			if err := json.Unmarshal([]byte(body), &answer); err != nil {
				t.Errorf("no JSON: %v in %.300s", err, body)
			}
			if status != 200 && (answer.Status != "error" || answer.Error == "" || len(answer.Error) > 2000) {
				t.Errorf("the answer is %.300s", body)
			}
		})
	}
	for name, path := range map[string]string{
		"a page that is none":      "/no/such/page",
		"a timeline of nothing":    "/alerts/timeline?id=none",
		"a way out":                "/static/..%2f..%2fetc%2fpasswd",
		"a filter that is nothing": "/?q=" + url.QueryEscape("{{<script>alert(1)</script>"),
		"markup as an alert":       "/alerts?id=" + url.QueryEscape("<script>alert(1)</script>"),
	} {
		t.Run(name, func(t *testing.T) {
			status, body := p.Get(t, path)
			if status >= 500 || strings.Contains(body, "<script>alert") || strings.Contains(body, "root:") {
				t.Errorf("status %d: %.400s", status, body)
			}
		})
	}
	methods(t, p)
	wire(t, p)
	if !p.Running() {
		t.Fatal("tocsin has ended")
	}
	home.WaitSlots(t, 2)
	if logs := p.Logs(); strings.Contains(logs, "panic") || strings.Contains(logs, "goroutine ") {
		t.Errorf("a request panicked:\n%s", logs)
	}
	p.Stop(t)
}

// methods tries what may not change anything.
func methods(t *testing.T, p *tocsintest.Process) {
	t.Helper()
	for _, test := range []struct{ method, path, body string }{
		{http.MethodDelete, "/api/outbox", ""},
		{http.MethodPost, "/", "x=1"},
		{http.MethodPut, "/metrics", ""},
		{http.MethodPost, "/api/v1/query", "query=" + strings.Repeat("x", 3<<20)},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), tocsintest.Wait)
		request, err := http.NewRequestWithContext(ctx, test.method, p.URL+test.path, strings.NewReader(test.body))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		response, err := http.DefaultClient.Do(request)
		if err == nil {
			response.Body.Close()
			if response.StatusCode < 400 || response.StatusCode >= 500 {
				t.Errorf("%s %s answers %s", test.method, test.path, response.Status)
			}
		} else if len(test.body) < 1<<20 { // the connection of a huge body may be cut
			t.Errorf("%s %s: %v", test.method, test.path, err)
		}
		cancel()
	}
}

// wire sends what no HTTP client sends.
func wire(t *testing.T, p *tocsintest.Process) {
	t.Helper()
	for name, test := range map[string]struct{ text, want string }{
		"a header of a megabyte": {"GET / HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("y", 2<<20) + "\r\n\r\n", " 431 "},
		"no HTTP":                {"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n", " 400 "},
		"two lengths":            {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", " 400 "},
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := net.DialTimeout("tcp", strings.TrimPrefix(p.URL, "http://"), tocsintest.Wait)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if err := conn.SetDeadline(time.Now().Add(tocsintest.Wait)); err != nil {
				t.Fatal(err)
			}
			_, _ = io.WriteString(conn, test.text) // it may be cut before the end
			answer, _ := io.ReadAll(io.LimitReader(conn, 4096))
			if line, _, _ := strings.Cut(string(answer), "\n"); !strings.Contains(line, test.want) && len(answer) > 0 {
				t.Errorf("the answer is %q, want %s", line, test.want)
			}
		})
	}
}
