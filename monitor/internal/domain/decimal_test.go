package domain_test

import (
	"encoding/json"
	"math"
	"testing"

	"github.com/uow-go/uow/monitor/internal/domain"
)

func TestDecimalSurvivesJSON(t *testing.T) {
	for _, f := range []float64{0, 1, -0.1, 1e300, math.SmallestNonzeroFloat64, math.Inf(1), math.Inf(-1), math.NaN()} {
		b, err := json.Marshal(domain.Decimal(f))
		if err != nil {
			t.Fatal(err)
		}
		var back domain.Decimal
		if err := json.Unmarshal(b, &back); err != nil {
			t.Fatal(err)
		}
		if got := float64(back); got != f && !(math.IsNaN(got) && math.IsNaN(f)) {
			t.Errorf("%v became %s and then %v", f, b, got)
		}
	}
	for _, bad := range []string{`1`, `"one"`, `""`} {
		var d domain.Decimal
		if err := json.Unmarshal([]byte(bad), &d); err == nil {
			t.Errorf("%s was read as %v, want an error", bad, d)
		}
	}
}
