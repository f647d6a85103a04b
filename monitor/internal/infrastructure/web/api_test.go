package web

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/prometheus/prometheus/storage"
)

// call makes a GET request without a network.
func call(t testing.TB, h http.Handler, target string) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, target, nil))
	return w
}

func post(t testing.TB, h http.Handler, path string, form string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, path, strings.NewReader(form))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// withSeries adds an engine and some series to the sample.
func withSeries(t testing.TB, s *sample) *sample {
	t.Helper()
	store := promqltest.LoadedStorage(t, `
load 1m
	up{job="node", instance="a"} 1 1 1 0 0
	up{job="node", instance="b"} 1 1 1 1 1
	odd{path="<&>\"\\"} 0.1 NaN +Inf -Inf 1e30
	native {{schema:0 sum:5 count:4 buckets:[1 2 1]}} {{schema:0 sum:5 count:4 buckets:[1 2 1]}}
`)
	s.config.Engine, s.config.Queryable = promqltest.NewTestEngine(t, false, 5*time.Minute, 1000), store
	return s
}

func TestGolden(t *testing.T) {
	h := fullSample(t, sampleTime()).server().Handler()
	disk := "/etc/tocsin/rules/node.yml;node|DiskFull|c69028bb472f7a7d"
	for name, target := range map[string]string{
		"alerts":     "/api/v1/alerts",
		"rules":      "/api/v1/rules",
		"targets":    "/api/v1/targets",
		"timeline":   "/api/alerts/" + url.PathEscape(disk) + "/timeline",
		"deliveries": "/api/deliveries?limit=3",
		"outbox":     "/api/outbox",
	} {
		t.Run(name, func(t *testing.T) {
			w := call(t, h, target)
			if w.Code != http.StatusOK {
				t.Fatalf("%d: %s", w.Code, w.Body)
			}
			var got bytes.Buffer
			check(t, json.Indent(&got, w.Body.Bytes(), "", "  "))
			got.WriteByte('\n')
			file := filepath.Join("testdata", name+".json")
			if os.Getenv("TOCSIN_UPDATE") != "" {
				check(t, os.WriteFile(file, got.Bytes(), 0o644))
			}
			want, err := os.ReadFile(file)
			check(t, err)
			if !bytes.Equal(got.Bytes(), want) {
				t.Errorf("the answer differs from %s (TOCSIN_UPDATE=1 rewrites it):\n%s", file, got.String())
			}
		})
	}
}

func TestTimelineByQueryIsTheSame(t *testing.T) {
	h := fullSample(t, sampleTime()).server().Handler()
	id := "/etc/tocsin/rules/node.yml;node|DiskFull|c69028bb472f7a7d"
	a := call(t, h, "/api/alerts/"+url.PathEscape(id)+"/timeline")
	b := call(t, h, "/api/alerts/timeline?id="+url.QueryEscape(id))
	if a.Code != http.StatusOK || a.Body.String() != b.Body.String() {
		t.Errorf("%d and %d", a.Code, b.Code)
	}
}

func TestQueryValues(t *testing.T) {
	h := withSeries(t, emptySample(t, sampleTime())).server().Handler()
	for _, test := range []struct{ target, want string }{
		{`/api/v1/query?time=60&query=` + url.QueryEscape(`up{instance="a"}`), `{"resultType":"vector","result":[{"metric":{"__name__":"up","instance":"a","job":"node"},"value":[60,"1"]}]}`},
		{`/api/v1/query?time=1.5&query=1e30`, `{"resultType":"scalar","result":[1.500,"1e+30"]}`},
		{`/api/v1/query?time=60&query=-0.0000001`, `{"resultType":"scalar","result":[60,"-1e-07"]}`},
		{`/api/v1/query?time=60&query=NaN`, `{"resultType":"scalar","result":[60,"NaN"]}`},
		{`/api/v1/query?time=60&query=` + url.QueryEscape(`"a<b"`), `{"resultType":"string","result":[60,"a\u003cb"]}`},
		{`/api/v1/query?time=60&query=nothing`, `{"resultType":"vector","result":[]}`},
		{`/api/v1/query?time=240&query=` + url.QueryEscape(`odd[5m]`), `{"resultType":"matrix","result":[{"metric":{"__name__":"odd","path":"\u003c\u0026\u003e\"\\"},"values":[[0,"0.1"],[60,"NaN"],[120,"+Inf"],[180,"-Inf"],[240,"1e+30"]]}]}`},
		{`/api/v1/query?time=1970-01-01T00:01:00Z&query=native`, `{"resultType":"vector","result":[{"metric":{"__name__":"native"},"histogram":[60,{"count":"4","sum":"5","buckets":[[0,"0.5","1","1"],[0,"1","2","2"],[0,"2","4","1"]]}]}]}`},
		{`/api/v1/query_range?start=0&end=60&step=60&query=` + url.QueryEscape(`sum(up)`), `{"resultType":"matrix","result":[{"metric":{},"values":[[0,"2"],[60,"2"]]}]}`},
		{`/api/v1/query_range?start=0&end=60&step=1m&query=` + url.QueryEscape(`sum(native)`), `{"resultType":"matrix","result":[{"metric":{},"histograms":[[0,{"count":"4","sum":"5","buckets":[[0,"0.5","1","1"],[0,"1","2","2"],[0,"2","4","1"]]}],[60,{"count":"4","sum":"5","buckets":[[0,"0.5","1","1"],[0,"1","2","2"],[0,"2","4","1"]]}]]}]}`},
	} {
		path, form, _ := strings.Cut(test.target, "?")
		for _, w := range []*httptest.ResponseRecorder{call(t, h, test.target), post(t, h, path, form)} {
			if want := `{"status":"success","data":` + test.want + `}`; w.Body.String() != want || w.Code != http.StatusOK {
				t.Errorf("%s:\n got %d %s\nwant %s", test.target, w.Code, w.Body, want)
			}
		}
	}
}

