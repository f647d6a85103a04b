package tocsintest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Home is one installation of tocsin: a directory with its configuration, its
// database and its samples. Processes come and go in it, one at a time.
type Home struct {
	Dir string
	// Args are added to the command line of run.
	Args []string
	// Env is added to the environment.
	Env []string
}

// NewHome makes an installation in a temporary directory.
func NewHome(t testing.TB) *Home {
	t.Helper()
	return &Home{Dir: t.TempDir()}
}

// Config returns the path of the configuration file, Database that of the
// database.
func (h *Home) Config() string { return filepath.Join(h.Dir, "prometheus.yml") }

// Database returns the path of the database.
func (h *Home) Database() string { return filepath.Join(h.Dir, "tocsin.db") }

// Write writes a file of the installation, such as prometheus.yml or rules.yml.
// Another process never sees half of it.
func (h *Home) Write(t testing.TB, name, text string) {
	t.Helper()
	path := filepath.Join(h.Dir, name)
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// Setup is a configuration that most tests need.
type Setup struct {
	// Scrape and Evaluate are the intervals. Default: 500ms.
	Scrape, Evaluate string
	// Targets are the addresses of job "test", or none.
	Targets []string
	// Destinations are lines of YAML, each a destination.
	Destinations []string
	// Tocsin are more lines of tocsin's own section.
	Tocsin []string
	// Rules is the YAML list of the rules of the one group, "test".
	Rules string
}

// Configure writes prometheus.yml and rules.yml.
func (h *Home) Configure(t testing.TB, s Setup) {
	t.Helper()
	if s.Scrape == "" {
		s.Scrape = "500ms"
	}
	if s.Evaluate == "" {
		s.Evaluate = "500ms"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "global: {scrape_interval: %s, scrape_timeout: %[1]s, evaluation_interval: %s}\n", s.Scrape, s.Evaluate)
	fmt.Fprintf(&b, "rule_files: [rules.yml]\n")
	if len(s.Targets) > 0 {
		fmt.Fprintf(&b, "scrape_configs:\n  - {job_name: test, static_configs: [{targets: ['%s']}]}\n", strings.Join(s.Targets, "', '"))
	}
	if len(s.Destinations)+len(s.Tocsin) > 0 {
		b.WriteString("tocsin:\n")
	}
	for _, line := range s.Tocsin {
		fmt.Fprintf(&b, "  %s\n", line)
	}
	if len(s.Destinations) > 0 {
		b.WriteString("  destinations:\n")
	}
	for _, d := range s.Destinations {
		fmt.Fprintf(&b, "    - %s\n", d)
	}
	h.Write(t, "prometheus.yml", b.String())
	h.Write(t, "rules.yml", "groups:\n  - name: test\n    rules:\n"+indent(s.Rules))
}

// indent moves a block of YAML under a key of the rule group. The block may be
// written with tabs before it, as it stands in Go code.
func indent(block string) string {
	lines := strings.Split(strings.Trim(block, "\n\t "), "\n")
	margin := ""
	if len(lines) > 1 {
		for _, line := range lines[1:] {
			margin = line[:len(line)-len(strings.TrimLeft(line, "\t"))]
			break
		}
	}
	var b strings.Builder
	for _, line := range lines {
		b.WriteString("      " + strings.TrimPrefix(line, margin) + "\n")
	}
	return b.String()
}
