package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/discovery/file"
)

const full = `
global:
  scrape_interval: 15s
  evaluation_interval: 30s
  external_labels: {cluster: blue, host: $TOCSIN_TEST_HOST}
  query_log_file: /tmp/log
rule_files: [rules/*.yml]
remote_write:
- url: http://elsewhere/
  queue_config: {capacity: 1}
storage:
  tsdb: {retention: {time: 1d}}
scrape_configs:
- job_name: app
  body_size_limit: 1MB
  sample_limit: 100
  params: {module: [a, b]}
  honor_labels: true
  basic_auth: {username: me, password: hunter2}
  tls_config: {insecure_skip_verify: true}
  static_configs:
  - targets: [127.0.0.1:1, '127.0.0.1:2']
    labels: {team: x}
  file_sd_configs:
  - files: [targets/*.json]
  kubernetes_sd_configs:
  - role: pod
  relabel_configs:
  - source_labels: [__address__]
    regex: (.*):.*
    target_label: host
  metric_relabel_configs:
  - {action: drop, source_labels: [__name__], regex: go_.*}
alerting:
  alert_relabel_configs:
  - {action: labeldrop, regex: replica}
  alertmanagers:
  - scheme: https
    path_prefix: /am
    timeout: 3s
    authorization: {credentials: hunter2}
    static_configs: [{targets: ['am:9093']}]
  - dns_sd_configs: [{names: [x]}]
tocsin:
  on_gap: count
  retention: {history: 30d}
  destinations:
  - name: ops
    type: webhook
    url: https://user:hunter2@hooks.example.com/services/hunter2
    secret: whsec_hunter2hunter2hunter2hunter2hunter2hunt1
    headers: {X-Key: hunter2}
  - {name: out, type: console}
  - {name: am, type: alertmanager, url: 'http://am:9093', timeout: 2s}
`

const rules = `
groups:
- name: g
  interval: 10s
  query_offset: 2s
  limit: 3
  labels: {team: a, severity: info}
  rules:
  - record: a:b
    expr: sum(up)
  - alert: Down
    expr: up == 0
    for: 1m
    keep_firing_for: 2m
    labels: {severity: page}
    annotations: {summary: '{{ $labels.job }} {{ $value }}'}
- name: h
  rules: []
`

