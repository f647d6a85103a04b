package observability

import (
	"encoding/json"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
)

// home is the folder of what is tested.
func home(file string) string { return filepath.Join("..", "..", "docs", "observability", file) }

func newParser() parser.Parser { return parser.NewParser(parser.Options{}) }

func alertRules(t *testing.T) []rulefmt.Rule {
	t.Helper()
	groups, errs := rulefmt.ParseFile(home("alerts.rules.yml"), false, model.UTF8Validation, newParser(), slog.New(slog.DiscardHandler))
	for _, err := range errs {
		t.Error(err)
	}
	if t.Failed() {
		t.FailNow()
	}
	var rules []rulefmt.Rule
	for _, g := range groups.Groups {
		rules = append(rules, g.Rules...)
	}
	return rules
}

// dashboard is what is tested of Grafana's model.
type dashboard struct {
	ID            any    `json:"id"`
	UID           string `json:"uid"`
	Title         string `json:"title"`
	SchemaVersion int    `json:"schemaVersion"`
	Templating    struct {
		List []struct {
			Name, Type string
			Definition string
			Datasource struct{ UID string }
		}
	}
	Panels []panel
}

type panel struct {
	ID         int
	Type       string
	Title      string
	Datasource struct{ Type, UID string }
	GridPos    struct{ H, W, X, Y int }
	Targets    []struct {
		RefID      string `json:"refId"`
		Expr       string
		Datasource struct{ UID string }
	}
}

func readDashboard(t *testing.T) dashboard {
	t.Helper()
	raw, err := os.ReadFile(home("dashboard.json"))
	if err != nil {
		t.Fatal(err)
	}
	var d dashboard
	if err := json.Unmarshal(raw, &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// plain returns an expression as Grafana sends it.
func (d dashboard) plain(expr string) string {
	expr = strings.ReplaceAll(expr, "$__rate_interval", "5m")
	for _, v := range d.Templating.List {
		expr = strings.ReplaceAll(expr, "$"+v.Name, ".*")
	}
	return expr
}

// byPrometheus are labels that Prometheus adds.
var byPrometheus = map[string]bool{"job": true, "instance": true}

// check demands that an expression asks for metrics and labels that exist.
func check(t *testing.T, where, expr string, known map[string]map[string]bool) {
	t.Helper()
	parsed, err := newParser().ParseExpr(expr)
	if err != nil {
		t.Errorf("%s: %v in %s", where, err, expr)
		return
	}
	asked := map[string]bool{} // all labels of the metrics that the expression has
	parser.Inspect(parsed, func(n parser.Node, _ []parser.Node) error {
		selector, ok := n.(*parser.VectorSelector)
		if !ok {
			return nil
		}
		labels, exists := known[selector.Name]
		if !exists {
			t.Errorf("%s: there is no metric %s", where, selector.Name)
			return nil
		}
		maps.Copy(asked, labels)
		for _, m := range selector.LabelMatchers {
			if m.Name != "__name__" && !labels[m.Name] && !byPrometheus[m.Name] {
				t.Errorf("%s: %s has no label %s", where, selector.Name, m.Name)
			}
		}
		return nil
	})
	parser.Inspect(parsed, func(n parser.Node, _ []parser.Node) error {
		aggregate, ok := n.(*parser.AggregateExpr)
		if !ok {
			return nil
		}
		for _, label := range aggregate.Grouping {
			if !asked[label] && !byPrometheus[label] {
				t.Errorf("%s: no metric in it has the label %s", where, label)
			}
		}
		return nil
	})
}

func TestRulesAndDashboardAskForWhatIsExposed(t *testing.T) {
	known := exposed(t)
	for _, rule := range alertRules(t) {
		check(t, "rule "+rule.Alert, rule.Expr, known)
	}
	d := readDashboard(t)
	var all strings.Builder
	for _, p := range d.Panels {
		for _, target := range p.Targets {
			all.WriteString(target.Expr)
			check(t, "panel "+p.Title, d.plain(target.Expr), known)
		}
	}
	for _, v := range d.Templating.List {
		if v.Type == "query" {
			metric, label, ok := strings.Cut(strings.TrimSuffix(strings.TrimPrefix(v.Definition, "label_values("), ")"), ", ")
			if labels, exists := known[metric]; !ok || !exists || !labels[label] && !byPrometheus[label] {
				t.Errorf("variable %s: there is no %s", v.Name, v.Definition)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(known)) {
		base := strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(name, "_bucket"), "_sum"), "_count")
		if strings.HasPrefix(name, "uow_") && !strings.Contains(all.String(), base) {
			t.Errorf("no panel shows %s", base)
		}
	}
}

func TestDashboardCanBeImported(t *testing.T) {
	d := readDashboard(t)
	if d.ID != nil || d.UID == "" || d.Title == "" || d.SchemaVersion == 0 {
		t.Errorf("an import wants no id, and a uid, a title and a schema version: %+v", d)
	}
	if first := d.Templating.List[0]; first.Type != "datasource" || first.Name != "datasource" {
		t.Errorf("the first variable should be the data source: %+v", first)
	}
	const at = "${datasource}"
	ids := map[int]bool{}
	for i, p := range d.Panels {
		if ids[p.ID] || p.Title == "" || p.GridPos.X+p.GridPos.W > 24 {
			t.Errorf("panel %d has an id that another has, no title or no place: %+v", i, p)
		}
		ids[p.ID] = true
		for _, q := range d.Panels[:i] {
			if overlap(p, q) {
				t.Errorf("the panels %q and %q overlap", p.Title, q.Title)
			}
		}
		if p.Type == "row" {
			continue
		}
		if p.Datasource.Type != "prometheus" || p.Datasource.UID != at || len(p.Targets) == 0 {
			t.Errorf("panel %q does not use the chosen data source, or shows nothing", p.Title)
		}
		for _, target := range p.Targets {
			if target.RefID == "" || target.Datasource.UID != at {
				t.Errorf("panel %q has a query without a name, or of a fixed data source", p.Title)
			}
		}
	}
	for _, v := range d.Templating.List {
		if v.Type == "query" && v.Datasource.UID != at {
			t.Errorf("variable %s does not use the chosen data source", v.Name)
		}
	}
}

func overlap(p, q panel) bool {
	a, b := p.GridPos, q.GridPos
	return a.X < b.X+b.W && b.X < a.X+a.W && a.Y < b.Y+b.H && b.Y < a.Y+a.H
}
