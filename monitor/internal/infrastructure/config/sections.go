package config

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	promconfig "github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/relabel"
	"go.yaml.in/yaml/v3"
)

// unservedSections are the sections of prometheus.yml that tocsin leaves alone.
func unservedSections() []string {
	return []string{
		"otlp", "remote_read", "remote_write", "runtime", "storage", "tracing",
	}
}

// unservedDiscovery are the ways of service discovery that tocsin leaves alone.
func unservedDiscovery(key string) bool {
	name, ok := strings.CutSuffix(key, "_sd_configs")
	if !ok {
		return false
	}
	const names = " aws azure consul digitalocean dns docker dockerswarm ec2 ecs elasticache eureka gce" +
		" hetzner http ionos kubernetes kuma lightsail linode marathon msk nerve nomad oci openstack" +
		" outscale ovhcloud puppetdb rds scaleway serverset stackit triton uyuni vultr "
	return strings.Contains(names, " "+name+" ")
}

func (r *reader) readGlobal(n *yaml.Node) {
	if isNull(n) {
		return
	}
	for _, key := range cut(n, func(key string) bool {
		return key == "query_log_file" || key == "scrape_failure_log_file" || strings.HasPrefix(key, "query_max_")
	}) {
		r.ignore("global." + key)
	}
	if r.timeoutTooLong(n, "global", promconfig.DefaultGlobalConfig.ScrapeInterval.String()) {
		return
	}
	var global promconfig.GlobalConfig
	if !r.checker.read(n, &global, "global") {
		return
	}
	// An empty mapping skips the type's own defaults.
	if global.ScrapeInterval == 0 {
		global = promconfig.DefaultGlobalConfig
	}
	global.ExternalLabels = r.expandEnvironment(global.ExternalLabels)
	r.cfg.Global = global
}

// expandEnvironment replaces $NAME and ${NAME} as Prometheus does.
func (r *reader) expandEnvironment(external labels.Labels) labels.Labels {
	b := labels.NewScratchBuilder(external.Len())
	external.Range(func(l labels.Label) {
		b.Add(l.Name, os.Expand(l.Value, func(name string) string {
			if name == "$" {
				return "$"
			}
			value := os.Getenv(name)
			if value == "" {
				r.cfg.Warnings = append(r.cfg.Warnings,
					"global.external_labels."+l.Name+": the environment variable "+name+" is empty or not set")
			}
			return value
		}))
	})
	return b.Labels()
}

func (r *reader) readRulePatterns(n *yaml.Node) {
	r.cfg.RuleFiles, r.rules = r.readPatterns(n, "rule_files")
}

func (r *reader) readScrapePatterns(n *yaml.Node) {
	r.cfg.ScrapeConfigFiles, r.scrapes = r.readPatterns(n, "scrape_config_files")
}

func (r *reader) readPatterns(n *yaml.Node, path string) ([]string, []*yaml.Node) {
	var patterns []string
	if !r.checker.read(n, &patterns, path) {
		return nil, nil
	}
	valid := regexp.MustCompile(`^[^*]*(\*[^/]*)?$`)
	for i, pattern := range patterns {
		if !valid.MatchString(pattern) {
			r.add(items(n)[i], index(path, i), "found %q, expected a path with * in its last part only", shorten(pattern))
		}
	}
	return patterns, items(n)
}

func (r *reader) readScrapeConfigs(n *yaml.Node) {
	if resolve(n).Kind != yaml.SequenceNode {
		r.add(n, "scrape_configs", "found %s, expected a list", found(n, "scrape_configs"))
		return
	}
	for i, item := range items(n) {
		r.readScrapeConfig(item, index("scrape_configs", i))
	}
}

func (r *reader) readScrapeConfig(n *yaml.Node, path string) {
	if resolve(n).Kind != yaml.MappingNode {
		r.add(n, path, "found %s, expected a mapping", found(n, path))
		return
	}
	name := lookup(n, "job_name")
	if isNull(name) || name.Value == "" && resolve(name).Kind == yaml.ScalarNode {
		r.add(n, path, "found no job_name, expected a name that no other scrape config has")
		return
	}
	job := resolve(name).Value
	for _, key := range cut(n, func(key string) bool {
		return unservedDiscovery(key) || key == "scrape_failure_log_file"
	}) {
		r.ignore("scrape_configs[job=" + shorten(job) + "]." + key)
	}
	if !r.checkTargets(n, path) || r.timeoutTooLong(n, path, r.cfg.Global.ScrapeInterval.String()) {
		return
	}
	sc := &promconfig.ScrapeConfig{}
	if !r.checker.read(n, sc, path) {
		return
	}
	if !r.checkRelabeling(n, path, "relabel_configs", sc.RelabelConfigs) ||
		!r.checkRelabeling(n, path, "metric_relabel_configs", sc.MetricRelabelConfigs) {
		return
	}
	if err := sc.Validate(r.cfg.Global); err != nil {
		r.add(n, path, "%s", strings.TrimSuffix(err.Error(), ` for scrape config with job name "`+job+`"`))
		return
	}
	if first, ok := r.jobs[job]; ok {
		r.add(name, child(path, "job_name"), "found %q, expected a name that no other scrape config has; %s has it too", shorten(job), first)
		return
	}
	if r.jobs[job] = path; r.file != r.cfg.File {
		r.jobs[job] += " of " + r.file
		sc.SetDirectory(filepath.Dir(r.file))
	}
	r.cfg.ScrapeConfigs = append(r.cfg.ScrapeConfigs, sc)
}

