package uowtest

import (
	"os"
	"strings"
	"testing"
)

func TestPromisesListEveryCheck(t *testing.T) {
	listed, err := os.ReadFile("../docs/PROMISES.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range Checks() {
		if !strings.Contains(string(listed), c.Name) {
			t.Errorf("docs/PROMISES.md does not list %s", c.Name)
		}
	}
}
