package web

import (
	"context"
	"io"
	"net/http"
	"time"
)

const (
	// maxStreams bounds the open event streams, each of which is a goroutine.
	maxStreams = 256
	// streamPause is the least time between two events to one page.
	streamPause = time.Second
	// streamIdle is when a comment keeps proxies from closing a quiet stream.
	streamIdle = 15 * time.Second
	// streamWrite is how long a page may take to accept an event.
	streamWrite = 10 * time.Second
)

// events is the stream of Server-Sent Events: "changed" after each change.
func (s *Server) events(w http.ResponseWriter, r *http.Request) {
	if s.streams.Add(1) > maxStreams {
		s.streams.Add(-1)
		w.Header().Set("Retry-After", "30")
		s.write(w, r, http.StatusServiceUnavailable, plainText, []byte("too many open pages\n"))
		return
	}
	defer s.streams.Add(-1)
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(s.streaming, cancel)()
	changes := s.config.Changes.Subscribe(ctx)
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // nginx would hold events back
	out := stream{w: w, rc: http.NewResponseController(w)}
	if out.send("retry: 3000\n: welcome\n\n") != nil || r.Method == http.MethodHead {
		return
	}
	out.run(ctx, changes)
}

// stream writes to one page.
type stream struct {
	w  io.Writer
	rc *http.ResponseController
}

func (s stream) run(ctx context.Context, changes <-chan struct{}) {
	idle := time.NewTicker(streamIdle)
	defer idle.Stop()
	for {
		text := ": still here\n\n"
		select {
		case <-ctx.Done():
			return
		case <-idle.C:
		case <-changes:
			text = "event: changed\ndata: {}\n\n"
		}
		if s.send(text) != nil || !pause(ctx, streamPause) {
			return
		}
	}
}

func (s stream) send(text string) error {
	// The server's own deadline is for whole answers, and a stream has no end. A
	// writer without deadlines is one of a test.
	_ = s.rc.SetWriteDeadline(time.Now().Add(streamWrite))
	if _, err := io.WriteString(s.w, text); err != nil {
		return err
	}
	return s.rc.Flush()
}

func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
