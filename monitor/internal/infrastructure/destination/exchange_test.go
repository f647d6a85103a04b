package destination_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/uow-go/uow/monitor/internal/application"
	"github.com/uow-go/uow/monitor/internal/domain"
	"github.com/uow-go/uow/monitor/internal/infrastructure/destination"
)

func outcome(status int) domain.Outcome {
	if status == http.StatusOK {
		return domain.OutcomeDelivered
	}
	return domain.OutcomeRetry
}

func newHTTPClient() *http.Client { return &http.Client{Transport: &http.Transport{}} }

// exchange posts a small body.
func exchange(t *testing.T, client *http.Client, url string, timeout time.Duration) application.Answer {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	return exchangeWith(ctx, t, client, url, "x")
}

func exchangeWith(ctx context.Context, t *testing.T, client *http.Client, url, body string) application.Answer {
	t.Helper()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	u := parse(t, url)
	return destination.Exchange(client, request, outcome, destination.NewMask(destination.URLSecrets(u)...))
}

// raw is a receiver below HTTP. It gets each connection and closes it afterwards.
func raw(t *testing.T, serve func(net.Conn)) (url string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				serve(c)
			}()
		}
	}()
	return "http://" + listener.Addr().String() + "/?token=s3cret"
}

func readRequest(c net.Conn) {
	if request, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
		_, _ = io.Copy(io.Discard, request.Body)
	}
}

