package web

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"

	"github.com/uow-go/uow/monitor/internal/domain"
)

// moment is a time as a page shows it.
type moment struct {
	ISO   string
	Full  string
	Clock string
	Ago   string
	Since string
	Zero  bool
}

func newMoment(now, t time.Time) moment {
	if t.IsZero() {
		return moment{Zero: true}
	}
	t, now = t.UTC(), now.UTC()
	m := moment{ISO: t.Format(time.RFC3339Nano), Full: t.Format("2006-01-02 15:04:05 UTC"), Clock: t.Format("15:04:05")}
	if !sameDay(t, now) {
		m.Clock = t.Format("2 Jan 15:04:05")
	}
	m.Since = span(max(0, now.Sub(t)))
	if m.Ago = m.Since + " ago"; t.After(now) {
		m.Ago = "in " + span(t.Sub(now))
	}
	return m
}

func sameDay(a, b time.Time) bool {
	return a.Year() == b.Year() && a.YearDay() == b.YearDay()
}

// span is a duration in its two greatest units.
func span(d time.Duration) string {
	s := int64(d.Round(time.Second) / time.Second)
	switch {
	case s < 60:
		return fmt.Sprintf("%ds", s)
	case s < 3600:
		return fmt.Sprintf("%dm %02ds", s/60, s%60)
	case s < 86400:
		return fmt.Sprintf("%dh %02dm", s/3600, s/60%60)
	}
	return fmt.Sprintf("%dd %dh", s/86400, s/3600%24)
}

// setting is a duration as it is written in a rule file.
func setting(d time.Duration) string { return model.Duration(d).String() }

// took is how long something took.
func took(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return fmt.Sprintf("%d µs", d.Microseconds())
	case d < 10*time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	}
	return span(d)
}

// number is a value in at most five digits, so that columns stay narrow.
func number(d domain.Decimal) string {
	f := float64(d)
	if abs := math.Abs(f); abs >= 1e5 && abs < 1e15 && f == math.Trunc(f) {
		return grouped(strconv.FormatFloat(f, 'f', -1, 64))
	}
	return strconv.FormatFloat(f, 'g', 5, 64)
}

// grouped parts the digits of a whole number in threes.
func grouped(digits string) string {
	sign := ""
	if strings.HasPrefix(digits, "-") {
		sign, digits = "-", digits[1:]
	}
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "\u2009" + digits[i:]
	}
	return sign + digits
}

// count is a whole number with its noun.
func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + many
}
