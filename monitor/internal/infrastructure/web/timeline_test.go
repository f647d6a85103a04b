package web

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/uow-go/uow/monitor/internal/application"
	"github.com/uow-go/uow/monitor/internal/domain"
)

// shape writes a timeline in one line for each entry.
func shape(entries []entry) string {
	var b strings.Builder
	for _, e := range entries {
		what := "none"
		switch {
		case e.Transition != nil:
			what = e.Kind()
		case e.Attempt != nil:
			what = fmt.Sprintf("%s %d %s", e.Attempt.Destination, e.Attempt.Number, e.Tells())
		case e.Delivery != nil:
			what = fmt.Sprintf("%s %s %s", e.Delivery.Destination, e.Delivery.State, e.Tells())
		case e.Gap != nil:
			what = "gap"
		case e.Folded != nil:
			what = fmt.Sprintf("%d folded", e.Folded.Count)
		}
		fmt.Fprintf(&b, "%s: %s←%s, %s\n", what, e.Above, e.Below, e.Elapsed)
	}
	return b.String()
}

func TestBuildTimeline(t *testing.T) {
	start := sampleTime()
	at := func(minutes int) time.Time { return start.Add(time.Duration(minutes) * time.Minute) }
	transition := func(number int64, minute int, kind domain.TransitionKind, from, to domain.State, hold domain.Hold) domain.Transition {
		return domain.Transition{ID: fmt.Sprint("a#", number), Number: number, Kind: kind, From: from, To: to, Hold: hold, Slot: at(minute)}
	}
	tl := application.Timeline{
		Transitions: []domain.Transition{
			transition(5, 60, domain.BecameResolved, domain.Firing, domain.Inactive, domain.HoldNone),
			transition(4, 50, domain.HoldEnded, domain.Firing, domain.Firing, domain.HoldNone),
			transition(3, 30, domain.BecameHeld, domain.Firing, domain.Firing, domain.HoldStale),
			transition(2, 10, domain.BecameFiring, domain.Pending, domain.Firing, domain.HoldNone),
			transition(1, 10, domain.BecamePending, domain.Inactive, domain.Pending, domain.HoldNone),
		},
		Gaps: []domain.Gap{{ID: "g", From: at(35), To: at(50), Missed: 3}},
		Attempts: []domain.Attempt{
			{ID: "n2/1", Notification: "n2", Transition: "a#2", Destination: "pager", Number: 1, StartedAt: at(10), FinishedAt: at(10), Outcome: domain.OutcomeDelivered},
			{ID: "lease", Destination: "am", StartedAt: at(11), FinishedAt: at(11), Outcome: domain.OutcomeDelivered},
		},
		Deliveries: []domain.Delivery{
			{ID: "n2", Transition: "a#2", Destination: "pager", Kind: domain.BecameFiring, CreatedAt: at(10), State: domain.Delivered},
			{ID: "n3", Transition: "a#3", Destination: "pager", Kind: domain.BecameHeld, CreatedAt: at(30), LastAt: at(32), State: domain.Abandoned},
			{ID: "n5", Transition: "a#5", Destination: "pager", Kind: domain.BecameResolved, CreatedAt: at(60), State: domain.Undelivered},
		},
	}
	want := `pager undelivered resolved: inactive←inactive, 0s
resolved: inactive←firing, 10m0s
hold ended: firing←held, 0s
gap: held←gap, 3m0s
pager abandoned held: held←held, 2m0s
held: stale: held←firing, 19m0s
am 0 : firing←firing, 1m0s
pager 1 firing: firing←firing, 0s
firing: firing←pending, 0s
pending: pending←inactive, 0s
`
	if got := shape(buildTimeline(tl)); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestFold(t *testing.T) {
	for n, want := range map[int]int{1: 1, foldFrom - 1: foldFrom - 1, foldFrom: 4, 100: 4} {
		var tl application.Timeline
		for i := range n {
			tl.Attempts = append(tl.Attempts, domain.Attempt{
				ID: fmt.Sprint(i), Destination: "pager", Number: i + 1, StartedAt: sampleTime().Add(time.Duration(i) * time.Minute), Outcome: domain.OutcomeRetry,
			})
		}
		got := buildTimeline(tl)
		shown := 0
		for _, e := range got {
			if e.Folded != nil {
				shown += e.Folded.Count - 1
			}
			shown++
		}
		if len(got) != want || shown != n {
			t.Errorf("%d attempts gave %d lines with %d:\n%s", n, len(got), shown, shape(got))
		}
	}
}

func TestFilter(t *testing.T) {
	of := map[string]string{"alertname": "DiskFull", "severity": "page", "odd name": "x"}
	extra := map[string]string{"state": "firing"}
	for text, want := range map[string]bool{
		"":                     true,
		"{}":                   true,
		`alertname="DiskFull"`: true,
		`{alertname="DiskFull",severity=~"page|ticket"}`: true,
		`alertname = "DiskFull" severity!="ticket"`:      true,
		`alertname=DiskFull`:                             true,
		`alertname=Disk`:                                 false,
		`severity!~"pa.*"`:                               false,
		`"odd name"="x"`:                                 true,
		`state="firing"`:                                 true,
		`state="pending"`:                                false,
		`missing=""`:                                     true,
		`diskf`:                                          true,
		`DISK page`:                                      true,
		`disk, nowhere`:                                  false,
		`"is full"`:                                      true,
		`firing`:                                         true,
	} {
		f, err := parseFilter(text)
		check(t, err)
		if got := f.matches(of, extra, "The disk is full"); got != want {
			t.Errorf("%s: %t, want %t", text, got, want)
		}
	}
	for _, text := range []string{`a=~"("`, `"open`, `{{`, `="x"`, `a="b"}}`, `a="\x"`, strings.Repeat("x", maxFilter+1), strings.Repeat("x ", maxTerms+1)} {
		if _, err := parseFilter(text); err == nil {
			t.Errorf("%.50s: no error", text)
		}
	}
}

func TestNarrowed(t *testing.T) {
	for _, test := range []struct{ filter, name, value, want string }{
		{"", "a", "b", `a="b"`},
		{`x="y"`, "a", `"q"`, `x="y", a="\"q\""`},
		{`a="b"`, "a", "b", `a="b"`},
		{"", "odd name", "b", `"odd name"="b"`},
	} {
		got := narrowed(test.filter, test.name, test.value)
		if got != test.want {
			t.Errorf("got %s, want %s", got, test.want)
		}
		if f, err := parseFilter(got); err != nil || !f.matches(map[string]string{test.name: test.value, "x": "y"}, nil) {
			t.Errorf("%s does not match what it was made of: %v", got, err)
		}
	}
}

func TestFormats(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", 59*time.Second + 600*time.Millisecond: "1m 00s", 61 * time.Minute: "1h 01m", 49 * time.Hour: "2d 1h",
	} {
		if got := span(d); got != want {
			t.Errorf("%s: %s, want %s", d, got, want)
		}
	}
	for v, want := range map[domain.Decimal]string{0: "0", 0.038112345: "0.038112", -1234567: "-1\u2009234\u2009567", 99999: "99999", 1e20: "1e+20"} {
		if got := number(v); got != want {
			t.Errorf("%v: %s, want %s", float64(v), got, want)
		}
	}
}
