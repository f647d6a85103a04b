package bench

import (
	"context"
	"fmt"
	"testing"
)

func BenchmarkSQLite(b *testing.B) {
	for _, v := range SQLite() {
		for _, goroutines := range []int{1, 8, 32} {
			b.Run(fmt.Sprintf("%s/goroutines=%d", v.Name, goroutines), func(b *testing.B) {
				s, err := v.Open(context.Background(), b.TempDir())
				if err != nil {
					b.Fatal(err)
				}
				defer s.Close()
				b.ReportAllocs()
				b.ResetTimer()
				r, err := Run(context.Background(), s, goroutines, 0, b.N)
				if err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				b.ReportMetric(r.Rate(), "units/s")
				b.ReportMetric(float64(r.Percentile(0.99).Microseconds()), "p99-µs")
			})
		}
	}
}
