package inbox_test

import (
	"flag"
	"os"
	"testing"

	"github.com/uow-go/uow/integration/internal/servers"
)

var (
	local servers.Local

	rounds   = flag.Int("rounds", 50, "how many rounds there are for each store and claim")
	seedFlag = flag.Uint64("seed", 0, "the seed of chance; 0 for a new one")
)

func TestMain(m *testing.M) {
	code := m.Run()
	local.Close()
	os.Exit(code)
}
