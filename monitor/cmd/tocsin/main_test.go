package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// text is a writer that others read from meanwhile.
type text struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (w *text) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.buf.Write(p)
}

func (w *text) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.buf.String()
}

// files writes a configuration with one rule file.
func files(t *testing.T, text, rules string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"prometheus.yml": text, "rules.yml": rules} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "prometheus.yml")
}

const (
	goodConfig = "global: {evaluation_interval: 1s}\nrule_files: [rules.yml]\n"
	goodRules  = "groups: [{name: g, rules: [{alert: Always, expr: vector(1)}, {record: a:b, expr: vector(2)}]}]\n"
)

func TestTheCommandLine(t *testing.T) {
	good := files(t, goodConfig, goodRules)
	ignoring := files(t, goodConfig+"remote_write: [{url: http://localhost/write}]\n", goodRules)
	badConfig := files(t, "global:\n  evaluation_intervall: 1s\n", goodRules)
	badRules := files(t, goodConfig, "groups:\n- name: g\n  rules:\n  - alert: A\n    expr: sum(\n")
	for name, c := range map[string]struct {
		args        []string
		exit        int
		out, errout []string // what it prints there; nothing when empty
	}{
		"help":            {[]string{"--help"}, 0, []string{"Usage: tocsin", "Examples:", "--config", "check config"}, nil},
		"help of run":     {[]string{"run", "--help"}, 0, []string{"--listen", "127.0.0.1:9096", "--web-config", "--external-url", "--db"}, nil},
		"help of check":   {[]string{"check", "--help"}, 0, []string{"check config <file>", "Check a configuration"}, nil},
		"version":         {[]string{"--version"}, 0, []string{version()}, nil},
		"unknown flag":    {[]string{"--no-such-flag"}, 2, nil, []string{"tocsin: ", "--no-such-flag", "tocsin --help"}},
		"unknown command": {[]string{"dance"}, 2, nil, []string{"tocsin: ", "dance", "tocsin --help"}},
		"incomplete":      {[]string{"check"}, 2, nil, []string{"tocsin: ", "config"}},
		"no file":         {[]string{"check", "config"}, 2, nil, []string{"tocsin: ", "<file>"}},
		"bad level":       {[]string{"--log-level", "loud"}, 2, nil, []string{"--log-level", "loud", "debug", "error"}},
		"bad format":      {[]string{"run", "--log-format=xml"}, 2, nil, []string{"--log-format", "xml", "text", "json"}},
		"no value":        {[]string{"run", "--config"}, 2, nil, []string{"--config"}},
		"good config":     {[]string{"check", "config", good}, 0, []string{good + " is good: 0 scrape configurations, 1 rule groups with 2 rules"}, nil},
		"ignored section": {[]string{"check", "config", ignoring}, 0, []string{"is good", "ignored: remote_write"}, nil},
		"bad config":      {[]string{"check", "config", badConfig}, 1, nil, []string{badConfig + ":2:3: ", "evaluation_intervall"}},
		"bad rules":       {[]string{"check", "config", badRules}, 1, nil, []string{"rules.yml:5:", "expr"}},
		"missing config":  {[]string{"check", "config", "missing.yml"}, 1, nil, []string{"missing.yml"}},
		"run bad config":  {[]string{"run", "--config", badConfig, "--listen", "127.0.0.1:0", "--data", t.TempDir()}, 1, nil, []string{badConfig + ":2:3: "}},
		"run bad db":      {[]string{"--db", "postgres://a:hidden@b/c", "--listen", "127.0.0.1:0", "--data", t.TempDir()}, 1, nil, []string{"--db", "postgres", "sqlite:PATH"}},
		"run bad address": {[]string{"--listen", "nonsense", "--data", t.TempDir()}, 1, nil, []string{"--listen", "nonsense"}},
	} {
		t.Run(name, func(t *testing.T) {
			var stdout, stderr text
			if exit := run(c.args, &stdout, &stderr); exit != c.exit {
				t.Errorf("exit code %d, want %d", exit, c.exit)
			}
			expect(t, "standard output", stdout.String(), c.out)
			expect(t, "standard error", stderr.String(), c.errout)
			if strings.Contains(stdout.String()+stderr.String(), "hidden") {
				t.Error("a password was printed")
			}
		})
	}
}

func expect(t *testing.T, where, got string, parts []string) {
	t.Helper()
	if len(parts) == 0 && got != "" {
		t.Errorf("%s has %q", where, got)
	}
	for _, part := range parts {
		if !strings.Contains(got, part) {
			t.Errorf("%s has %q, want %q in it", where, got, part)
		}
	}
}
