package browser_test

import (
	"context"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/uow-go/uow/integration/internal/tocsintest"
)

func TestMain(m *testing.M) { tocsintest.Main(m) }

// browser is one tab of a headless chromium.
type browser struct {
	ctx context.Context
	// shots is where the screenshots go.
	shots string

	mu     sync.Mutex
	errors []string
}

// open starts a chromium with a profile of its own.
func open(t *testing.T) *browser {
	t.Helper()
	program := tocsintest.Program(t, "chromium", "chromium", "chromium-browser", "google-chrome")
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(program), chromedp.UserDataDir(t.TempDir()),
		chromedp.NoSandbox, chromedp.DisableGPU, chromedp.NoFirstRun, chromedp.WindowSize(1280, 800),
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true),
		chromedp.WSURLReadTimeout(tocsintest.Wait))
	allocator, end := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(end)
	ctx, closeTab := chromedp.NewContext(allocator)
	t.Cleanup(closeTab)
	b := &browser{ctx: ctx, shots: os.Getenv("SCREENSHOTS")}
	if b.shots == "" {
		b.shots = t.TempDir()
	}
	b.do(t) // which starts it
	go b.listen(chromedp.Console(ctx))
	return b
}

// listen keeps what the console says that is wrong.
func (b *browser) listen(messages iter.Seq2[chromedp.ConsoleMessage, error]) {
	for message, err := range messages {
		if err != nil {
			return // the tab is closed
		}
		switch message.Type {
		case chromedp.ConsoleError, chromedp.ConsoleWarning, chromedp.ConsoleException:
			b.mu.Lock()
			b.errors = append(b.errors, message.Text+" "+message.URL)
			b.mu.Unlock()
		}
	}
}

// do does something in the tab.
func (b *browser) do(t *testing.T, steps ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	run(t, b, chromedp.Steps(steps...))
}

// run returns what an action gives. The first one starts the browser, whose life
// must not depend on a deadline.
func run[T any](t *testing.T, b *browser, action chromedp.Action[T]) T {
	t.Helper()
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		value, err := chromedp.Run(b.ctx, action)
		done <- result{value, err}
	}()
	timer := time.NewTimer(tocsintest.Wait)
	defer timer.Stop()
	var r result
	select {
	case r = <-done:
	case <-timer.C:
		r.err = fmt.Errorf("not within %v", tocsintest.Wait)
	}
	if r.err != nil {
		t.Fatalf("the browser: %v", r.err)
	}
	return r.value
}

// evaluate returns the value of an expression in the page.
func evaluate[T any](t *testing.T, b *browser, expression string) T {
	t.Helper()
	return run(t, b, chromedp.Evaluate[T](expression))
}

// waitText waits until an element has a text in it.
func (b *browser) waitText(t *testing.T, selector, text string) {
	t.Helper()
	tocsintest.Eventually(t, fmt.Sprintf("%s has %q", selector, text), func() error {
		got := evaluate[string](t, b, fmt.Sprintf("[...document.querySelectorAll(%q)].map(e => e.innerText).join('\\n')", selector))
		if !strings.Contains(strings.ToLower(got), strings.ToLower(text)) {
			return fmt.Errorf("it has %q", got)
		}
		return nil
	})
}

// goTo opens a page and waits for a text on it.
func (b *browser) goTo(t *testing.T, url, text string) {
	t.Helper()
	b.do(t, chromedp.Navigate(url))
	b.waitText(t, "body", text)
}

// shoot takes a screenshot of the whole page.
func (b *browser) shoot(t *testing.T, name string) {
	t.Helper()
	png := run(t, b, chromedp.FullScreenshot(100))
	if err := os.MkdirAll(b.shots, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(b.shots, name+".png"), png, 0o644); err != nil {
		t.Fatal(err)
	}
}

// quiet fails the test when the console had something to say.
func (b *browser) quiet(t *testing.T) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.errors) > 0 {
		t.Errorf("the console says:\n%s", strings.Join(b.errors, "\n"))
	}
}
