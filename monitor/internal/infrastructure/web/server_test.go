package web

import (
	"bufio"
	"compress/gzip"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// serving is a server on a port, and how it ended.
type serving struct {
	url   string
	stop  context.CancelFunc
	ended chan error
}

func serve(t *testing.T, s *sample) serving {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	out := serving{url: "http://" + l.Addr().String(), stop: cancel, ended: make(chan error, 1)}
	server := s.server()
	go func() { out.ended <- server.Serve(ctx, l) }()
	t.Cleanup(cancel)
	return out
}

// stopped stops the server and waits for its end.
func (s serving) stopped(t *testing.T) {
	t.Helper()
	s.stop()
	select {
	case err := <-s.ended:
		check(t, err)
	case <-time.After(5 * time.Second):
		t.Fatal("the server does not end")
	}
}

// openStream opens the event stream, and returns its lines that are not empty.
func openStream(t *testing.T, url string) <-chan string {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/events", nil)
	check(t, err)
	answer, err := http.DefaultClient.Do(r)
	check(t, err)
	t.Cleanup(func() { _ = answer.Body.Close() })
	if got := answer.Header.Get("Content-Type"); got != "text/event-stream" {
		t.Fatalf("Content-Type %q", got)
	}
	lines := make(chan string, 100)
	go func() {
		defer close(lines)
		defer answer.Body.Close()
		for scanner := bufio.NewScanner(answer.Body); scanner.Scan(); {
			if scanner.Text() != "" {
				lines <- scanner.Text()
			}
		}
	}()
	return lines
}

func expect(t *testing.T, lines <-chan string, want ...string) {
	t.Helper()
	for _, w := range want {
		select {
		case got := <-lines:
			if got != w {
				t.Fatalf("got %q, want %q", got, w)
			}
		case <-time.After(5 * time.Second):
			t.Fatalf("no %q", w)
		}
	}
}

func TestEvents(t *testing.T) {
	s := emptySample(t, sampleTime())
	server := serve(t, s)
	lines := openStream(t, server.url)
	expect(t, lines, "retry: 3000", ": welcome")
	s.config.Changes.Notify()
	expect(t, lines, "event: changed", "data: {}")
	for range 100 { // while the stream pauses, they are one
		s.config.Changes.Notify()
	}
	expect(t, lines, "event: changed", "data: {}")
	select {
	case got := <-lines:
		t.Errorf("got %q after one batch", got)
	case <-time.After(2 * streamPause):
	}
	server.stopped(t)
	select {
	case line, open := <-lines:
		if open {
			t.Errorf("got %q", line)
		}
	case <-time.After(5 * time.Second):
		t.Error("the stream does not end")
	}
}

func TestSlowStreamBlocksNobody(t *testing.T) {
	s := emptySample(t, sampleTime())
	server := serve(t, s)
	slow, err := net.Dial("tcp", strings.TrimPrefix(server.url, "http://"))
	check(t, err)
	defer slow.Close()
	_, err = io.WriteString(slow, "GET /events HTTP/1.1\r\nHost: x\r\n\r\n") // and reads nothing
	check(t, err)
	lines := openStream(t, server.url)
	expect(t, lines, "retry: 3000", ": welcome")
	started := time.Now()
	for range 100_000 {
		s.config.Changes.Notify()
	}
	expect(t, lines, "event: changed", "data: {}")
	if took := time.Since(started); took > 3*time.Second {
		t.Errorf("it took %s", took)
	}
	server.stopped(t)
}

func TestTooManyStreams(t *testing.T) {
	server := emptySample(t, sampleTime()).server()
	server.streams.Store(maxStreams)
	if w := call(t, server.Handler(), "/events"); w.Code != http.StatusServiceUnavailable || server.streams.Load() != maxStreams {
		t.Errorf("%d, and %d streams", w.Code, server.streams.Load())
	}
}

func TestHub(t *testing.T) {
	h := NewHub()
	ctx, cancel := context.WithCancel(t.Context())
	a, b := h.Subscribe(ctx), h.Subscribe(t.Context())
	h.Notify()
	h.Notify()
	<-a
	select {
	case <-a:
		t.Error("two notifications were not one")
	default:
	}
	<-b
	cancel()
	for range 100 {
		h.mu.Lock()
		n := len(h.subscribers)
		h.mu.Unlock()
		if n == 1 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Error("a subscriber is still there after its end")
}

func TestServeLetsRequestsFinish(t *testing.T) {
	s := emptySample(t, sampleTime())
	entered, leave := make(chan struct{}), make(chan struct{})
	s.config.Ready = func() error { close(entered); <-leave; return nil }
	server := serve(t, s)
	status := make(chan int, 1)
	go func() {
		r, _ := http.NewRequestWithContext(context.Background(), http.MethodGet, server.url+"/-/ready", nil)
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			status <- 0
			return
		}
		defer answer.Body.Close()
		status <- answer.StatusCode
	}()
	<-entered
	server.stop()
	time.Sleep(50 * time.Millisecond)
	close(leave)
	if got := <-status; got != http.StatusOK {
		t.Errorf("a running request got %d", got)
	}
	server.stopped(t)
}

func TestServeReportsABrokenListener(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	check(t, l.Close())
	err = emptySample(t, sampleTime()).server().Serve(t.Context(), l)
	if err == nil || !strings.HasPrefix(err.Error(), "web: ") {
		t.Errorf("got %v", err)
	}
}

func TestNewRefuses(t *testing.T) {
	if _, err := New(Config{}); !errors.Is(err, ErrConfig) {
		t.Errorf("no reader: %v", err)
	}
	s := emptySample(t, sampleTime())
	s.config.ExternalURL = "example.net"
	if _, err := New(s.config); !errors.Is(err, ErrConfig) {
		t.Errorf("external URL: %v", err)
	}
	s = emptySample(t, sampleTime())
	s.config.WebConfigFile = filepath.Join(t.TempDir(), "missing.yml")
	if _, err := New(s.config); err == nil || !strings.HasPrefix(err.Error(), "web: ") {
		t.Errorf("web configuration file: %v", err)
	}
}

func TestTLSAndPasswords(t *testing.T) {
	dir := t.TempDir()
	pool := writeCertificate(t, dir)
	file := filepath.Join(dir, "web.yml")
	check(t, os.WriteFile(file, []byte(`
tls_server_config: {cert_file: cert.pem, key_file: key.pem}
basic_auth_users: {ann: "$2a$04$qZItlxJvvXmc0mS7ozUDMuhEZqi.XVt0pSJUjjSY/.kZiirLLX4ju"} # test
`), 0o600))
	s := emptySample(t, sampleTime())
	s.config.WebConfigFile = file
	server := serve(t, s)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: true}}
	url := strings.Replace(server.url, "http://", "https://", 1)
	for password, want := range map[string]int{"wrong": 401, "test": 200} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/", nil)
		check(t, err)
		r.SetBasicAuth("ann", password)
		answer, err := client.Do(r)
		check(t, err)
		check(t, answer.Body.Close())
		if answer.StatusCode != want {
			t.Errorf("password %s: %d, want %d", password, answer.StatusCode, want)
		}
	}
	server.stopped(t)
}