func TestQueryWarningsAndLimits(t *testing.T) {
	h := withSeries(t, emptySample(t, sampleTime())).server().Handler()
	for target, want := range map[string]string{
		"/api/v1/query?time=60&limit=1&query=up":                          `"warnings":["results truncated due to limit"]`,
		"/api/v1/query_range?start=0&end=9&step=1&limit=1&query=up":       `"warnings":["results truncated due to limit"]`,
		"/api/v1/labels?limit=1":                                          `"data":["__name__"],"warnings":["results truncated due to limit"]`,
		"/api/v1/labels?match[]=up&match[]=odd":                           `"data":["__name__","instance","job","path"]`,
		"/api/v1/labels?match[]=none":                                     `"data":[]`,
		"/api/v1/label/instance/values":                                   `"data":["a","b"]`,
		"/api/v1/label/__name__/values?match[]=odd":                       `"data":["odd"]`,
		"/api/v1/series?match[]=up":                                       `"data":[{"__name__":"up","instance":"a","job":"node"},{"__name__":"up","instance":"b","job":"node"}]`,
		"/api/v1/series?match[]=up&match[]=up&limit=1":                    `"data":[{"__name__":"up","instance":"a","job":"node"}],"warnings"`,
		"/api/v1/series?match[]=none":                                     `"data":[]`,
		"/api/v1/metadata":                                                `"data":{}`,
		"/api/v1/status/buildinfo":                                        `"data":{"version":"0.1.0"`,
		"/api/v1/query?time=240&query=" + url.QueryEscape("rate(up[5m])"): `"infos":["PromQL info: metric might not be a counter`,
	} {
		if w := call(t, h, target); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), want) {
			t.Errorf("%s: got %d %s, want %s", target, w.Code, w.Body, want)
		}
	}
}

