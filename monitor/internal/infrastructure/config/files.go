package config

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/prometheus/prometheus/discovery/file"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	"go.yaml.in/yaml/v3"
)

// checkTargetFiles reads the files that name targets. Discovery would log a
// mistake in one of them and go on without its targets, and without them their
// alerts would seem to be over.
func (r *reader) checkTargetFiles() {
	for _, sc := range r.cfg.ScrapeConfigs {
		for _, sd := range sc.ServiceDiscoveryConfigs {
			files, ok := sd.(*file.SDConfig)
			if !ok {
				continue
			}
			for _, pattern := range files.Files {
				names, err := filepath.Glob(pattern)
				if err != nil || len(names) == 0 {
					r.cfg.Warnings = append(r.cfg.Warnings,
						"scrape_configs[job="+sc.JobName+"].file_sd_configs: no file matches "+pattern)
				}
				for _, name := range names {
					r.checkTargetFile(name)
				}
			}
		}
	}
}

func (r *reader) checkTargetFile(name string) {
	data, err := os.ReadFile(name)
	if err != nil {
		r.errs = append(r.errs, at(name, nil, "", "expected a file that can be read: %v", err))
		return
	}
	var groups []*targetgroup.Group
	if strings.EqualFold(filepath.Ext(name), ".json") {
		if err := json.Unmarshal(data, &groups); err != nil {
			r.errs = append(r.errs, at(name, nil, "", "expected a list of targets and labels: %v", err))
		}
		return
	}
	c := newChecker(name)
	var root yaml.Node
	if err := yaml.Unmarshal(data, &root); err != nil {
		c.errs = append(c.errs, syntaxError(name, err))
	} else if len(root.Content) > 0 {
		c.check(root.Content[0], reflect.TypeFor[[]*targetgroup.Group](), "")
	}
	r.errs = append(r.errs, c.errs...)
}

// files returns the files that match the patterns, each once, in their order.
func (r *reader) files(path string, patterns []string, nodes []*yaml.Node) []string {
	var all []string
	for i, pattern := range patterns {
		names, err := filepath.Glob(pattern)
		switch {
		case err != nil:
			r.add(nodes[i], index(path, i), "found %q, expected a path or a pattern: %v", pattern, err)
		case len(names) == 0 && strings.ContainsAny(pattern, "*?["):
			r.cfg.Warnings = append(r.cfg.Warnings, index(path, i)+": no file matches "+pattern)
		case len(names) == 0:
			r.add(nodes[i], index(path, i), "found %q, expected a file that exists", pattern)
		}
		for _, name := range names {
			if !slices.Contains(all, name) {
				all = append(all, name)
			}
		}
	}
	return all
}

// readScrapeFiles reads the files that hold scrape configs only.
func (r *reader) readScrapeFiles() {
	main := r.checker
	for _, name := range r.files("scrape_config_files", r.cfg.ScrapeConfigFiles, r.scrapes) {
		data, err := os.ReadFile(name)
		if err != nil {
			main.errs = append(main.errs, at(name, nil, "", "expected a file that can be read: %v", err))
			continue
		}
		r.checker = newChecker(name)
		root, mistake := readDocument(name, data)
		if mistake != nil {
			r.errs = append(r.errs, mistake)
		}
		for _, e := range entries(root) {
			if e.key.Value != "scrape_configs" {
				r.add(e.key, "", "found the unknown section %q, expected scrape_configs", shorten(e.key.Value))
			} else if !isNull(e.value) {
				r.readScrapeConfigs(e.value)
			}
		}
		main.errs = append(main.errs, r.errs...)
	}
	r.checker = main
}
