package bench

import "testing"

// Each variant handles what is in the stream, and its run checks that it was once.
func TestConsumersHandleEachMessageOnce(t *testing.T) {
	needNATS(t)
	for _, c := range []*Comparison{ConsumePostgres(needPostgres(t), 300), ConsumeSQLite(t.TempDir(), 300)} {
		for _, r := range c.Runners {
			t.Run(c.Key+", "+r.Name, func(t *testing.T) {
				result, err := r.Once(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if result.Units < 100 || result.Units > 300 {
					t.Errorf("%d messages were handled", result.Units)
				}
				t.Logf("%.0f/s", result.Rate())
			})
		}
	}
}