func write(t *testing.T, dir, name, content string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestLoad(t *testing.T) {
	t.Setenv("TOCSIN_TEST_HOST", "here")
	dir := t.TempDir()
	write(t, dir, "rules/a.yml", rules)
	cfg, err := Load(write(t, dir, "prometheus.yml", full))
	if err != nil {
		t.Fatal(err)
	}
	if got := cfg.ExternalLabels(); got["host"] != "here" || got["cluster"] != "blue" {
		t.Errorf("external labels: %v", got)
	}
	want := []string{
		"alerting.alertmanagers[1].dns_sd_configs", "global.query_log_file", "remote_write",
		"scrape_configs[job=app].kubernetes_sd_configs", "storage",
	}
	if !slices.Equal(cfg.Ignored, want) {
		t.Errorf("ignored: %q", cfg.Ignored)
	}
	sc := cfg.ScrapeConfigs[0]
	if time.Duration(sc.ScrapeInterval) != 15*time.Second || time.Duration(sc.ScrapeTimeout) != 10*time.Second ||
		sc.MetricsPath != "/metrics" || !sc.HonorTimestamps || sc.HTTPClientConfig.BasicAuth.Username != "me" || sc.BodySizeLimit != 1<<20 {
		t.Errorf("scrape config: %+v", sc)
	}
	sd := sc.ServiceDiscoveryConfigs[0].(*file.SDConfig)
	if sd.Files[0] != filepath.Join(dir, "targets/*.json") {
		t.Errorf("file_sd path: %v", sd.Files)
	}
	if cfg.OnGap != "count" || time.Duration(cfg.Retention.Samples) != 15*24*time.Hour || time.Duration(cfg.Retention.History) != 30*24*time.Hour {
		t.Errorf("tocsin: %+v", cfg.Tocsin)
	}
	if d := cfg.Destinations[0]; d.Format != CloudEvents || time.Duration(d.Timeout) != 10*time.Second || d.Host() != "https://hooks.example.com" {
		t.Errorf("destination: %v", d)
	}
	if am := cfg.Alertmanagers[0]; am.PathPrefix != "/am" || am.Scheme != "https" || len(cfg.Alertmanagers) != 2 || cfg.Alertmanagers[1].Scheme != "http" {
		t.Errorf("alertmanagers: %+v", cfg.Alertmanagers)
	}
	g := cfg.Groups[0]
	if g.Interval != 10*time.Second || g.QueryOffset != 2*time.Second || g.Limit != 3 || cfg.Groups[1].Interval != 30*time.Second {
		t.Errorf("group: %+v", g)
	}
	if r := g.Rules[1]; r.Labels["team"] != "a" || r.Labels["severity"] != "page" || r.For != time.Minute || r.Line != 11 || r.Query == nil {
		t.Errorf("rule: %+v", r)
	}
}

func TestSecretsAreNeverShown(t *testing.T) {
	cfg, err := Parse("p.yml", []byte(full))
	if err != nil {
		t.Fatal(err)
	}
	asJSON, err := json.Marshal(cfg.Destinations)
	if err != nil {
		t.Fatal(err)
	}
	shown := cfg.String() + string(asJSON) + fmt.Sprintf("%v %+v %#v", cfg.Destinations, cfg.Tocsin, cfg.Destinations)
	if strings.Contains(shown, "hunter2") {
		t.Errorf("a secret is shown:\n%s", shown)
	}
	if !strings.Contains(cfg.String(), "job_name: app") {
		t.Errorf("String lacks the scrape configs:\n%s", cfg)
	}
}

func TestWrongConfigurations(t *testing.T) {
	job := "scrape_configs:\n- job_name: a\n"
	dest := "tocsin:\n  destinations:\n  - "
	tests := []struct{ name, in, want string }{
		{"syntax", "global:\n  a: [", "p.yml:2: not valid YAML"},
		{"list", "- a", "p.yml:1:1: found a list, expected a mapping of sections"},
		{"two documents", "global: {}\n---\nglobal: {}", "p.yml:2"},
		{"unknown section", "globl: {}", `p.yml:1:1: found the unknown section "globl", expected one of alerting`},
		{"section twice", "global: {}\nglobal: {}", `p.yml:2:1: found "global" a second time, expected it once`},
		{"unknown field", "global:\n  scrape_intervall: 1s", `p.yml:2:3: global: found the unknown field "scrape_intervall", expected "scrape_interval"`},
		{"duration", "global:\n  scrape_interval: 5x", `p.yml:2:20: global.scrape_interval: found "5x", expected a duration such as "30s"`},
		{"timeout", "global: {scrape_interval: 5s, scrape_timeout: 6s}", `global.scrape_timeout: found "6s", expected at most the scrape_interval, which is "5s"`},
		{"external labels", "global:\n  external_labels: [a]", "p.yml:2:20: global.external_labels: found a list, expected a mapping of label names"},
		{"rule file pattern", "rule_files: ['*/a.yml']", `rule_files[0]: found "*/a.yml", expected a path with * in its last part`},
		{"rule files no list", "rule_files: {a: b}", "rule_files: found a mapping, expected a list"},
		{"job null", "scrape_configs:\n-", "p.yml:2"},
		{"job no name", "scrape_configs:\n- metrics_path: /m", "p.yml:2:3: scrape_configs[0]: found no job_name"},
		{"job twice", job + "- job_name: a", `p.yml:3:13: scrape_configs[1].job_name: found "a", expected a name that no other`},
		{"bool", job + "  honor_labels: perhaps", `p.yml:3:17: scrape_configs[0].honor_labels: found "perhaps", expected true or false`},
		{"uint", job + "  sample_limit: -1", `scrape_configs[0].sample_limit: found "-1", expected a whole number that is not negative`},
		{"size", job + "  body_size_limit: 5 apples", `expected a size such as "64MB"`},
		{"url as target", job + "  static_configs:\n  - targets: ['http://a:1/m']", `p.yml:4:15: scrape_configs[0].static_configs[0].targets[0]: found "http://a:1/m", expected host:port`},
		{"unknown field in targets", job + "  static_configs:\n  - target: [a]", `found the unknown field "target", expected "targets"`},
		{"unknown discovery", job + "  kubernets_sd_configs: []", `found the unknown field "kubernets_sd_configs"`},
		{"job timeout", job + "  scrape_timeout: 2m", `scrape_configs[0].scrape_timeout: found "2m", expected at most the scrape_interval, which is "1m"`},
		{"relabel action", job + "  relabel_configs:\n  - action: replce", `p.yml:4:13: scrape_configs[0].relabel_configs[0].action: found "replce", expected a relabel action`},
		{"relabel regex", job + "  relabel_configs:\n  - regex: '('", `relabel_configs[0].regex: found "(", expected a regular expression`},
		{"relabel null", job + "  relabel_configs:\n  -", "relabel_configs[0]: found nothing, expected a mapping"},
		{"two auths", job + "  bearer_token: x\n  basic_auth: {username: a}", "p.yml:2:3: scrape_configs[0]: at most one of basic_auth"},
		{"file_sd name", job + "  file_sd_configs:\n  - files: [a.txt]", "p.yml:4:5: scrape_configs[0].file_sd_configs[0]: path name"},
		{"alertmanager scheme", "alerting:\n  alertmanagers:\n  - scheme: ftp", `p.yml:3:13: alerting.alertmanagers[0].scheme: found "ftp", expected http or https`},
		{"alerting field", "alerting:\n  alertmanager: []", `expected "alertmanagers"`},
		{"on_gap", "tocsin: {on_gap: skip}", `tocsin.on_gap: found "skip", expected shift, count or reset`},
		{"tocsin field", "tocsin: {destination: []}", `expected "destinations"`},
		{"retention", "tocsin: {retention: {samples: 1s}}", `tocsin.retention.samples: found "1s", expected at least 1h`},
		{"destination type", dest + "{name: a, type: carrier}", `tocsin.destinations[0].type: found "carrier", expected webhook, console or alertmanager`},
		{"destination without type", dest + "{name: a}", "found nothing, expected webhook, console or alertmanager"},
		{"destination url", dest + "{name: a, type: webhook, url: 'ftp://x'}", "tocsin.destinations[0].url: found <secret>, expected a URL that starts with http://"},
		{"destination format", dest + "{name: a, type: webhook, url: 'http://x', format: xml}", `found "xml", expected cloudevents or alertmanager`},
		{"destination twice", dest + "{name: a, type: console}\n  - {name: a, type: console}", "tocsin.destinations[1].name: found \"a\", expected a name"},
		{"webhook secret", dest + "{name: a, type: webhook, url: 'http://x', secret: hunter2}", "tocsin.destinations[0].secret: found <secret>, expected whsec_"},
		{"two secrets", dest + "{name: a, type: console, secret: a, secret_file: b}", "found both secret and secret_file"},
		{"alias to itself", "global: &a\n  external_labels: *a", "global"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := Parse("p.yml", []byte(test.in))
			if err == nil || !strings.Contains(err.Error(), test.want) || !errors.Is(err, ErrInvalid) {
				t.Fatalf("got:  %v\nwant: %s", err, test.want)
			}
			if !strings.HasPrefix(err.Error(), "config: ") {
				t.Errorf("got %q, want the package's name first", err)
			}
		})
	}
}

