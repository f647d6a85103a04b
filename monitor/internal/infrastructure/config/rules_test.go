package config

import (
	"errors"
	"strings"
	"testing"
	"time"

	promconfig "github.com/prometheus/prometheus/config"
)

func TestWrongRuleFiles(t *testing.T) {
	group := "groups:\n- name: g\n  rules:\n"
	tests := []struct{ name, in, want string }{
		{"syntax", "groups: [", "r.yml:1: not valid YAML"},
		{"two documents", "groups: []\n---\ngroups: []", "r.yml:2:1: found a second YAML document, expected one"},
		{"unknown field", group + "  - alert: A\n    exprs: up", `r.yml:5:5: groups[0].rules[0]: found the unknown field "exprs", expected "expr"`},
		{"unknown group field", "groups:\n- nam: g", `r.yml:2:3: groups[0]: found the unknown field "nam", expected "name"`},
		{"duration", group + "  - alert: A\n    expr: up\n    for: soon", `r.yml:6:10: groups[0].rules[0].for: found "soon", expected a duration`},
		{"expression", group + "  - alert: A\n    expr: up ==", `r.yml:5:11: group "g", rule 1, "A": could not parse expression`},
		{"expression type", group + "  - alert: A\n    expr: up[5m]", "r.yml:5:11: groups[0].rules[0].expr: found an expression that gives a range vector"},
		{"both", group + "  - alert: A\n    record: b\n    expr: up", "only one of 'record' and 'alert' must be set"},
		{"neither", group + "  - expr: up", "r.yml:4"},
		{"label", group + "  - alert: A\n    expr: up\n    labels: {__name__: b}", `r.yml:4:5: group "g", rule 1, "A": invalid label name`},
		{"template", group + "  - alert: A\n    expr: up\n    annotations: {a: '{{ .Foo'}", `r.yml:4:5: group "g", rule 1, "A": annotation "a"`},
		{"for in recording", group + "  - record: a\n    expr: up\n    for: 1m", "r.yml:4:13: group"},
		{"group twice", "groups:\n- name: g\n- name: g", `r.yml:3:9: groups[1].name: found "g", expected a name that no other group`},
		{"group without a name", "groups:\n- rules: []", "r.yml:2:3: groups[0]: found no name"},
		{"null rule", group + "  -", "groups[0].rules[0]: found nothing, expected a rule"},
		{"null group", "groups:\n-", "groups[0]: found nothing, expected a group"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := ParseRules("r.yml", []byte(test.in), promconfig.DefaultGlobalConfig)
			if err == nil || !strings.Contains(err.Error(), test.want) || !errors.Is(err, ErrInvalid) {
				t.Fatalf("got:  %v\nwant: %s", err, test.want)
			}
		})
	}
}

func TestRulesWithAnchors(t *testing.T) {
	groups, err := ParseRules("r.yml", []byte(`
groups:
- name: g
  rules:
  - &a
    alert: A
    expr: up
    labels: &l {x: "1"}
  - <<: *a
    alert: B
  - alert: C
    expr: up
    labels: *l
`), promconfig.DefaultGlobalConfig)
	if err != nil {
		t.Fatal(err)
	}
	rules := groups[0].Rules
	if len(rules) != 3 || rules[1].Alert != "B" || rules[1].Expr != "up" || rules[2].Labels["x"] != "1" {
		t.Errorf("rules: %+v", rules)
	}
}

func TestDefault(t *testing.T) {
	cfg := Default("0.0.0.0:9099")
	if len(cfg.Warnings) > 0 || len(cfg.Groups) != 2 || len(cfg.ScrapeConfigs) != 2 {
		t.Fatalf("warnings %q, %d groups", cfg.Warnings, len(cfg.Groups))
	}
	for _, g := range cfg.Groups {
		if g.Interval != 5*time.Second {
			t.Errorf("%s: interval %s", g.Name, g.Interval)
		}
		for _, r := range g.Rules {
			if r.Alert != "" && (r.Annotations["summary"] == "" || r.Annotations["description"] == "") {
				t.Errorf("%s lacks a summary or a description", r.Alert)
			}
		}
	}
	if text := cfg.String(); !strings.Contains(text, "127.0.0.1:9099") {
		t.Errorf("the target is not on loopback:\n%s", text)
	}
}

func FuzzRules(f *testing.F) {
	f.Add([]byte(rules))
	f.Add(defaultRules)
	f.Add([]byte("groups: &a [{name: x, rules: *a}]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		groups, err := ParseRules("fuzz.yml", data, promconfig.DefaultGlobalConfig)
		if err != nil && groups != nil {
			t.Fatal("both groups and an error")
		}
	})
}
