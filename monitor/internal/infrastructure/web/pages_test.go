package web

import (
	"context"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"github.com/uow-go/uow"

	"github.com/uow-go/uow/monitor/internal/domain"
)

func TestPages(t *testing.T) {
	full, empty := fullSample(t, sampleTime()), emptySample(t, sampleTime())
	empty.config.Groups, empty.config.Targets = nil, nil
	for _, test := range []struct {
		sample *sample
		target string
		status int
		want   []string
	}{
		{full, "/", 200, []string{"(4) Alerts · tocsin", "CheckoutErrors", "held: stale", "retry 3", ">parked<", ">refused<", "rule deleted", "18\u2009250\u2009331"}},
		{full, "/?q=" + url.QueryEscape(`severity="page"`), 200, []string{"2 of 9 shown", "DiskFull"}},
		{full, "/?q=" + url.QueryEscape(`state="resolved"`), 200, []string{"1 of 9 shown", "ClockSkew"}},
		{full, "/?q=nothing-has-this", 200, []string{"No alert matches the filter.", "Show all 9"}},
		{full, "/?q=" + url.QueryEscape(`a=~"("`), 200, []string{"The filter is not understood", "CheckoutErrors"}},
		{empty, "/", 200, []string{"All quiet.", "No alerting rules are loaded."}},
		{emptySample(t, sampleTime()), "/", 200, []string{"6 alerting rules are being evaluated, and no alert is active."}},
		{full, "/rules", 200, []string{"QueueGrows", "query timed out", "3 refused", "recording", "keep_firing_for 5m", "48"}},
		{full, "/rules?q=" + url.QueryEscape(`health="err"`), 200, []string{"1 of 7 shown"}},
		{empty, "/rules", 200, []string{"No rule files are loaded."}},
		{full, "/targets", 200, []string{"connection refused", "2 of 3 up", "before relabelling", "never"}},
		{full, "/targets?q=" + url.QueryEscape(`health="down"`), 200, []string{"1 of 5 shown"}},
		{empty, "/targets", 200, []string{"Nothing is scraped."}},
		{full, "/outbox", 200, []string{"channel_not_found", "parked", "An Alertmanager", "in 1m 35s"}},
		{empty, "/outbox", 200, []string{"Nothing is held"}},
		{full, "/deliveries", 200, []string{"upstream connect error", "alertmanager", "142 ms"}},
		{full, "/deliveries?q=" + url.QueryEscape(`destination="chat", outcome="refused"`), 200, []string{"1 of "}},
		{empty, "/deliveries", 200, []string{"Nothing has been delivered yet."}},
		{full, "/deliveries?limit=x", 400, []string{"Bad request"}},
		{full, "/alerts/timeline?id=unknown", 404, []string{"nothing is known of the alert"}},
		{full, "/alerts", 200, []string{"CheckoutErrors", "QueueGrows"}},
		{full, "/alerts?id=" + url.QueryEscape("/etc/tocsin/rules/node.yml;node|DiskFull|c69028bb472f7a7d"), 200, []string{"(1) DiskFull · tocsin", "Not evaluated", "48 missed", "8 more failed attempts", "still firing", "c5ae48792064f92647d4f2483a300b0b"}},
		{full, "/?q=%7B%7B", 200, []string{"not understood"}},
		{full, "/alerts/timeline", 400, []string{"the id of an alert is needed"}},
		{full, "/nothing", 404, []string{"There is no page /nothing."}},
	} {
		w := call(t, test.sample.server().Handler(), test.target)
		if w.Code != test.status || w.Header().Get("Content-Type") != htmlText {
			t.Errorf("%s: %d %s", test.target, w.Code, w.Header().Get("Content-Type"))
		}
		text := html.UnescapeString(w.Body.String())
		for _, want := range test.want {
			if !strings.Contains(text, want) {
				t.Errorf("%s: no %q", test.target, want)
			}
		}
		wellFormed(t, test.target, w.Body.String())
	}
}

// wellFormed reports tags that do not match, duplicate ids and inline scripts,
// styles and handlers, which the policy forbids.
func wellFormed(t *testing.T, name, page string) {
	t.Helper()
	void := map[string]bool{"meta": true, "link": true, "img": true, "input": true, "path": true, "circle": true}
	var open []string
	ids := map[string]bool{}
	for z := html.NewTokenizer(strings.NewReader(page)); ; {
		kind := z.Next()
		token := z.Token()
		switch kind {
		case html.ErrorToken:
			if len(open) > 0 {
				t.Errorf("%s: open at the end: %v", name, open)
			}
			return
		case html.StartTagToken:
			checkAttributes(t, name, token, ids)
			if !void[token.Data] {
				open = append(open, token.Data)
			}
		case html.EndTagToken:
			if len(open) == 0 || open[len(open)-1] != token.Data {
				t.Errorf("%s: </%s> ends %v", name, token.Data, open)
				return
			}
			open = open[:len(open)-1]
		case html.TextToken:
			if len(open) > 0 && (open[len(open)-1] == "script" || open[len(open)-1] == "style") && token.Data != "" {
				t.Errorf("%s: inline %s", name, open[len(open)-1])
			}
		}
	}
}

func checkAttributes(t *testing.T, name string, token html.Token, ids map[string]bool) {
	t.Helper()
	for _, a := range token.Attr {
		if a.Key == "style" || strings.HasPrefix(a.Key, "on") {
			t.Errorf("%s: %s in %s", name, a.Key, token)
		}
		if a.Key == "id" && ids[a.Val] {
			t.Errorf("%s: two ids %s", name, a.Val)
		}
		if a.Key == "id" {
			ids[a.Val] = true
		}
	}
}

