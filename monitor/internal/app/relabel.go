package app

import (
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/relabel"
)

// relabeler applies alert_relabel_configs. It returns nil when there are none.
func relabeler(configs []*relabel.Config) func(map[string]string) map[string]string {
	if len(configs) == 0 {
		return nil
	}
	return func(in map[string]string) map[string]string {
		builder := labels.NewBuilder(labels.FromMap(in))
		if !relabel.ProcessBuilder(builder, configs...) {
			return nil
		}
		return builder.Labels().Map()
	}
}
