package config

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"

	commonconfig "github.com/prometheus/common/config"
	promconfig "github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/relabel"
	"go.yaml.in/yaml/v3"
)

// Config is what tocsin is told to do. Treat it as read-only: the parts share
// memory with each other.
type Config struct {
	// File is the configuration file, or empty for the built-in configuration.
	File string `yaml:"-"`
	// Global has its defaults filled in.
	Global promconfig.GlobalConfig `yaml:"global"`
	// RuleFiles are the patterns, relative to the configuration file until Load
	// has made them absolute or relative to the working directory.
	RuleFiles []string `yaml:"rule_files,omitempty"`
	// ScrapeConfigFiles are the patterns of the files with more scrape configs.
	ScrapeConfigFiles []string `yaml:"scrape_config_files,omitempty"`
	// ScrapeConfigs have their defaults filled in from Global. After Load
	// those of ScrapeConfigFiles are among them.
	ScrapeConfigs []*promconfig.ScrapeConfig `yaml:"scrape_configs,omitempty"`
	// AlertRelabelConfigs apply to the alerts for every Alertmanager.
	AlertRelabelConfigs []*relabel.Config `yaml:"alert_relabel_configs,omitempty"`
	// Alertmanagers are the Alertmanagers of the alerting section.
	Alertmanagers []*promconfig.AlertmanagerConfig `yaml:"alertmanagers,omitempty"`
	// Groups are the rule groups of all rule files, in the order of the files.
	Groups []RuleGroup `yaml:"-"`
	// Tocsin is tocsin's own section, with its defaults filled in.
	Tocsin `yaml:"tocsin"`

	// Ignored names what the file asks for and tocsin does not serve.
	Ignored []string `yaml:"-"`
	// Warnings are things that are allowed and probably not meant.
	Warnings []string `yaml:"-"`
}

// ExternalLabels returns the labels that are added to everything that leaves
// tocsin.
func (c *Config) ExternalLabels() map[string]string { return c.Global.ExternalLabels.Map() }

// String returns the configuration as YAML, with the defaults filled in and the
// secrets left out.
func (c *Config) String() string {
	text, err := yaml.Marshal(c)
	if err != nil {
		return fmt.Sprintf("config: %v", err)
	}
	return redact(string(text))
}

// Load reads a configuration file and the files that it names: rules, targets
// and secrets. All mistakes that can be found are in the error, each an *Error.
func Load(path string) (*Config, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	r := newReader(path)
	r.read(data)
	r.setDirectory(filepath.Dir(path))
	r.readScrapeFiles()
	r.readRuleFiles()
	r.checkTargetFiles()
	r.checkSecretFiles()
	return r.result()
}

// Parse reads a configuration without touching any other file: the rule files
// are not read, and paths stay as they are written. name is for the messages.
func Parse(name string, data []byte) (*Config, error) {
	r := newReader(name)
	r.read(data)
	return r.result()
}

func newConfig(name string) *Config {
	return &Config{File: name, Global: promconfig.DefaultGlobalConfig, Tocsin: defaultTocsin()}
}

// reader fills a Config and collects the mistakes.
type reader struct {
	*checker
	cfg     *Config
	jobs    map[string]string // where the job names are
	rules   []*yaml.Node      // the items of rule_files
	scrapes []*yaml.Node      // the items of scrape_config_files
}

func newReader(name string) *reader {
	return &reader{checker: newChecker(name), cfg: newConfig(name), jobs: map[string]string{}}
}

func (r *reader) result() (*Config, error) {
	if err := join(r.errs); err != nil {
		return nil, err
	}
	slices.Sort(r.cfg.Ignored)
	r.cfg.Ignored = slices.Compact(r.cfg.Ignored)
	return r.cfg, nil
}

// read goes through the sections. The order matters: global holds the defaults
// of the others.
func (r *reader) read(data []byte) {
	root, mistake := readDocument(r.file, data)
	if mistake != nil {
		r.errs = append(r.errs, mistake)
		return
	}
	if root == nil {
		return
	}
	sections := map[string]func(*yaml.Node){
		"rule_files": r.readRulePatterns, "scrape_configs": r.readScrapeConfigs,
		"scrape_config_files": r.readScrapePatterns, "alerting": r.readAlerting, "tocsin": r.readTocsin,
	}
	if global := lookup(root, "global"); global != nil {
		r.readGlobal(global)
	}
	r.checkKeys(root, "")
	for _, e := range entries(root) {
		switch read := sections[e.key.Value]; {
		case e.key.Value == "global":
		case read != nil && !isNull(e.value):
			read(e.value)
		case read != nil:
		case slices.Contains(unservedSections(), e.key.Value):
			r.ignore(e.key.Value)
		default:
			r.add(e.key, "", "found the unknown section %q, expected one of alerting, global, rule_files, scrape_config_files, scrape_configs, tocsin",
				shorten(e.key.Value))
		}
	}
}

func (r *reader) ignore(what string) { r.cfg.Ignored = append(r.cfg.Ignored, what) }

// setDirectory makes relative paths relative to the configuration file.
func (r *reader) setDirectory(dir string) {
	for _, sc := range r.cfg.ScrapeConfigs {
		sc.SetDirectory(dir)
	}
	for _, am := range r.cfg.Alertmanagers {
		am.SetDirectory(dir)
	}
	for _, patterns := range [][]string{r.cfg.RuleFiles, r.cfg.ScrapeConfigFiles} {
		for i, pattern := range patterns {
			patterns[i] = commonconfig.JoinDir(dir, pattern)
		}
	}
	for i := range r.cfg.Destinations {
		r.cfg.Destinations[i].SecretFile = commonconfig.JoinDir(dir, r.cfg.Destinations[i].SecretFile)
	}
}
