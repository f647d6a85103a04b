package web

import (
	"bytes"
	"compress/gzip"
	"net/http"
	"strings"
	"time"
)

const (
	maxBody     = 1 << 20
	maxURL      = 32 << 10
	bodyTimeout = 10 * time.Second
	gzipFrom    = 2 << 10

	plainText = "text/plain; charset=utf-8"
	htmlText  = "text/html; charset=utf-8"
	jsonText  = "application/json"
)

// protect sets the headers that keep browsers from doing what no page of ours
// needs, bounds what a request may send, and survives a panic.
func (s *Server) protect(next http.Handler) http.Handler {
	const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
		"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer s.recover(w, r)
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		if len(r.URL.RawQuery)+len(r.URL.Path) > maxURL {
			s.fail(w, r, apiErrorf(badData, "the URL is longer than %d bytes", maxURL))
			return
		}
		if !s.readForm(w, r) {
			return
		}
		next.ServeHTTP(w, r)
	})
}

// readForm reads the parameters at once, so that a slow or huge body ends here.
func (s *Server) readForm(w http.ResponseWriter, r *http.Request) bool {
	hasBody := r.Body != nil && r.Body != http.NoBody
	rc := http.NewResponseController(w)
	if hasBody {
		// Without a deadline, which recorders of tests do not have, the body is
		// still bounded.
		_ = rc.SetReadDeadline(time.Now().Add(bodyTimeout))
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	}
	if err := r.ParseForm(); err != nil {
		s.fail(w, r, &apiError{kind: badData, err: err})
		return false
	}
	if hasBody {
		_ = rc.SetReadDeadline(time.Time{})
	}
	return true
}

func (s *Server) recover(w http.ResponseWriter, r *http.Request) {
	p := recover()
	if p == nil {
		return
	}
	s.config.Logger.Error("a request panicked", "path", r.URL.Path, "panic", p)
	s.fail(w, r, apiErrorf(internal, "internal error"))
}

// write answers with a body that nobody may keep, compressed where that helps.
func (s *Server) write(w http.ResponseWriter, r *http.Request, status int, contentType string, body []byte) {
	h := w.Header()
	h.Set("Content-Type", contentType)
	if h.Get("Cache-Control") == "" {
		h.Set("Cache-Control", "no-store")
	}
	h.Add("Vary", "Accept-Encoding")
	if len(body) >= gzipFrom && strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		// Writing to a buffer does not fail.
		_, _ = z.Write(body)
		_ = z.Close()
		body = b.Bytes()
		h.Set("Content-Encoding", "gzip")
	}
	w.WriteHeader(status)
	if _, err := w.Write(body); err != nil {
		s.config.Logger.Debug("an answer could not be written", "path", r.URL.Path, "error", err)
	}
}