// checkRelabeling finds what the steps of a list lack, at the step.
func (r *reader) checkRelabeling(n *yaml.Node, path, key string, steps []*relabel.Config) bool {
	before := len(r.errs)
	for i, step := range steps {
		if err := step.Validate(r.cfg.Global.MetricNameValidationScheme); err != nil {
			r.add(items(lookup(n, key))[i], index(child(path, key), i), "%v", err)
		}
	}
	return len(r.errs) == before
}

// checkTargets finds URLs where addresses are expected, which Prometheus
// reports without a place.
func (r *reader) checkTargets(n *yaml.Node, path string) bool {
	if relabeling := lookup(n, "relabel_configs"); len(items(relabeling)) > 0 {
		return true
	}
	ok := true
	for i, group := range items(lookup(n, "static_configs")) {
		place := child(index(child(path, "static_configs"), i), "targets")
		for j, target := range items(lookup(group, "targets")) {
			if strings.Contains(resolve(target).Value, "/") {
				r.add(target, index(place, j), "found %q, expected host:port without a scheme or path", shorten(resolve(target).Value))
				ok = false
			}
		}
	}
	return ok
}

// timeoutTooLong compares scrape_timeout with scrape_interval where both, or the
// timeout alone, are written.
func (r *reader) timeoutTooLong(n *yaml.Node, path, inherited string) bool {
	timeout := lookup(n, "scrape_timeout")
	if isNull(timeout) {
		return false
	}
	interval := inherited
	if own := lookup(n, "scrape_interval"); !isNull(own) {
		interval = resolve(own).Value
	}
	t, okTimeout := duration(resolve(timeout).Value)
	i, okInterval := duration(interval)
	if !okTimeout || !okInterval || i == 0 || t <= i {
		return false
	}
	r.add(timeout, child(path, "scrape_timeout"), "found %q, expected at most the scrape_interval, which is %q",
		resolve(timeout).Value, interval)
	return true
}

func (r *reader) readAlerting(n *yaml.Node) {
	if resolve(n).Kind != yaml.MappingNode {
		r.add(n, "alerting", "found %s, expected a mapping", found(n, "alerting"))
		return
	}
	var alerting struct {
		AlertRelabelConfigs []*relabel.Config `yaml:"alert_relabel_configs"`
		Alertmanagers       []yaml.Node       `yaml:"alertmanagers"`
	}
	if !r.checker.read(n, &alerting, "alerting") {
		return
	}
	r.cfg.AlertRelabelConfigs = alerting.AlertRelabelConfigs
	r.checkRelabeling(n, "alerting", "alert_relabel_configs", alerting.AlertRelabelConfigs)
	for i, item := range items(lookup(n, "alertmanagers")) {
		r.readAlertmanager(item, index("alerting.alertmanagers", i))
	}
}

func (r *reader) readAlertmanager(n *yaml.Node, path string) {
	if resolve(n).Kind != yaml.MappingNode {
		r.add(n, path, "found %s, expected a mapping", found(n, path))
		return
	}
	for _, key := range cut(n, func(key string) bool {
		return unservedDiscovery(key) || key == "file_sd_configs" || key == "sigv4"
	}) {
		r.ignore(child(path, key))
	}
	if !r.checkTargets(n, path) {
		return
	}
	am := &promconfig.AlertmanagerConfig{}
	if !r.checker.read(n, am, path) {
		return
	}
	if am.Scheme == "" { // an empty mapping skips the type's own defaults
		*am = promconfig.DefaultAlertmanagerConfig
	}
	if am.Scheme != "http" && am.Scheme != "https" {
		r.add(lookup(n, "scheme"), child(path, "scheme"), "found %q, expected http or https", shorten(am.Scheme))
		return
	}
	if !r.checkRelabeling(n, path, "relabel_configs", am.RelabelConfigs) ||
		!r.checkRelabeling(n, path, "alert_relabel_configs", am.AlertRelabelConfigs) {
		return
	}
	r.cfg.Alertmanagers = append(r.cfg.Alertmanagers, am)
}

func duration(text string) (time.Duration, bool) {
	d, err := model.ParseDuration(text)
	return time.Duration(d), err == nil
}