func TestErrorsShowNoSecrets(t *testing.T) {
	for _, in := range []string{
		"scrape_configs:\n- job_name: a\n  basic_auth: hunter2",
		"scrape_configs:\n- job_name: a\n  basic_auth: {password: [hunter2]}",
		"scrape_configs:\n- job_name: a\n  bearer_token: {a: hunter2}",
		"scrape_configs:\n- job_name: a\n  proxy_url: 'http://me:hunter2@host:badport'",
		"scrape_configs:\n- job_name: a\n  static_configs: [{targets: ['http://me:hunter2@host/']}]",
		"scrape_configs:\n- job_name: a\n  http_headers: {X: hunter2}",
		"alerting: {alertmanagers: [{authorization: hunter2}]}",
		"tocsin: {destinations: [{name: a, type: webhook, url: 'hunter2'}]}",
		"tocsin: {destinations: [{name: a, type: webhook, url: 'http://a', secret: {hunter: hunter2}}]}",
		"tocsin: {destinations: [{name: a, type: webhook, url: 'http://a', headers: hunter2}]}",
	} {
		_, err := Parse("p.yml", []byte(in))
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s\ngives %v", in, err)
		}
	}
}

func TestAllMistakesAreReported(t *testing.T) {
	_, err := Parse("p.yml", []byte("globl: {}\ntocsin: {on_gap: x}\nscrape_configs: [{}]"))
	if err == nil || strings.Count(err.Error(), "config: p.yml:") != 3 {
		t.Fatal(err)
	}
	var first *Error
	if !errors.As(err, &first) || first.Line != 1 || first.File != "p.yml" {
		t.Errorf("first: %+v", first)
	}
}

