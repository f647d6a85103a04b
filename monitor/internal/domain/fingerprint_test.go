package domain_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/prometheus/common/model"

	"github.com/uow-go/uow/monitor/internal/domain"
)

func TestFingerprintIsAlertmanagers(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	sets := []map[string]string{nil, {}, {"a": ""}, {"": "a"}, {"a": "bc"}, {"ab": "c"}, {"ä": "\xff\x00"}}
	for range 500 {
		set := map[string]string{}
		for range random.IntN(40) {
			set[fmt.Sprint("l", random.IntN(100))] = fmt.Sprint(random.Uint64())
		}
		sets = append(sets, set)
	}
	for _, set := range sets {
		labels := model.LabelSet{}
		for name, value := range set {
			labels[model.LabelName(name)] = model.LabelValue(value)
		}
		check(t, fmt.Sprint(set), domain.Fingerprint(set), labels.Fingerprint().String())
	}
}
