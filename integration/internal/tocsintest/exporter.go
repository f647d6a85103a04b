package tocsintest

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
)

// Behaviour is how an exporter answers a scrape.
type Behaviour string

// The behaviours.
const (
	Healthy    Behaviour = ""           // its series
	Failing    Behaviour = "failing"    // status 500
	Garbage    Behaviour = "garbage"    // bytes that are no metrics
	Hanging    Behaviour = "hanging"    // no answer
	Endless    Behaviour = "endless"    // metrics without end
	Bomb       Behaviour = "bomb"       // a small gzip body that grows to 2 GB
	Duplicates Behaviour = "duplicates" // the same series again and again
)

// Exporter serves series whose values a test sets.
type Exporter struct {
	// Address is host:port, for a scrape configuration.
	Address string

	mu        sync.Mutex
	series    map[string]float64
	behaviour Behaviour
	scrapes   int
}

// NewExporter starts an exporter without series.
func NewExporter(t testing.TB) *Exporter {
	t.Helper()
	e := &Exporter{series: map[string]float64{}}
	server := httptest.NewServer(e)
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	e.Address = strings.TrimPrefix(server.URL, "http://")
	return e
}

// Set gives a series, such as `temperature{room="1"}`, a value.
func (e *Exporter) Set(series string, value float64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.series[series] = value
}

// Flip changes a series from 0 to 1 or back.
func (e *Exporter) Flip(series string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.series[series] = 1 - e.series[series]
}

// Remove ends a series.
func (e *Exporter) Remove(series string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.series, series)
}

// Behave changes how scrapes are answered.
func (e *Exporter) Behave(b Behaviour) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.behaviour = b
}

// Scrapes returns how often the exporter was asked.
func (e *Exporter) Scrapes() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.scrapes
}

// WaitScraped waits until a scrape that began after the call has been answered,
// so that what was set before is what tocsin knows.
func (e *Exporter) WaitScraped(t testing.TB) {
	t.Helper()
	enough := e.Scrapes() + 2
	Eventually(t, "scraped", func() error {
		if n := e.Scrapes(); n < enough {
			return fmt.Errorf("scraped %d times, want %d", n, enough)
		}
		return nil
	})
}

func (e *Exporter) answer() (Behaviour, string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.scrapes++
	var b strings.Builder
	for _, series := range slices.Sorted(maps.Keys(e.series)) {
		fmt.Fprintf(&b, "%s %g\n", series, e.series[series])
	}
	return e.behaviour, b.String()
}

// ServeHTTP answers a scrape.
func (e *Exporter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	behaviour, text := e.answer()
	w.Header().Set("Content-Type", "text/plain; version=0.0.4")
	switch behaviour {
	case Healthy:
		fmt.Fprint(w, text)
	case Failing:
		http.Error(w, "the exporter is broken", http.StatusInternalServerError)
	case Garbage:
		fmt.Fprint(w, "<!doctype html>\n<title>{{{ 1e999 }}}</title>\xff\x00\n")
	case Hanging:
		<-r.Context().Done()
	case Endless:
		for i := 0; r.Context().Err() == nil; i++ {
			if _, err := fmt.Fprintf(w, "endless{n=\"%d\"} %d\n", i, i); err != nil {
				return
			}
		}
	case Bomb:
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = w.Write(bomb()) // the scraper hangs up
	case Duplicates:
		fmt.Fprint(w, strings.Repeat("duplicate{a=\"1\"} 1\nduplicate{a=\"1\"} 2\n", 5000))
	}
}

// bomb returns 2 GB of comment lines, compressed.
func bomb() []byte {
	var b bytes.Buffer
	z, _ := gzip.NewWriterLevel(&b, gzip.BestSpeed) // the level is a known one
	block := []byte(strings.Repeat("# "+strings.Repeat("0", 1021)+"\n", 1024))
	_, _ = z.Write(block) // to memory, which does not fail
	_ = z.Close()
	// Members of a gzip file follow one another.
	return bytes.Repeat(b.Bytes(), 2048)
}
