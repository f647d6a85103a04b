package web

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"path"
)

// asset is a file that pages load.
type asset struct {
	contentType string
	version     string
	body        []byte
}

func loadAssets() (map[string]asset, error) {
	types := map[string]string{
		"style.css": "text/css; charset=utf-8",
		"script.js": "text/javascript; charset=utf-8",
		"mark.svg":  "image/svg+xml",
	}
	out := map[string]asset{}
	for name, contentType := range types {
		body, err := assetFiles.ReadFile(path.Join("assets", name))
		if err != nil {
			return nil, fmt.Errorf("web: asset %s: %w", name, err)
		}
		sum := sha256.Sum256(body)
		out[name] = asset{contentType: contentType, version: hex.EncodeToString(sum[:6]), body: body}
	}
	return out, nil
}

// assetPath names the content too, so that browsers may keep it for ever.
func (s *Server) assetPath(name string) string {
	return s.base + "/static/" + name + "?v=" + s.assets[name].version
}

func (s *Server) static(w http.ResponseWriter, r *http.Request) {
	a, ok := s.assets[r.PathValue("name")]
	if !ok {
		http.NotFound(w, r)
		return
	}
	if r.Form.Get("v") == a.version {
		w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	s.write(w, r, http.StatusOK, a.contentType, a.body)
}
