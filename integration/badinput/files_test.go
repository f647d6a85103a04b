package badinput_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/uow-go/uow/integration/internal/tocsintest"
)

func TestMain(m *testing.M) { tocsintest.Main(m) }

// secret is in files whose mistakes are reported.
const secret = "hunter2hunter2"

// refused runs tocsin to its end, which must be an error that a person can use.
func refused(t *testing.T, p *tocsintest.Process) string {
	t.Helper()
	_ = p.Exit(t) // the code says it all
	logs := p.Logs()
	if code := p.ExitCode(); code <= 0 {
		t.Errorf("the exit code is %d", code)
	}
	for _, bad := range []string{"goroutine ", "panic:", ".go:", secret} {
		if strings.Contains(logs, bad) {
			t.Errorf("the output has %q:\n%s", bad, logs)
		}
	}
	if n := strings.Count(logs, "\n"); n > 8 {
		t.Errorf("the output has %d lines:\n%s", n, logs)
	}
	return logs
}

func TestWrongCommandLines(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "a-file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	data := []string{"--data", filepath.Join(dir, "data"), "--listen", "127.0.0.1:0"}
	for name, test := range map[string]struct {
		args []string
		want string
	}{
		"an unknown command":      {[]string{"walk"}, "walk"},
		"an unknown flag":         {[]string{"run", "--colour"}, "--colour"},
		"a missing value":         {[]string{"run", "--config"}, "--config"},
		"an unknown log level":    {append([]string{"run", "--log-level", "loud"}, data...), "loud"},
		"a file that is missing":  {append([]string{"run", "--config", dir + "/none.yml"}, data...), "none.yml"},
		"a folder as a file":      {append([]string{"run", "--config", dir}, data...), dir},
		"another database":        {append([]string{"run", "--db", "mysql://u:" + secret + "@host/x"}, data...), "mysql"},
		"an empty database":       {append([]string{"run", "--db", "sqlite:"}, data...), "sqlite:"},
		"a folder as a database":  {append([]string{"run", "--db", "sqlite:" + dir}, data...), dir},
		"a file as the data":      {[]string{"run", "--data", file, "--listen", "127.0.0.1:0"}, "a-file"},
		"no port":                 {[]string{"run", "--data", dir + "/d", "--listen", "127.0.0.1"}, "--listen"},
		"a port that is none":     {[]string{"run", "--data", dir + "/d", "--listen", "127.0.0.1:many"}, "--listen"},
		"a missing web config":    {append([]string{"run", "--web-config", dir + "/web.yml"}, data...), "web.yml"},
		"a check without a file":  {[]string{"check", "config"}, "file"},
		"a check of what is none": {[]string{"check", "config", dir + "/none.yml"}, "none.yml"},
	} {
		t.Run(name, func(t *testing.T) {
			home := []string{"HOME=" + dir, "XDG_DATA_HOME=" + dir}
			if logs := refused(t, tocsintest.Launch(t, home, test.args...)); !strings.Contains(logs, test.want) {
				t.Errorf("the output does not have %q:\n%s", test.want, logs)
			}
		})
	}
}

// wrongFile is a mistake in prometheus.yml or rules.yml, and where it is to be
// found.
type wrongFile struct{ file, text, want string }

func wrongFiles() map[string]wrongFile {
	return map[string]wrongFile{
		"no YAML":               {"prometheus.yml", "global:\n  scrape_interval: [1s\n", "prometheus.yml:"},
		"a list":                {"prometheus.yml", "- a\n- b\n", "prometheus.yml:1:1: "},
		"an unknown section":    {"prometheus.yml", "global: {}\nscrape_confgs: []\n", "prometheus.yml:2:1: "},
		"an unknown field":      {"prometheus.yml", "global:\n  scrape_intervall: 1s\n", `prometheus.yml:2:3: `},
		"no duration":           {"prometheus.yml", "global:\n  scrape_interval: soon\n", "prometheus.yml:2:20: "},
		"a URL as a target":     {"prometheus.yml", "scrape_configs:\n  - job_name: a\n    static_configs:\n      - targets: ['http://x:1/m']\n", "prometheus.yml:4:"},
		"a job twice":           {"prometheus.yml", "scrape_configs:\n  - job_name: a\n  - job_name: a\n", "prometheus.yml:3:"},
		"a password in a list":  {"prometheus.yml", "scrape_configs:\n  - job_name: a\n    basic_auth: {username: u, password: [" + secret + "]}\n", "prometheus.yml:3:"},
		"a broken URL":          {"prometheus.yml", "tocsin:\n  destinations:\n    - {name: a, type: webhook, url: '" + secret + "'}\n", "prometheus.yml:3:"},
		"an unknown type":       {"prometheus.yml", "tocsin:\n  destinations:\n    - {name: a, type: pigeon}\n", "prometheus.yml:3:"},
		"an unknown policy":     {"prometheus.yml", "tocsin:\n  on_gap: guess\n", "prometheus.yml:2:11: "},
		"no secret file":        {"prometheus.yml", "tocsin:\n  destinations:\n    - {name: a, type: webhook, url: 'http://127.0.0.1:1', secret_file: none}\n", "prometheus.yml"},
		"no rule file":          {"prometheus.yml", "rule_files: [none.yml]\n", "prometheus.yml:1:14: "},
		"a rule without PromQL": {"rules.yml", "groups:\n  - name: a\n    rules:\n      - alert: A\n        expr: sum(\n", "rules.yml:5:"},
		"a rule without a name": {"rules.yml", "groups:\n  - name: a\n    rules:\n      - expr: up\n", "rules.yml:4:"},
		"an unknown rule field": {"rules.yml", "groups:\n  - name: a\n    rules:\n      - alert: A\n        expr: up\n        fore: 5m\n", "rules.yml:6:9: "},
		"a broken template":     {"rules.yml", "groups:\n  - name: a\n    rules:\n      - alert: A\n        expr: up\n        annotations: {a: '{{ $labels.'}\n", "rules.yml:"},
		"a group twice":         {"rules.yml", "groups:\n  - name: a\n  - name: a\n", "rules.yml:3:"},
		"a string as a rule":    {"rules.yml", "groups:\n  - name: a\n    rules:\n      - alert: A\n        expr: '\"text\"'\n", "rules.yml:5:"},
	}
}

