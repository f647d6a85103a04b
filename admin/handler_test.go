package admin_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/uow-go/uow/admin"
)

// serve serves a handler as a program would mount it.
func serve(t *testing.T, cfg admin.HandlerConfig) *httptest.Server {
	t.Helper()
	h, err := admin.Handler(cfg)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/outbox/", http.StripPrefix("/outbox", h))
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server
}

// send sends a request and demands the status of the answer.
func send(t *testing.T, status int, method, url, body string, headers ...string) (answer string, header http.Header) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	all, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	if response.StatusCode != status {
		t.Errorf("%s %s %s: status %d, want %d: %s", method, url, body, response.StatusCode, status, all)
	}
	return string(all), response.Header
}

const asJSON, isJSON = "Content-Type", "application/json"

func TestHandler(t *testing.T) {
	s := newScene(t, stores(t)["memory"])
	s.refuse["b"] = true
	s.append("a", "b", "b")
	s.deliver()
	server := serve(t, admin.HandlerConfig{Ops: s.ops, AllowWrites: true})
	api := server.URL + "/outbox/api/"

	answer, _ := send(t, 200, "GET", api+"stats", "")
	var stats admin.Stats
	if err := json.Unmarshal([]byte(answer), &stats); err != nil || len(stats.Cursors) != 1 || stats.Cursors[0].Parked != 1 || stats.Cursors[0].Waiting != 1 {
		t.Errorf("the stats are %s, %v", answer, err)
	}
	var page admin.Page
	answer, _ = send(t, 200, "GET", api+"messages?cursor=mail&state=parked&state=waiting&key=b&since=2020-01-01T00:00:00Z", "")
	if err := json.Unmarshal([]byte(answer), &page); err != nil || len(page.Messages) != 2 || page.Messages[0].At.Reason != "no such customer" {
		t.Errorf("the messages are %s, %v", answer, err)
	}
	answer, _ = send(t, 200, "GET", api+"messages/1", "")
	if !strings.Contains(answer, `"id":"a-1"`) || !strings.Contains(answer, `"state":"delivered"`) {
		t.Errorf("message 1 is %s", answer)
	}
	send(t, 404, "GET", api+"messages/77", "")
	send(t, 400, "GET", api+"messages/x", "")
	send(t, 400, "GET", api+"messages?limit=many", "")
	send(t, 400, "GET", api+"messages?since=yesterday", "")
	send(t, 400, "GET", api+"messages?state=parked", "")
	send(t, 404, "GET", api+"messages?cursor=nobody", "")
	send(t, 200, "GET", api+"inbox?consumer=mailer", "")
	send(t, 200, "GET", api+"inbox/streams?consumer=mailer", "")
	send(t, 400, "GET", api+"inbox/streams", "")

	redrive := `{"cursor":"mail","filter":{"keys":["b"]}}`
	send(t, 400, "POST", api+"redrive", redrive)
	send(t, 400, "POST", api+"redrive", redrive, asJSON, "text/plain")
	send(t, 400, "POST", api+"redrive", `{"cursor":"mail"}`, asJSON, isJSON)
	send(t, 400, "POST", api+"redrive", `{"cursor":"mail","filter":{"kees":["b"]}}`, asJSON, isJSON)
	send(t, 400, "POST", api+"redrive", `{"cursor":"`+strings.Repeat("x", 2<<20)+`"}`, asJSON, isJSON)
	send(t, 403, "POST", api+"redrive", redrive, asJSON, isJSON, "Sec-Fetch-Site", "cross-site")
	send(t, 403, "POST", api+"redrive", redrive, asJSON, isJSON, "Origin", "https://evil.example")
	send(t, 404, "GET", api+"redrive", "")
	if parked, _ := send(t, 200, "GET", api+"messages?cursor=mail&state=parked", ""); !strings.Contains(parked, `"b-1"`) {
		t.Errorf("a request that was refused has changed something: %s", parked)
	}
	answer, _ = send(t, 200, "POST", api+"redrive", redrive, asJSON, isJSON, "Origin", server.URL, "Authorization", "Basic YW5uOng=")
	if !strings.Contains(answer, `"changed":1`) {
		t.Errorf("the redrive answers %s", answer)
	}
	if !strings.Contains(s.audit.String(), "action=redrive actor=ann cursor=mail") {
		t.Errorf("the audit has no line: %s", s.audit)
	}
	send(t, 200, "POST", api+"replay", `{"cursor":"mail","filter":{"positions":[1]},"dryRun":true}`, asJSON, isJSON)
	send(t, 200, "POST", api+"discard", `{"cursor":"mail","all":true}`, asJSON, isJSON)
	send(t, 200, "POST", api+"park", `{"cursor":"mail","all":true,"reason":"x"}`, asJSON, isJSON)
}

func TestHandlerRefusesWrites(t *testing.T) {
	s := newScene(t, stores(t)["memory"])
	s.append("a")
	s.deliver()
	server := serve(t, admin.HandlerConfig{Ops: s.ops})
	for _, action := range []string{"redrive", "discard", "park", "replay"} {
		send(t, 403, "POST", server.URL+"/outbox/api/"+action, `{"cursor":"mail","all":true}`, asJSON, isJSON)
	}
	if _, err := admin.Handler(admin.HandlerConfig{}); err == nil {
		t.Error("a handler without Ops is no error")
	}
}

func TestPageIsServed(t *testing.T) {
	s := newScene(t, stores(t)["memory"])
	server := serve(t, admin.HandlerConfig{Ops: s.ops})
	for path, part := range map[string]string{"": "<title>Outbox</title>", "page.js": "'use strict'", "page.css": ":root"} {
		body, header := send(t, 200, "GET", server.URL+"/outbox/"+path, "")
		if !strings.Contains(body, part) || !strings.Contains(header.Get("Content-Security-Policy"), "default-src 'none'") {
			t.Errorf("%s: there is no %q, or no policy: %v", path, part, header)
		}
	}
	send(t, 404, "GET", server.URL+"/outbox/other", "")
}
