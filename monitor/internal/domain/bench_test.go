package domain_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/uow-go/uow/monitor/internal/domain"
)

// BenchmarkEvaluate has 1,000 firing alerts of which nothing changes.
func BenchmarkEvaluate(b *testing.B) {
	var all []string
	for i := range 1000 {
		all = append(all, fmt.Sprintf("host-%04d:9100", i))
	}
	group := domain.Group{ID: "g", Interval: time.Second, Rules: []domain.Rule{{UID: "r1", Name: "Down"}}}
	in := domain.Input{Group: group, Results: []domain.Result{values(all...)}, Slot: at(0)}
	out := domain.Evaluate(in)
	in.Evaluations, in.Alerts, in.Slot = out.Evaluations, out.Changed, at(1)
	b.ReportAllocs()
	for b.Loop() {
		if out := domain.Evaluate(in); len(out.Changed) != 0 {
			b.Fatal("an alert changed")
		}
	}
}