func TestGarbage(t *testing.T) {
	h := withSeries(t, fullSample(t, sampleTime())).server().Handler()
	for _, test := range []struct {
		target string
		status int
		kind   errorKind
		text   string
	}{
		{"/api/v1/query", 400, badData, `invalid parameter "query": unknown position: parse error: no expression found in input`},
		{"/api/v1/query?query=up{", 400, badData, `invalid parameter "query"`},
		{"/api/v1/query?query=%ff%fe", 400, badData, `invalid parameter "query"`},
		{"/api/v1/query?query=up&time=yesterday", 400, badData, `invalid parameter "time": cannot parse "yesterday" to a valid timestamp`},
		{"/api/v1/query?query=up&time=NaN", 400, badData, "cannot parse"},
		{"/api/v1/query?query=up&time=1e300", 400, badData, "cannot parse"},
		{"/api/v1/query?query=up&limit=-1", 400, badData, "limit must be non-negative"},
		{"/api/v1/query?query=up&limit=x", 400, badData, `invalid parameter "limit"`},
		{"/api/v1/query?query=up&timeout=x", 400, badData, `invalid parameter "timeout"`},
		{"/api/v1/query?query=up&timeout=-1", 400, badData, "timeout must be positive"},
		{"/api/v1/query?query=up&lookback_delta=x", 400, badData, "lookback"},
		{"/api/v1/query?query=up&timeout=0.000000001", 503, timeout, "timed out"},
		{"/api/v1/query?time=60&query=" + url.QueryEscape(`up * on() up`), 422, execution, "many-to-many"},
		{"/api/v1/query?time=9999&query=" + url.QueryEscape(`sum_over_time(vector(1)[10h:1s])`), 422, execution, "too many samples"},
		{"/api/v1/query_range?query=up", 400, badData, `invalid parameter "start"`},
		{"/api/v1/query_range?query=up&start=0", 400, badData, `invalid parameter "end"`},
		{"/api/v1/query_range?query=up&start=1&end=0&step=1", 400, badData, "end timestamp must not be before start time"},
		{"/api/v1/query_range?query=up&start=0&end=1", 400, badData, `invalid parameter "step"`},
		{"/api/v1/query_range?query=up&start=0&end=1&step=0", 400, badData, "zero or negative query resolution"},
		{"/api/v1/query_range?query=up&start=0&end=1&step=1e300", 400, badData, "overflows"},
		{"/api/v1/query_range?query=up&start=0&end=11001&step=1", 400, badData, "exceeded maximum resolution of 11,000 points"},
		{"/api/v1/query_range?query=up[5m]&start=0&end=1&step=1", 400, badData, `invalid parameter "query"`},
		{"/api/v1/series", 400, badData, "no match[] parameter provided"},
		{"/api/v1/series?match[]={}", 400, badData, "match[]"},
		{"/api/v1/series?match[]=" + url.QueryEscape(`{a=~".*"}`), 400, badData, "match[]"},
		{"/api/v1/labels?match[]=up{", 400, badData, `invalid parameter "match[]"`},
		{"/api/v1/label/%ff/values", 400, badData, "invalid label name"},
		{"/api/v1/rules?type=both", 400, badData, `invalid parameter "type": not supported value "both"`},
		{"/api/v1/rules?exclude_alerts=maybe", 400, badData, `invalid parameter "exclude_alerts"`},
		{"/api/v1/rules?group_limit=0", 400, badData, "group_limit needs to be greater than 0"},
		{"/api/v1/rules?group_limit=x", 400, badData, "group_limit needs to be a valid number"},
		{"/api/v1/rules?group_next_token=x", 400, badData, "group_limit needs to be present"},
		{"/api/v1/rules?group_limit=1&group_next_token=x", 400, badData, "were rule groups changed?"},
		{"/api/v1/nothing", 404, notFound, "there is no endpoint"},
		{"/api/alerts/timeline", 400, badData, "the id of an alert is needed"},
		{"/api/alerts/timeline?id=x", 404, notFound, "nothing is known of the alert"},
		{"/api/deliveries?limit=100000", 400, badData, "expected 1000 at most"},
		{"/api/v1/alerts?a=%zz", 400, badData, "invalid URL escape"},
		{"/api/v1/query?query=" + strings.Repeat("x", maxURL), 400, badData, "the URL is longer"},
	} {
		w := call(t, h, test.target)
		var got struct {
			Status, ErrorType, Error string
		}
		check(t, json.Unmarshal(w.Body.Bytes(), &got))
		if w.Code != test.status || got.Status != "error" || got.ErrorType != string(test.kind) || !strings.Contains(got.Error, test.text) {
			t.Errorf("%.100s: got %d %+v, want %d %s %s", test.target, w.Code, got, test.status, test.kind, test.text)
		}
	}
}

func TestBodies(t *testing.T) {
	h := withSeries(t, emptySample(t, sampleTime())).server().Handler()
	if w := post(t, h, "/api/v1/query", "query=up&x="+strings.Repeat("x", maxBody)); w.Code != http.StatusRequestEntityTooLarge {
		t.Errorf("a huge body: %d %s", w.Code, w.Body)
	}
	if w := post(t, h, "/api/v1/query", "query=%zz"); w.Code != http.StatusBadRequest {
		t.Errorf("a broken body: %d %s", w.Code, w.Body)
	}
	for _, target := range []string{"/api/v1/alerts", "/", "/-/ready", "/api/outbox"} {
		if w := post(t, h, target, ""); w.Code != http.StatusMethodNotAllowed {
			t.Errorf("POST %s: %d", target, w.Code)
		}
	}
}