func TestWrongFiles(t *testing.T) {
	for name, test := range wrongFiles() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			home := tocsintest.NewHome(t)
			home.Write(t, "prometheus.yml", "rule_files: [rules.yml]\n")
			home.Write(t, "rules.yml", "groups: []\n")
			home.Write(t, test.file, test.text)
			for _, p := range []*tocsintest.Process{
				home.Launch(t),
				tocsintest.Launch(t, nil, "check", "config", home.Config()),
			} {
				if logs := refused(t, p); !strings.Contains(logs, test.want) {
					t.Errorf("the output does not have %q:\n%s", test.want, logs)
				}
			}
		})
	}
}

// TestAWrongSecret: what cannot sign stops the start, and is not shown.
func TestAWrongSecret(t *testing.T) {
	home := tocsintest.NewHome(t)
	home.Configure(t, tocsintest.Setup{
		Destinations: []string{"{name: hook, type: webhook, url: 'http://127.0.0.1:1', secret: '" + secret + "'}"},
		Rules:        "- {alert: Always, expr: vector(1)}",
	})
	if logs := refused(t, home.Launch(t)); !strings.Contains(logs, "hook") {
		t.Errorf("the output does not name the destination:\n%s", logs)
	}
}

// TestReloadOfAWrongFile: whatever is in the files, SIGHUP keeps the rules that
// run, and a file that was put right is taken.
func TestReloadOfAWrongFile(t *testing.T) {
	home := tocsintest.NewHome(t)
	exporter := tocsintest.NewExporter(t)
	exporter.Set("level", 1)
	good := tocsintest.Setup{Targets: []string{exporter.Address}, Rules: "- {alert: High, expr: level > 0}"}
	home.Configure(t, good)
	p := home.Start(t)
	home.WaitKinds(t, "High", "firing")
	for name, test := range wrongFiles() {
		home.Configure(t, good)
		home.Write(t, test.file, test.text)
		before := strings.Count(p.Logs(), "reload failed")
		p.Signal(t, syscall.SIGHUP)
		tocsintest.Eventually(t, name+" is refused", func() error {
			if strings.Count(p.Logs(), "reload failed") == before {
				return errors.New("no message")
			}
			return nil
		})
	}
	if strings.Contains(p.Logs(), secret) {
		t.Errorf("the log has a secret:\n%s", p.Logs())
	}
	home.WaitSlots(t, 3)
	if kinds := home.History(t).Kinds("High"); kinds != "firing" {
		t.Errorf("the transitions are %q", kinds)
	}
	good.Rules = "- {alert: High, expr: level > 0}\n- {alert: Higher, expr: level > 0}"
	home.Configure(t, good)
	p.Signal(t, syscall.SIGHUP)
	home.WaitKinds(t, "Higher", "firing")
	p.Stop(t)
	if kinds := home.History(t).Kinds("High"); kinds != "firing" {
		t.Errorf("the transitions are %q", kinds)
	}
}

// TestASecondProcess: two tocsins with one database and one data directory would
// both evaluate. The second one must not start, and must not disturb the first.
func TestASecondProcess(t *testing.T) {
	home := tocsintest.NewHome(t)
	exporter := tocsintest.NewExporter(t)
	exporter.Set("level", 1)
	home.Configure(t, tocsintest.Setup{Targets: []string{exporter.Address}, Rules: "- {alert: High, expr: level > 0}"})
	p := home.Start(t)
	home.WaitKinds(t, "High", "firing")
	if logs := refused(t, home.Launch(t)); !strings.Contains(logs, "lock") {
		t.Errorf("the second one does not say why it ended: %s", logs)
	}
	exporter.Set("level", 0)
	home.WaitKinds(t, "High", "firing resolved")
	p.Stop(t)
}

// TestABrokenDatabase: a file that is no database stops the start and is left as
// it is.
func TestABrokenDatabase(t *testing.T) {
	home := tocsintest.NewHome(t)
	home.Configure(t, tocsintest.Setup{Rules: "- {alert: Always, expr: vector(1)}"})
	text := strings.Repeat("this is no database ", 1000)
	home.Write(t, filepath.Base(home.Database()), text)
	if logs := refused(t, home.Launch(t)); !strings.Contains(logs, home.Database()) {
		t.Errorf("the output does not name the file:\n%s", logs)
	}
	got, err := os.ReadFile(home.Database())
	if err != nil || string(got) != text {
		t.Error(fmt.Errorf("the file was changed: %w", err))
	}
}
