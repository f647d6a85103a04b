package browser_test

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/uow-go/uow/integration/internal/tocsintest"
)

const rules = `
	- alert: DiskAlmostFull
	  expr: level > 0
	  labels: {severity: critical}
	  annotations: {summary: 'the disk of {{ $labels.instance }} is {{ $value }} % full'}
	- alert: Waiting
	  expr: level >= 0
	  for: 1h
	  labels: {severity: warning}
	- alert: Broken
	  expr: sum by (job) (level) / on (job) twin
	- {record: level:max, expr: max(level)}
`

// scene is a tocsin with an exporter, one that is down, and a receiver.
type scene struct {
	*tocsintest.Home
	*tocsintest.Process
	exporter *tocsintest.Exporter
	receiver *tocsintest.Receiver
}

func newScene(t *testing.T) *scene {
	t.Helper()
	s := &scene{Home: tocsintest.NewHome(t), exporter: tocsintest.NewExporter(t), receiver: tocsintest.NewReceiver(t)}
	s.exporter.Set("level", 0)
	s.exporter.Set(`twin{n="1"}`, 1) // two partners for one sample: the rule fails
	s.exporter.Set(`twin{n="2"}`, 1)
	down := tocsintest.NewExporter(t)
	down.Behave(tocsintest.Failing)
	s.Configure(t, tocsintest.Setup{
		Targets: []string{s.exporter.Address, down.Address},
		Destinations: []string{
			fmt.Sprintf("{name: pager, type: webhook, timeout: 1s, url: '%s/hooks/token'}", s.receiver.URL),
			"{name: screen, type: console}",
		},
		Rules: rules,
	})
	s.Process = s.Start(t)
	return s
}

// mark leaves something in the page that a reload would take away.
func (b *browser) mark(t *testing.T) {
	t.Helper()
	evaluate[bool](t, b, "window.neverReloaded = true")
}

func (b *browser) neverReloaded(t *testing.T) {
	t.Helper()
	if !evaluate[bool](t, b, "window.neverReloaded === true") {
		t.Error("the page was reloaded")
	}
}

// TestAnAlertComesAndGoes: an open page shows an alert when it fires, each
// attempt to tell of it, and its end, without a reload.
func TestAnAlertComesAndGoes(t *testing.T) {
	s := newScene(t)
	s.receiver.AnswerBy(func(r tocsintest.Request) tocsintest.Answer {
		if r.Attempt < 3 {
			return tocsintest.Fail
		}
		return tocsintest.OK
	})
	b := open(t)
	b.goTo(t, s.URL+"/", "Waiting")
	b.mark(t)
	if text := evaluate[string](t, b, "document.body.innerText"); strings.Contains(text, "DiskAlmostFull") {
		t.Fatalf("the alert is there before it fires: %s", text)
	}
	s.exporter.Set("level", 97)
	b.waitText(t, "tr.r-firing", "DiskAlmostFull")
	b.waitText(t, "tr.r-firing", "the disk of "+s.exporter.Address+" is 97 % full")
	b.waitText(t, "tr.r-firing", "pager")
	tocsintest.Eventually(t, "the title counts it", func() error {
		if title := evaluate[string](t, b, "document.title"); !strings.HasPrefix(title, "(1) ") {
			return fmt.Errorf("the title is %q", title)
		}
		return nil
	})
	s.WaitDelivered(t)
	b.waitText(t, "tr.r-firing", "✓")
	b.shoot(t, "alerts-firing")
	s.exporter.Set("level", 0)
	s.WaitKinds(t, "DiskAlmostFull", "firing resolved")
	tocsintest.Eventually(t, "it is firing no longer", func() error {
		rows := evaluate[string](t, b, "[...document.querySelectorAll('tr')].filter(r => r.innerText.includes('DiskAlmostFull')).map(r => r.className).join(' ')")
		if strings.Contains(rows, "r-firing") {
			return fmt.Errorf("its row is %q", rows)
		}
		return nil
	})
	b.neverReloaded(t)
	b.shoot(t, "alerts-resolved")
	s.WaitDelivered(t)
	timeline(t, s, b)
	b.quiet(t)
	s.Stop(t)
}

// timeline opens the history of the alert by its link.
func timeline(t *testing.T, s *scene, b *browser) {
	t.Helper()
	evaluate[chromedp.Void](t, b, "[...document.querySelectorAll('a.open')].find(a => a.innerText.includes('DiskAlmostFull')).click()")
	for _, text := range []string{"firing", "resolved", "pager", "screen", "500", "200", "97"} {
		b.waitText(t, "main", text)
	}
	b.mark(t)
	s.exporter.Set("level", 98)
	s.WaitKinds(t, "DiskAlmostFull", "firing resolved firing")
	b.waitText(t, "main", "the disk of "+s.exporter.Address+" is 98 % full")
	s.WaitDelivered(t)
	s.exporter.Set("level", 0)
	s.WaitKinds(t, "DiskAlmostFull", "firing resolved firing resolved")
	s.WaitDelivered(t)
	b.waitText(t, "main", "#4")
	b.neverReloaded(t)
	b.shoot(t, "timeline")
}

