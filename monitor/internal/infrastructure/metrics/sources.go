package metrics

import (
	"slices"
	"sync"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/uow-go/uow/monitor/internal/infrastructure/config"
)

// carried says which labels of a selector's series are those of the result, so
// that the labels of an alert tell which target it comes from.
type carried struct{ job, instance bool }

func (c carried) without(names ...string) carried {
	return carried{
		job:      c.job && !slices.Contains(names, model.JobLabel),
		instance: c.instance && !slices.Contains(names, model.InstanceLabel),
	}
}

func (c carried) only(names []string) carried {
	return carried{
		job:      c.job && slices.Contains(names, model.JobLabel),
		instance: c.instance && slices.Contains(names, model.InstanceLabel),
	}
}

// source is a selector that a rule's result depends on.
type source struct {
	matchers []*labels.Matcher
	carried  carried
}

// analysis collects the sources of an expression, through recording rules.
type analysis struct {
	recorded *recordings
	sources  []source
	// failing is set when a recording rule that the expression depends on has
	// not been evaluated since the start, or not well the last time.
	failing bool
	visited map[writer]map[carried]bool
}

// analyse finds what an alerting rule depends on.
func analyse(rule config.Rule, recorded *recordings) *analysis {
	a := &analysis{recorded: recorded, visited: map[writer]map[carried]bool{}}
	a.walk(rule.Query, carried{true, true}.without(keys(rule.Labels)...))
	return a
}

func keys(m map[string]string) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	return names
}

func (a *analysis) walk(node parser.Expr, c carried) {
	switch e := node.(type) {
	case *parser.VectorSelector:
		a.selector(e.LabelMatchers, c)
	case *parser.MatrixSelector:
		a.walk(e.VectorSelector, c)
	case *parser.SubqueryExpr:
		a.walk(e.Expr, c)
	case *parser.ParenExpr:
		a.walk(e.Expr, c)
	case *parser.UnaryExpr:
		a.walk(e.Expr, c)
	case *parser.StepInvariantExpr:
		a.walk(e.Expr, c)
	case *parser.AggregateExpr:
		a.aggregate(e, c)
	case *parser.BinaryExpr:
		a.binary(e, c)
	case *parser.Call:
		a.call(e, c)
	}
}

func (a *analysis) call(e *parser.Call, c carried) {
	switch e.Func.Name {
	case "absent", "absent_over_time":
		// More samples can only end such an alert, so missing ones cannot.
		if len(e.Args) == 1 && isSelector(e.Args[0]) {
			return
		}
		c = carried{}
	case "scalar":
		c = carried{}
	case "label_replace", "label_join":
		if name, ok := e.Args[1].(*parser.StringLiteral); ok {
			c = c.without(name.Val)
		}
	}
	for _, arg := range e.Args {
		a.walk(arg, c)
	}
}

func (a *analysis) aggregate(e *parser.AggregateExpr, c carried) {
	inner := c
	switch e.Op {
	case parser.TOPK, parser.BOTTOMK, parser.LIMITK, parser.LIMIT_RATIO: // keep the labels
	default:
		if e.Without {
			inner = c.without(e.Grouping...)
		} else {
			inner = c.only(e.Grouping)
		}
		if name, ok := e.Param.(*parser.StringLiteral); ok { // count_values
			inner = inner.without(name.Val)
		}
	}
	a.walk(e.Expr, inner)
	if e.Param != nil {
		a.walk(e.Param, carried{})
	}
}

func (a *analysis) binary(e *parser.BinaryExpr, c carried) {
	matching := e.VectorMatching
	if matching == nil { // at least one side is a scalar
		a.walk(e.LHS, side(e.LHS, c))
		a.walk(e.RHS, side(e.RHS, c))
		return
	}
	matched := c.without(matching.MatchingLabels...)
	if matching.On {
		matched = c.only(matching.MatchingLabels)
	}
	left, right := matched, matched
	switch {
	case e.Op == parser.LOR:
		left, right = c, c
	case e.Op == parser.LAND:
		left = c
	case e.Op == parser.LUNLESS:
		left = c
		if isSelector(e.RHS) {
			// Samples that are missing here make more alerts, not fewer.
			a.walk(e.LHS, left)
			return
		}
	case matching.Card == parser.CardManyToOne:
		left = c.without(matching.Include...)
	case matching.Card == parser.CardOneToMany:
		right = c.without(matching.Include...)
	}
	a.walk(e.LHS, left)
	a.walk(e.RHS, right)
}

// side returns what is carried from one side of an operation with a scalar.
func side(e parser.Expr, c carried) carried {
	if e.Type() == parser.ValueTypeScalar {
		return carried{}
	}
	return c
}

func isSelector(e parser.Expr) bool {
	switch e := e.(type) {
	case *parser.VectorSelector, *parser.MatrixSelector:
		return true
	case *parser.ParenExpr:
		return isSelector(e.Expr)
	case *parser.StepInvariantExpr:
		return isSelector(e.Expr)
	default:
		return false
	}
}

func (a *analysis) selector(matchers []*labels.Matcher, c carried) {
	a.sources = append(a.sources, source{matchers, c})
	for _, r := range a.recorded.matching(matchers) {
		inner := c.without(keys(r.rule.Labels)...)
		if a.visited[r.by] == nil {
			a.visited[r.by] = map[carried]bool{}
		}
		if a.visited[r.by][inner] {
			continue
		}
		a.visited[r.by][inner] = true
		a.failing = a.failing || !r.good
		a.walk(r.rule.Query, inner)
	}
}

// recordings are the recording rules of all groups, and whether they work.
type recordings struct {
	mu    sync.Mutex
	rules []recording
}

type recording struct {
	by   writer
	rule config.Rule
	// good is true from the first good evaluation since the start, until one
	// fails.
	good bool
}

func newRecordings() *recordings { return &recordings{} }

func (r *recordings) apply(groups []config.RuleGroup) {
	r.mu.Lock()
	defer r.mu.Unlock()
	good := map[writer]bool{}
	for _, old := range r.rules {
		good[old.by] = old.good
	}
	r.rules = nil
	for _, g := range groups {
		for _, rule := range g.Rules {
			if rule.Record != "" {
				by := ruleWriter(g, rule)
				r.rules = append(r.rules, recording{by, rule, good[by]})
			}
		}
	}
}

func (r *recordings) done(by writer, good bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.rules {
		if r.rules[i].by == by {
			r.rules[i].good = good
		}
	}
}

// allGood reports whether no recording rule is in trouble.
func (r *recordings) allGood() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, rule := range r.rules {
		if !rule.good {
			return false
		}
	}
	return true
}

// matching returns the rules whose series a selector may find.
func (r *recordings) matching(matchers []*labels.Matcher) []recording {
	r.mu.Lock()
	defer r.mu.Unlock()
	var found []recording
rules:
	for _, rule := range r.rules {
		for _, matcher := range matchers {
			value, fixed := rule.rule.Labels[matcher.Name]
			if matcher.Name == labels.MetricName {
				value, fixed = rule.rule.Record, true
			}
			if fixed && !matcher.Matches(value) {
				continue rules
			}
		}
		found = append(found, rule)
	}
	return found
}
