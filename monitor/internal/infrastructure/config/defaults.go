package config

import (
	_ "embed"
	"fmt"
	"net"
	"time"

	"github.com/prometheus/common/model"
	promconfig "github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery"
)

//go:embed default_rules.yml
var defaultRules []byte

// DefaultRuleFile is the name under which the built-in rules appear.
const DefaultRuleFile = "default_rules.yml"

// Default returns the configuration for a start without one: tocsin scrapes
// itself (job "tocsin", /metrics) and this machine (job "node", /metrics/host)
// on listen, the host:port that its own server listens on, and evaluates the
// built-in rules, all every 5 seconds. A listen address without a host, or for
// all hosts, is scraped on 127.0.0.1.
func Default(listen string) *Config {
	const interval = model.Duration(5 * time.Second)
	c := newConfig("")
	c.Global.ScrapeInterval, c.Global.ScrapeTimeout, c.Global.EvaluationInterval = interval, interval, interval
	address := localAddress(listen)
	for _, job := range []struct{ name, path string }{{"tocsin", "/metrics"}, {"node", "/metrics/host"}} {
		sc := promconfig.DefaultScrapeConfig
		sc.JobName, sc.MetricsPath = job.name, job.path
		sc.ServiceDiscoveryConfigs = discovery.Configs{discovery.StaticConfig{{
			Source: "0", Targets: []model.LabelSet{{model.AddressLabel: model.LabelValue(address)}},
		}}}
		if err := sc.Validate(c.Global); err != nil {
			c.Warnings = append(c.Warnings, fmt.Sprintf("config: built-in job %s: %v", job.name, err))
		}
		c.ScrapeConfigs = append(c.ScrapeConfigs, &sc)
	}
	groups, err := ParseRules(DefaultRuleFile, defaultRules, c.Global)
	if err != nil {
		c.Warnings = append(c.Warnings, fmt.Sprintf("config: built-in rules: %v", err))
	}
	c.Groups = groups
	return c
}

func localAddress(listen string) string {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return listen
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}
