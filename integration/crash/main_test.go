package crash_test

import (
	"flag"
	"testing"

	"github.com/uow-go/uow/integration/internal/tocsintest"
)

func TestMain(m *testing.M) {
	flag.Int("kills", 60, "how often TestCrash kills tocsin")
	flag.Uint64("seed", 0, "the seed of chance; 0 for a new one")
	tocsintest.Main(m)
}

// number returns the value of a flag.
func number[T int | uint64](t *testing.T, name string) T {
	t.Helper()
	value, ok := flag.Lookup(name).Value.(flag.Getter).Get().(T)
	if !ok {
		t.Fatalf("flag -%s is no number", name)
	}
	return value
}