func TestFragment(t *testing.T) {
	h := fullSample(t, sampleTime()).server().Handler()
	whole, part := call(t, h, "/?q=DiskFull").Body.String(), call(t, h, "/?q=DiskFull&fragment=1").Body.String()
	if !strings.HasPrefix(part, `<div id="page"`) || strings.Contains(part, "<html") || !strings.Contains(whole, part) {
		t.Errorf("the fragment is not the part of the page:\n%s", part)
	}
}

func TestHead(t *testing.T) {
	h := fullSample(t, sampleTime()).server().Handler()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodHead, "/", nil))
	if w.Code != http.StatusOK {
		t.Errorf("%d", w.Code)
	}
}

func TestEverythingIsEscaped(t *testing.T) {
	const evil = `"><script>alert(1)</script>'&{{.}}`
	s := emptySample(t, sampleTime())
	a := s.alert(evil, evil, evil, domain.Firing, time.Minute, map[string]string{evil: evil, "severity": evil}, func(a *domain.Alert) {
		a.Annotations = map[string]string{"summary": evil, "link": "javascript:alert(1)", evil: evil}
	})
	fired := s.transition(a, 1, domain.BecameFiring, domain.Inactive, domain.Firing, time.Minute, 1, func(t *domain.Transition) { t.Reason = evil })
	s.told(fired, "pager", s.attempt(time.Minute, time.Millisecond, domain.OutcomeRetry, 500, evil))
	s.config.Version, s.config.Store = evil, evil
	s.config.Groups = func() []GroupInfo {
		return []GroupInfo{{ID: evil, Name: evil, File: evil, LastError: evil, Rules: []RuleInfo{{Type: Alerting, UID: evil, Name: evil, Query: evil, LastError: evil, Labels: map[string]string{evil: evil}}}}}
	}
	s.config.Targets = func() (active, dropped []Target) {
		return []Target{{ScrapePool: evil, ScrapeURL: "javascript:" + evil, LastError: evil, Labels: map[string]string{evil: evil}, Health: evil}}, nil
	}
	h := s.server().Handler()
	for _, target := range []string{"/", "/?q=" + url.QueryEscape(evil), "/alerts/timeline?id=" + url.QueryEscape(a.ID), "/rules", "/targets", "/outbox", "/deliveries", "/" + url.PathEscape(evil), "/alerts/timeline?id=" + url.QueryEscape(evil)} {
		w := call(t, h, target)
		body := w.Body.String()
		if strings.Contains(body, "<script>") || strings.Contains(body, `href="javascript:`) {
			t.Errorf("%s is not escaped", target)
		}
		wellFormed(t, target, body)
	}
	for _, target := range []string{"/api/v1/alerts", "/api/v1/rules", "/api/v1/targets", "/api/deliveries"} {
		if body := call(t, h, target).Body.String(); strings.Contains(body, "<script>") {
			t.Errorf("%s has markup", target)
		}
	}
}

// TestReadersErrorsAreNotShown closes the store under the pages.
func TestReadersErrorsAreNotShown(t *testing.T) {
	s := fullSample(t, sampleTime())
	h := s.server().Handler()
	check(t, s.db.Close())
	for _, target := range []string{"/", "/rules", "/outbox", "/deliveries", "/alerts/timeline?id=x"} {
		if w := call(t, h, target); w.Code != http.StatusInternalServerError || !strings.Contains(w.Body.String(), "can not be shown") {
			t.Errorf("%s: %d", target, w.Code)
		}
	}
	for _, target := range []string{"/api/v1/alerts", "/api/v1/rules", "/api/outbox", "/api/deliveries"} {
		if w := call(t, h, target); w.Code != http.StatusInternalServerError || !strings.Contains(w.Body.String(), `"errorType":"internal"`) {
			t.Errorf("%s: %d %s", target, w.Code, w.Body)
		}
	}
}

func TestManyAlertsAreCutOff(t *testing.T) {
	s := emptySample(t, sampleTime())
	check(t, s.db.Do(t.Context(), func(_ context.Context, u *uow.Unit) error {
		for i := range maxRows + 5 {
			id := nodeGroup + "|DiskFull|" + strings.Repeat("x", i)
			if err := s.state.Alerts.In(u).Add(&domain.Alert{ID: id, Group: nodeGroup, Rule: "DiskFull", Name: "DiskFull", State: domain.Firing, ActiveAt: s.now, FiredAt: s.now}); err != nil {
				return err
			}
		}
		return nil
	}))
	body := call(t, s.server().Handler(), "/").Body.String()
	if !strings.Contains(body, "The first 1000 of 1005 alerts are shown") || strings.Count(body, `class="open"`) != maxRows {
		t.Errorf("%d rows", strings.Count(body, `class="open"`))
	}
}

func TestAssets(t *testing.T) {
	server := emptySample(t, sampleTime()).server()
	total := 0
	check(t, fs.WalkDir(assetFiles, "assets", func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			info, err := d.Info()
			check(t, err)
			total += int(info.Size())
		}
		return err
	}))
	if script := len(server.assets["script.js"].body); script >= 10_000 || total >= 100_000 {
		t.Errorf("the script has %d bytes, all assets have %d", script, total)
	}
	w := call(t, server.Handler(), server.assetPath("style.css"))
	if w.Code != http.StatusOK || !strings.Contains(w.Header().Get("Cache-Control"), "immutable") {
		t.Errorf("%d %v", w.Code, w.Header())
	}
	for target, want := range map[string]int{"/static/style.css": 200, "/static/none.css": 404, "/static/layout.html": 404, "/static/..%2fpage.go": 404} {
		if w := call(t, server.Handler(), target); w.Code != want || strings.Contains(w.Header().Get("Cache-Control"), "immutable") {
			t.Errorf("%s: %d %v", target, w.Code, w.Header())
		}
	}
}
