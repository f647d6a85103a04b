package tocsintest_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/uow-go/uow/integration/internal/tocsintest"
)

func TestConfigureWritesTheFiles(t *testing.T) {
	home := tocsintest.NewHome(t)
	home.Configure(t, tocsintest.Setup{
		Scrape: "250ms", Evaluate: "1s",
		Targets:      []string{"127.0.0.1:1", "127.0.0.1:2"},
		Destinations: []string{"{name: hook, type: console}"},
		Tocsin:       []string{"on_gap: count"},
		Rules: `
			- alert: A
			  expr: x > 0
			  labels:
			    severity: page
			- {alert: B, expr: y}
		`,
	})
	for name, want := range map[string]string{
		"prometheus.yml": `global: {scrape_interval: 250ms, scrape_timeout: 250ms, evaluation_interval: 1s}
rule_files: [rules.yml]
scrape_configs:
  - {job_name: test, static_configs: [{targets: ['127.0.0.1:1', '127.0.0.1:2']}]}
tocsin:
  on_gap: count
  destinations:
    - {name: hook, type: console}
`,
		"rules.yml": `groups:
  - name: test
    rules:
      - alert: A
        expr: x > 0
        labels:
          severity: page
      - {alert: B, expr: y}
`,
	} {
		got, err := os.ReadFile(filepath.Join(home.Dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != want {
			t.Errorf("%s:\n%s\nwant:\n%s", name, got, want)
		}
	}
}
