package config

import (
	"errors"
	"log/slog"
	"maps"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	promconfig "github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
	"go.yaml.in/yaml/v3"
)

// RuleGroup is a group of rules that are evaluated one after the other at one
// time.
type RuleGroup struct {
	File        string
	Name        string
	Interval    time.Duration // the global evaluation_interval where the file has none
	QueryOffset time.Duration // the global rule_query_offset where the file has none
	Limit       int           // 0 means none
	Labels      map[string]string
	Rules       []Rule
}

// ID names the group among all groups of a configuration.
func (g RuleGroup) ID() string { return g.File + ";" + g.Name }

// Rule is an alerting rule or a recording rule: one of Alert and Record is set.
type Rule struct {
	Alert  string
	Record string
	// Expr is the expression as it is written, Query the same parsed.
	Expr          string
	Query         parser.Expr
	For           time.Duration
	KeepFiringFor time.Duration
	// Labels are the rule's over those of its group.
	Labels      map[string]string
	Annotations map[string]string
	// Line is where the rule starts in its file.
	Line int
}

// Name returns the name of the alert or of the recorded metric.
func (r Rule) Name() string {
	if r.Alert != "" {
		return r.Alert
	}
	return r.Record
}

// NewParser returns the parser of PromQL that rules are read with. The engine
// that evaluates them must use it too.
func NewParser() parser.Parser { return parser.NewParser(parser.Options{}) }

// ParseRules reads a rule file in the format of Prometheus. global gives what
// the groups do not say themselves.
func ParseRules(file string, data []byte, global promconfig.GlobalConfig) ([]RuleGroup, error) {
	c := newChecker(file)
	groups := c.readRules(data, global)
	if err := join(c.errs); err != nil {
		return nil, err
	}
	return groups, nil
}

func (c *checker) readRules(data []byte, global promconfig.GlobalConfig) []RuleGroup {
	root, mistake := readDocument(c.file, data)
	if mistake != nil {
		c.errs = append(c.errs, mistake)
		return nil
	}
	if root == nil {
		return nil
	}
	var shape rulefmt.RuleGroups
	if !c.read(root, &shape, "") || !c.checkGroups(root) {
		return nil
	}
	scheme := global.MetricNameValidationScheme
	if scheme == model.UnsetValidation {
		scheme = model.UTF8Validation
	}
	parsed, errs := rulefmt.Parse(data, false, scheme, NewParser(), slog.New(slog.DiscardHandler))
	for _, err := range errs {
		c.errs = append(c.errs, c.ruleError(root, err))
	}
	if len(errs) > 0 {
		return nil
	}
	groups := make([]RuleGroup, 0, len(parsed.Groups))
	for i, g := range parsed.Groups {
		node := items(lookup(root, "groups"))[i]
		groups = append(groups, c.group(g, node, index("groups", i), global))
	}
	return groups
}

// checkGroups finds what rulefmt reports without a place, or not at all.
func (c *checker) checkGroups(root *yaml.Node) bool {
	before := len(c.errs)
	names := map[string]bool{}
	for i, group := range items(lookup(root, "groups")) {
		path := index("groups", i)
		if isNull(group) {
			c.add(group, path, "found nothing, expected a group")
			continue
		}
		name := resolve(lookup(group, "name"))
		switch {
		case isNull(name) || name.Value == "":
			c.add(group, path, "found no name, expected a name that no other group of the file has")
		case names[name.Value]:
			c.add(name, child(path, "name"), "found %q, expected a name that no other group of the file has", shorten(name.Value))
		default:
			names[name.Value] = true
		}
		for j, rule := range items(lookup(group, "rules")) {
			if isNull(rule) {
				c.add(rule, index(child(path, "rules"), j), "found nothing, expected a rule")
			}
		}
	}
	return len(c.errs) == before
}

// group takes over a group that is valid.
func (c *checker) group(g rulefmt.RuleGroup, n *yaml.Node, path string, global promconfig.GlobalConfig) RuleGroup {
	group := RuleGroup{
		File: c.file, Name: g.Name, Limit: g.Limit, Labels: g.Labels,
		Interval: time.Duration(g.Interval), QueryOffset: time.Duration(global.RuleQueryOffset),
	}
	if group.Interval == 0 {
		group.Interval = time.Duration(global.EvaluationInterval)
	}
	if g.QueryOffset != nil {
		group.QueryOffset = time.Duration(*g.QueryOffset)
	}
	if g.Limit < 0 {
		c.add(lookup(n, "limit"), child(path, "limit"), "found %d, expected 0 or more", g.Limit)
	}
	for j, r := range g.Rules {
		node := items(lookup(n, "rules"))[j]
		query, err := NewParser().ParseExpr(r.Expr)
		if err != nil {
			c.add(node, index(child(path, "rules"), j), "%v", err)
			continue
		}
		if t := query.Type(); t != parser.ValueTypeVector && t != parser.ValueTypeScalar {
			c.add(lookup(node, "expr"), child(index(child(path, "rules"), j), "expr"),
				"found an expression that gives a %s, expected one that gives an instant vector or a scalar", parser.DocumentedType(t))
			continue
		}
		group.Rules = append(group.Rules, Rule{
			Alert: r.Alert, Record: r.Record, Expr: r.Expr, Query: query,
			For: time.Duration(r.For), KeepFiringFor: time.Duration(r.KeepFiringFor),
			Labels: merge(g.Labels, r.Labels), Annotations: r.Annotations, Line: resolve(node).Line,
		})
	}
	return group
}

func merge(under, over map[string]string) map[string]string {
	if len(under)+len(over) == 0 {
		return nil
	}
	all := maps.Clone(under)
	if all == nil {
		all = map[string]string{}
	}
	maps.Copy(all, over)
	return all
}

// ruleError gives an error of rulefmt its place.
func (c *checker) ruleError(root *yaml.Node, err error) *Error {
	text := err.Error()
	place := regexp.MustCompile(`^(\d+):(\d+): `)
	e := &Error{File: c.file}
	for {
		match := place.FindStringSubmatch(text)
		if match == nil {
			break
		}
		if line, _ := strconv.Atoi(match[1]); e.Line == 0 && line > 0 {
			e.Line = line
			e.Column, _ = strconv.Atoi(match[2])
		}
		text = text[len(match[0]):]
	}
	var ruleErr *rulefmt.Error
	if errors.As(err, &ruleErr) && e.Line == 0 {
		if n := ruleNode(root, ruleErr.Group, ruleErr.Rule); n != nil {
			e.Line, e.Column = n.Line, n.Column
		}
	}
	e.Problem = strings.TrimPrefix(text, "yaml: ")
	return e
}

// ruleNode finds the nth rule of a group, from 1.
func ruleNode(root *yaml.Node, group string, nth int) *yaml.Node {
	for _, g := range items(lookup(root, "groups")) {
		name := resolve(lookup(g, "name"))
		if rules := items(lookup(g, "rules")); name != nil && name.Value == group && nth >= 1 && nth <= len(rules) {
			return resolve(rules[nth-1])
		}
	}
	return nil
}

// readRuleFiles reads every rule file once, in the order of the patterns.
func (r *reader) readRuleFiles() {
	for _, file := range r.files("rule_files", r.cfg.RuleFiles, r.rules) {
		data, err := os.ReadFile(file)
		if err != nil {
			r.errs = append(r.errs, at(file, nil, "", "expected a file that can be read: %v", err))
			continue
		}
		c := newChecker(file)
		r.cfg.Groups = append(r.cfg.Groups, c.readRules(data, r.cfg.Global)...)
		r.errs = append(r.errs, c.errs...)
	}
}