func TestHostileReceivers(t *testing.T) {
	stop := make(chan struct{})
	t.Cleanup(func() { close(stop) })
	endless := func(c net.Conn, text string) {
		for {
			if _, err := io.WriteString(c, text); err != nil {
				return
			}
		}
	}
	for name, c := range map[string]struct {
		serve func(net.Conn)
		want  application.Answer
	}{
		"never answers": {func(c net.Conn) { readRequest(c); <-stop },
			application.Answer{Outcome: domain.OutcomeUnknown, Detail: "sent, and then: no answer in time"}},
		"reads all and closes": {func(c net.Conn) { readRequest(c) },
			application.Answer{Outcome: domain.OutcomeUnknown}},
		"answers garbage": {func(c net.Conn) { readRequest(c); _, _ = io.WriteString(c, "\x00\x1b[31m s3cret\r\n\r\n") },
			application.Answer{Outcome: domain.OutcomeUnknown}},
		"endless header": {func(c net.Conn) { readRequest(c); endless(c, "HTTP/1.1 200 OK\r\nA: b\r\n") },
			application.Answer{Outcome: domain.OutcomeUnknown}},
		"endless body of a failure": {func(c net.Conn) {
			readRequest(c)
			_, _ = io.WriteString(c, "HTTP/1.1 500 E\r\n\r\n")
			endless(c, "again ")
		}, application.Answer{Outcome: domain.OutcomeRetry, Status: 500, Detail: strings.Repeat("again ", 33) + "ag…"}},
		"endless body of a success": {func(c net.Conn) {
			readRequest(c)
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
			endless(c, "again ")
		}, application.Answer{Outcome: domain.OutcomeDelivered, Status: 200}},
		"success and then silence": {func(c net.Conn) {
			readRequest(c)
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n")
			<-stop
		}, application.Answer{Outcome: domain.OutcomeDelivered, Status: 200}},
		"a failure that trickles": {func(c net.Conn) {
			readRequest(c)
			_, _ = io.WriteString(c, "HTTP/1.1 503 E\r\nRetry-After: 7\r\n\r\nwhy s3cret")
			<-stop
		}, application.Answer{Outcome: domain.OutcomeRetry, Status: 503, After: 7 * time.Second, Detail: "why <secret>"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			started := time.Now()
			got := exchange(t, newHTTPClient(), raw(t, c.serve), 2*time.Second)
			if took := time.Since(started); took > 10*time.Second {
				t.Errorf("took %s", took)
			}
			if strings.Contains(got.Detail, "s3cret") || strings.ContainsAny(got.Detail, "\x00\x1b\r\n") {
				t.Errorf("detail %q", got.Detail)
			}
			if c.want.Status == 0 && c.want.Detail == "" { // the wording is the system's
				got.Detail = ""
			}
			if got != c.want {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}

// A body that the sockets between the two programs can't hold is not sent as a
// whole unless the receiver reads it.
func TestReceiversThatDoNotRead(t *testing.T) {
	stop := make(chan struct{})
	defer close(stop)
	for name, serve := range map[string]func(net.Conn){"waits": func(net.Conn) { <-stop }, "closes": func(net.Conn) {}} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		got := exchangeWith(ctx, t, newHTTPClient(), raw(t, serve), strings.Repeat("x", 16<<20))
		cancel()
		if got.Outcome != domain.OutcomeRetry || !strings.HasPrefix(got.Detail, "not sent: ") {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestExchangeThatWasNotSent(t *testing.T) {
	url := raw(t, func(net.Conn) {})
	u := parse(t, url)
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	u.Host = closed.Addr().String()
	client := newHTTPClient()
	got := exchange(t, client, u.String(), 5*time.Second)
	if got.Outcome != domain.OutcomeRetry || !strings.Contains(got.Detail, "refused") || strings.Contains(got.Detail, "s3cret") {
		t.Errorf("nobody listens: %+v", got)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if got := exchangeWith(ended, t, client, url, "x"); got != (application.Answer{Outcome: domain.OutcomeRetry, Detail: "not sent: interrupted"}) {
		t.Errorf("the context has ended: %+v", got)
	}
	failing := &http.Client{Transport: roundTripper(func(*http.Request) (*http.Response, error) {
		return nil, fmt.Errorf("credentials for %s: %w", url, errors.ErrUnsupported)
	})}
	if got := exchange(t, failing, url, time.Second); strings.Contains(got.Detail, "s3cret") || got.Outcome != domain.OutcomeRetry {
		t.Errorf("the transport fails: %+v", got)
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestRetryAfter(t *testing.T) {
	for value, want := range map[string]time.Duration{
		"": 0, "5": 5 * time.Second, "-5": 0, "99999999999999999": time.Hour, "999999999999999999999": 0, "soon": 0,
		"Mon, 01 Jan 2001 00:00:00 GMT": 0, "Fri, 31 Dec 9999 23:59:59 GMT": time.Hour,
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", value)
			w.WriteHeader(http.StatusTooManyRequests)
		}))
		if got := exchange(t, server.Client(), server.URL, 5*time.Second).After; got != want {
			t.Errorf("%q: %s, want %s", value, got, want)
		}
		server.Close()
	}
}

// A secret that the end of what is read cuts in two must not be shown by half.
func TestExcerptShowsNoHalfSecret(t *testing.T) {
	const secret = "0123456789abcdefghijklmnopqrstuvwxyz"
	for _, gap := range []int{0, 4000, 4060, 4080, 4090, 4092, 4093} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusInternalServerError)
			_, _ = io.WriteString(w, "why"+strings.Repeat(" ", gap)+secret+strings.Repeat("x", 5000))
		}))
		got := exchange(t, server.Client(), server.URL+"/?key="+secret, 5*time.Second)
		if strings.Contains(got.Detail, "0") {
			t.Errorf("gap %d: %q", gap, got.Detail)
		}
		server.Close()
	}
}

func FuzzRetryAfter(f *testing.F) {
	f.Add("5")
	f.Add("Fri, 31 Dec 9999 23:59:59 GMT")
	f.Fuzz(func(t *testing.T, value string) {
		client := &http.Client{Transport: roundTripper(func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: http.StatusServiceUnavailable, Header: http.Header{"Retry-After": {value}}, Body: http.NoBody}, nil
		})}
		if got := exchangeWith(t.Context(), t, client, "http://receiver.example", "").After; got < 0 || got > time.Hour {
			t.Fatalf("%q: %s", value, got)
		}
	})
}
