package files

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/uow-go/uow/outbox"
)

// A directory of format 1 is opened, goes on, and is of the newest format then.
func TestOldFormat(t *testing.T) {
	dir := filled(t)
	rewrite := func(name string, change func(content []byte) []byte) {
		t.Helper()
		path := filepath.Join(dir, name)
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, change(content), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	rewrite(formatFile, func([]byte) []byte { return []byte(`{"format":1}`) })
	rewrite(stateFile, func(content []byte) []byte {
		var v map[string]any
		if err := unsealJSON(stateFile, content, &v); err != nil {
			t.Fatal(err)
		}
		v["format"] = 1
		for _, newer := range []string{"log", "delays", "delayed"} {
			delete(v, newer)
		}
		content, err := sealJSON(v)
		if err != nil {
			t.Fatal(err)
		}
		return content
	})
	journals, err := filepath.Glob(filepath.Join(dir, "journal", "*.log"))
	if err != nil || len(journals) == 0 {
		t.Fatalf("got %v, %v", journals, err)
	}
	for _, path := range journals {
		rewrite(strings.TrimPrefix(path, dir+"/"), func(content []byte) []byte {
			payloads, _, err := lines(path, content)
			if err != nil {
				t.Fatal(err)
			}
			var head journalHead
			if err := json.Unmarshal(payloads[0], &head); err != nil {
				t.Fatal(err)
			}
			head.Format = 1
			payloads[0], _ = json.Marshal(head)
			content = nil
			for _, p := range payloads {
				content = appendLine(content, p)
			}
			return content
		})
	}
	for range 2 {
		_, s, _ := opened(t, Options{}, dir)
		stats, err := s.Stats(t.Context())
		if err != nil || stats.Log == "" || stats.Messages == 0 {
			t.Errorf("the directory of format 1 has %+v, %v", stats, err)
		}
		if _, err := s.Acquire(t.Context(), outbox.Claim{Cursor: "relay", Partitions: 4, Partition: 3}); err != nil {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if content, err := os.ReadFile(filepath.Join(dir, formatFile)); string(content) != "{\"format\":2}\n" || err != nil {
			t.Errorf("the format is then %s, %v", content, err)
		}
	}
}