func writeCertificate(t *testing.T, dir string) *x509.CertPool {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	check(t, err)
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	check(t, err)
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	check(t, os.WriteFile(filepath.Join(dir, "cert.pem"), cert, 0o600))
	check(t, os.WriteFile(filepath.Join(dir, "key.pem"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), 0o600))
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(cert)
	return pool
}

func TestHealth(t *testing.T) {
	s := emptySample(t, sampleTime())
	gauge := prometheus.NewGauge(prometheus.GaugeOpts{Name: "host_thing"})
	host := prometheus.NewRegistry()
	host.MustRegister(gauge)
	s.config.HostRegistry = host
	notReady := errors.New("targets are being scraped for the first time")
	s.config.Ready = func() error { return notReady }
	h := s.server().Handler()
	if w := call(t, h, "/-/ready"); w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), "scraped for the first time") {
		t.Errorf("not ready: %d %s", w.Code, w.Body)
	}
	notReady = nil
	for target, want := range map[string]string{
		"/-/ready": "ready", "/-/healthy": "healthy", "/metrics": "go_goroutines", "/metrics/host": "host_thing 0",
	} {
		if w := call(t, h, target); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), want) {
			t.Errorf("%s: %d %.100s", target, w.Code, w.Body)
		}
	}
	s.config.Registry, s.config.HostRegistry = nil, nil
	if w := call(t, s.server().Handler(), "/metrics/host"); w.Code != http.StatusNotFound {
		t.Errorf("no registry: %d", w.Code)
	}
}

func TestHeaders(t *testing.T) {
	h := fullSample(t, sampleTime()).server().Handler()
	for _, target := range []string{"/", "/api/v1/alerts", "/static/script.js", "/nothing", "/-/healthy", "/api/x"} {
		w := call(t, h, target)
		policy := w.Header().Get("Content-Security-Policy")
		if !strings.Contains(policy, "frame-ancestors 'none'") || strings.Contains(policy, "unsafe") ||
			w.Header().Get("X-Content-Type-Options") != "nosniff" || w.Header().Get("Referrer-Policy") == "" {
			t.Errorf("%s: %v", target, w.Header())
		}
	}
}

func TestCompression(t *testing.T) {
	h := fullSample(t, sampleTime()).server().Handler()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
	r.Header.Set("Accept-Encoding", "gzip")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	z, err := gzip.NewReader(w.Body)
	check(t, err)
	body, err := io.ReadAll(z)
	check(t, err)
	if w.Header().Get("Content-Encoding") != "gzip" || !strings.Contains(string(body), "DiskFull") {
		t.Errorf("%v %.100s", w.Header(), body)
	}
}

func TestPrefix(t *testing.T) {
	s := fullSample(t, sampleTime())
	s.config.ExternalURL = "https://example.net/ops/tocsin/"
	h := s.server().Handler()
	for target, want := range map[string]int{"/ops/tocsin/": 200, "/ops/tocsin": 301, "/ops/tocsin/rules": 200, "/rules": 200, "/ops/tocsin/api/v1/alerts": 200, "/ops/other": 404} {
		if w := call(t, h, target); w.Code != want {
			t.Errorf("%s: %d, want %d", target, w.Code, want)
		}
	}
	body := call(t, h, "/ops/tocsin/").Body.String()
	for _, want := range []string{`href="/ops/tocsin/rules"`, `src="/ops/tocsin/static/script.js?v=`, `data-events="/ops/tocsin/events"`} {
		if !strings.Contains(body, want) {
			t.Errorf("no %s", want)
		}
	}
}

func TestPanicIsAnAnswer(t *testing.T) {
	s := emptySample(t, sampleTime())
	s.config.Groups = func() []GroupInfo { panic("broken") }
	if w := call(t, s.server().Handler(), "/rules"); w.Code != http.StatusInternalServerError || strings.Contains(w.Body.String(), "broken") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}