func TestMissingRuleFile(t *testing.T) {
	dir := t.TempDir()
	_, err := Load(write(t, dir, "p.yml", "rule_files:\n- none.yml"))
	if err == nil || !strings.Contains(err.Error(), "p.yml:2:3: rule_files[0]: found") {
		t.Errorf("missing file: %v", err)
	}
	cfg, err := Load(write(t, dir, "p.yml", "rule_files:\n- none/*.yml"))
	if err != nil || len(cfg.Warnings) != 1 {
		t.Errorf("pattern without files: %v %v", cfg, err)
	}
	if _, err := Load(filepath.Join(dir, "absent.yml")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("absent: %v", err)
	}
	_, err = Load(write(t, dir, "p.yml", "tocsin: {destinations: [{name: a, type: console, secret_file: absent}]}"))
	if err == nil || !strings.Contains(err.Error(), "secret_file") {
		t.Errorf("secret file: %v", err)
	}
}

func TestWrongTargetFiles(t *testing.T) {
	dir := t.TempDir()
	cfg := write(t, dir, "p.yml", "scrape_configs:\n- job_name: a\n  file_sd_configs: [{files: [t/*.json, t/*.yml]}]")
	for _, test := range []struct{ name, in, want string }{
		{"a.json", `[{"targets": ["a:1"], "labels": {}}]`, ""},
		{"a.json", `[{"target": ["a:1"]}]`, "a.json: expected a list of targets and labels"},
		{"a.yml", "- targets: [a]\n  labels: {b: c}", ""},
		{"a.yml", "- target: [a]", `a.yml:1:3: [0]: found the unknown field "target", expected "targets"`},
		{"a.yml", "- targets: [", "a.yml:1: not valid YAML"},
		{"a.yml", "", ""},
	} {
		file := write(t, dir, "t/"+test.name, test.in)
		_, err := Load(cfg)
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%s %q: %v", test.name, test.in, err)
		}
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := Load(cfg); err != nil || len(got.Warnings) != 2 {
		t.Errorf("no files: %v", err)
	}
}

func TestScrapeConfigFiles(t *testing.T) {
	dir := t.TempDir()
	main := write(t, dir, "p.yml", "scrape_configs: [{job_name: a}]\nscrape_config_files: [more/*.yml]")
	more := write(t, dir, "more/b.yml", "scrape_configs:\n- job_name: b\n  file_sd_configs: [{files: [t*.json]}]")
	cfg, err := Load(main)
	if err != nil || len(cfg.ScrapeConfigs) != 2 {
		t.Fatalf("%v %v", cfg, err)
	}
	if sd := cfg.ScrapeConfigs[1].ServiceDiscoveryConfigs[0].(*file.SDConfig); sd.Files[0] != filepath.Join(dir, "more/t*.json") {
		t.Errorf("a path in the second file: %v", sd.Files)
	}
	for in, want := range map[string]string{
		"scrape_configs:\n- job_name: a":              "more/b.yml:2:13: scrape_configs[0].job_name: found \"a\"",
		"scrape_configs:\n- job_name: b\n  jobs: [1]": "more/b.yml:3:3: scrape_configs[0]: found the unknown field",
		"global: {}": "more/b.yml:1:1: found the unknown section",
		"global: [":  "more/b.yml:1: not valid YAML",
	} {
		write(t, dir, "more/b.yml", in)
		if _, err := Load(main); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q in %s: %v", in, more, err)
		}
	}
}

func TestEmptyIsTheDefault(t *testing.T) {
	for _, in := range []string{"", "# nothing\n", "global:\n", "global: {}\ntocsin:\nscrape_configs:\n"} {
		cfg, err := Parse("p.yml", []byte(in))
		if err != nil {
			t.Fatalf("%q: %v", in, err)
		}
		if time.Duration(cfg.Global.EvaluationInterval) != time.Minute || cfg.OnGap != "shift" {
			t.Errorf("%q: %+v", in, cfg)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(full))
	f.Add([]byte("a: &a {<<: *a}\nglobal: *a"))
	f.Add([]byte("scrape_configs: [{job_name: a, <<: {b: c}}]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		cfg, err := Parse("fuzz.yml", data)
		if (cfg == nil) == (err == nil) {
			t.Fatal("neither or both of a configuration and an error")
		}
		if err == nil {
			_ = cfg.String()
		}
	})
}