func TestRulesParameters(t *testing.T) {
	h := fullSample(t, sampleTime()).server().Handler()
	names := func(target string) (groups, rules []string, token string) {
		var got struct {
			Data struct {
				Groups []struct {
					Name  string
					Rules []struct {
						Name   string
						Alerts []any
					}
				}
				GroupNextToken string
			}
		}
		check(t, json.Unmarshal(call(t, h, target).Body.Bytes(), &got))
		for _, g := range got.Data.Groups {
			groups = append(groups, g.Name)
			for _, r := range g.Rules {
				rules = append(rules, fmt.Sprintf("%s:%d", r.Name, len(r.Alerts)))
			}
		}
		return groups, rules, got.Data.GroupNextToken
	}
	for query, want := range map[string]string{
		"type=record":                                     "[node] [instance:node_cpu:rate5m:0]",
		"type=alert&rule_group[]=shop":                    "[shop] [CheckoutErrors:1 QueueGrows:1]",
		"file[]=/etc/tocsin/rules/shop.yml":               "[shop] [CheckoutErrors:1 QueueGrows:1]",
		"rule_name[]=DiskFull":                            "[node] [DiskFull:1]",
		"rule_name[]=none":                                "[] []",
		"exclude_alerts=true&rule_group[]=shop":           "[shop] [CheckoutErrors:0 QueueGrows:0]",
		"match[]=" + url.QueryEscape(`{severity="page"}`): "[node shop] [DiskFull:1 CheckoutErrors:1]",
	} {
		groups, rules, _ := names("/api/v1/rules?" + query)
		if got := fmt.Sprint(groups, " ", rules); got != want {
			t.Errorf("%s: got %s, want %s", query, got, want)
		}
	}
	groups, _, token := names("/api/v1/rules?group_limit=1")
	next, _, last := names("/api/v1/rules?group_limit=1&group_next_token=" + token)
	if fmt.Sprint(groups, next, last) != "[node] [shop]" {
		t.Errorf("pages: %v, %v, %q", groups, next, last)
	}
}

func TestTargetsState(t *testing.T) {
	h := fullSample(t, sampleTime()).server().Handler()
	for query, want := range map[string]string{"": "5 1", "?state=active": "5 0", "?state=dropped": "0 1", "?state=any&scrapePool=shop": "2 0"} {
		var got struct {
			Data struct{ ActiveTargets, DroppedTargets []any }
		}
		check(t, json.Unmarshal(call(t, h, "/api/v1/targets"+query).Body.Bytes(), &got))
		if s := fmt.Sprint(len(got.Data.ActiveTargets), len(got.Data.DroppedTargets)); s != want {
			t.Errorf("%s: got %s, want %s", query, s, want)
		}
	}
}

// brokenStorage fails.
type brokenStorage struct{ err error }

func (b brokenStorage) Querier(int64, int64) (storage.Querier, error) { return nil, b.err }

func TestStorageErrors(t *testing.T) {
	s := withSeries(t, emptySample(t, sampleTime()))
	s.config.Queryable = brokenStorage{promql.ErrStorage{Err: errors.New("disk on fire")}}
	h := s.server().Handler()
	for _, target := range []string{"/api/v1/query?query=up", "/api/v1/labels", "/api/v1/series?match[]=up"} {
		if w := call(t, h, target); w.Code != http.StatusInternalServerError || !strings.Contains(w.Body.String(), `"errorType":"internal"`) {
			t.Errorf("%s: %d %s", target, w.Code, w.Body)
		}
	}
	s.config.Engine, s.config.Queryable = nil, nil
	h = s.server().Handler()
	for _, target := range []string{"/api/v1/query?query=up", "/api/v1/query_range?query=up&start=0&end=1&step=1", "/api/v1/labels", "/api/v1/series?match[]=up"} {
		if w := call(t, h, target); w.Code != http.StatusServiceUnavailable {
			t.Errorf("%s without an engine: %d %s", target, w.Code, w.Body)
		}
	}
}

func TestErrorKinds(t *testing.T) {
	for err, want := range map[error]int{
		promql.ErrQueryCanceled("x"): statusClientClosed, promql.ErrQueryTimeout("x"): 503, promql.ErrTooManySamples("x"): 422,
		context.Canceled: statusClientClosed, context.DeadlineExceeded: 503, errors.New("x"): 422,
	} {
		if got := queryError(err).kind.status(); got != want {
			t.Errorf("%v: %d, want %d", err, got, want)
		}
	}
}

func FuzzParameters(f *testing.F) {
	for _, s := range []string{"0", "-1", "1e19", "NaN", "2026-03-14T12:00:00Z", "5m", "1y2w", "9223372036854775807", minTime().Format(time.RFC3339Nano)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if at, err := parseTime(s); err == nil && (at.Before(minTime()) || at.After(maxTime().Add(time.Second))) && !strings.Contains(s, "T") {
			t.Errorf("%q gave %v", s, at)
		}
		_, _ = parseDuration(s)
		if flt, err := parseFilter(s); err == nil {
			flt.matches(map[string]string{"a": "b"}, nil, "c")
		}
	})
}

func TestLabelsAreValidJSON(t *testing.T) {
	b := appendLabels(nil, labels.FromStrings("a", "\x00\xff<\u2028", "é", "\""))
	if !json.Valid(b) {
		t.Errorf("%s", b)
	}
}