// TestThePages opens every page, in the light and in the dark, on a screen and on
// a phone, and finds on each what is to be there, no error, and nothing that is
// wider than the phone.
func TestThePages(t *testing.T) {
	s := newScene(t)
	s.exporter.Set("level", 97)
	s.WaitKinds(t, "DiskAlmostFull", "firing")
	s.WaitDelivered(t)
	s.receiver.AnswerAll(tocsintest.Fail)
	s.exporter.Set("level", 0)
	s.WaitKinds(t, "DiskAlmostFull", "firing resolved")
	tocsintest.Eventually(t, "a notification is held", func() error {
		if held := s.History(t).Held; len(held) == 0 {
			return fmt.Errorf("none is")
		}
		return nil
	})
	s.exporter.Set("level", 97)
	s.WaitKinds(t, "DiskAlmostFull", "firing resolved firing")
	b := open(t)
	for _, look := range []struct {
		name          string
		width, height int64
		scheme        string
	}{{"light", 1280, 800, "light"}, {"dark", 1280, 800, "dark"}, {"phone", 390, 844, "light"}} {
		b.look(t, look.width, look.height, look.scheme)
		for _, page := range pages(s) {
			t.Run(look.name+"/"+page.name, func(t *testing.T) {
				b.goTo(t, s.URL+page.path, page.texts[0])
				for _, text := range page.texts {
					b.waitText(t, "body", text)
				}
				if over := evaluate[int](t, b, "document.documentElement.scrollWidth - document.documentElement.clientWidth"); over > 0 {
					t.Errorf("the page is %d pixels wider than the window", over)
				}
				b.shoot(t, page.name+"-"+look.name)
			})
		}
	}
	b.quiet(t)
	s.Stop(t)
}

// look changes the window and the colours that the user likes.
func (b *browser) look(t *testing.T, width, height int64, scheme string) {
	t.Helper()
	b.do(t, chromedp.EmulateViewport(width, height), chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
		})
		return err
	}))
}

type page struct {
	name, path string
	texts      []string
}

func pages(s *scene) []page {
	return []page{
		{"alerts", "/", []string{"DiskAlmostFull", "Waiting", "pending", "firing"}},
		{"rules", "/rules", []string{"level:max", "DiskAlmostFull", "for 1h", "many-to-many matching"}},
		{"targets", "/targets", []string{s.exporter.Address, "up", "down", "500"}},
		{"outbox", "/outbox", []string{"pager", "retrying", "screen"}},
		{"deliveries", "/deliveries", []string{"pager", "500", "200"}},
	}
}

// slash presses the key as a keyboard does: when the page takes it, no character
// follows. chromedp.KeyEvent sends the character in any case.
func (b *browser) slash(t *testing.T) {
	t.Helper()
	b.do(t, chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		key := input.DispatchKeyEventParams{Type: input.DispatchKeyEventTypeKeyDown, Key: "/", Code: "Slash", Text: "/"}
		_, err := cdp.Call(ctx, target, input.DispatchKeyEvent, key)
		return err
	}))
}

// TestTheFilter: the filter is in the URL, and the keyboard reaches it.
func TestTheFilter(t *testing.T) {
	s := newScene(t)
	s.exporter.Set("level", 97)
	s.WaitKinds(t, "DiskAlmostFull", "firing")
	b := open(t)
	b.goTo(t, s.URL+"/", "DiskAlmostFull")
	b.mark(t)
	b.slash(t)
	b.do(t, chromedp.KeyEvent("severity=\"critical\""), chromedp.KeyEvent(kb.Enter))
	tocsintest.Eventually(t, "only what is critical is shown", func() error {
		text := evaluate[string](t, b, "document.querySelector('main').innerText")
		if !strings.Contains(text, "DiskAlmostFull") || strings.Contains(text, "Waiting") {
			filter := evaluate[string](t, b, "document.querySelector('#q').value")
			return fmt.Errorf("the filter is %q, and shown is %q", filter, text)
		}
		return nil
	})
	if query := evaluate[string](t, b, "location.search"); !strings.Contains(query, "q=severity") {
		t.Errorf("the filter is not in the URL: %q", query)
	}
	b.goTo(t, s.URL+"/?q=alertname%3D%22Waiting%22", "Waiting")
	if text := evaluate[string](t, b, "document.querySelector('main').innerText"); strings.Contains(text, "DiskAlmostFull") {
		t.Errorf("shown is %q", text)
	}
	b.goTo(t, s.URL+"/?q="+url.QueryEscape(`severity=~"("`), "not understood")
	b.quiet(t)
	s.Stop(t)
}
