package console

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/uow-go/uow/monitor/internal/domain"
)

// timeFormat has a fixed width, so that the columns after it line up.
const timeFormat = "2006-01-02 15:04:05.000Z07:00"

// word is what happened, in the words and colours of the console.
type word struct {
	text  string
	color string // an SGR parameter
}

func wordOf(t domain.Transition) word {
	switch t.Kind {
	case domain.BecameFiring:
		return word{"FIRING", "1;31"}
	case domain.BecameResolved:
		return word{"RESOLVED", "32"}
	case domain.BecameHeld:
		return word{"HELD", "33"}
	case domain.HoldEnded:
		return word{"HOLD ENDED", "33"}
	case domain.FellBack:
		return word{"FELL BACK", "33"}
	case domain.RuleDeleted:
		return word{"DELETED", "36"}
	}
	return word{strings.ToUpper(printable(string(t.Kind))), "0"}
}

// line returns time, word, name, value, labels, and the text in words, aligned
// where they fit.
func line(n domain.Notification, location *time.Location, color bool) string {
	t := n.Transition
	w := wordOf(t)
	column := fmt.Sprintf("%-10s", w.text)
	if color {
		column = "\x1b[" + w.color + "m" + column + "\x1b[0m"
	}
	text := fmt.Sprintf("%s  %s  %-24s  %8s  {%s}", t.Slot.In(location).Format(timeFormat), column,
		shorten(printable(t.Name)), t.Value, labels(t.Labels))
	for _, part := range []string{summary(t.Annotations), remark(n)} {
		if part != "" {
			text += "  " + part
		}
	}
	return text + "\n"
}

// labels leaves out the name, which has a column.
func labels(all map[string]string) string {
	names := slices.Sorted(maps.Keys(all))
	pairs := make([]string, 0, len(names))
	for _, name := range names {
		if name != "alertname" {
			pairs = append(pairs, labelName(name)+"="+strconv.Quote(shorten(all[name])))
		}
	}
	return strings.Join(pairs, ", ")
}

// labelName quotes a name that would be ambiguous without, as PromQL does.
func labelName(name string) string {
	plain := func(r rune) bool {
		return r == '_' || '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z'
	}
	if name != "" && strings.TrimFunc(name, plain) == "" {
		return shorten(name)
	}
	return strconv.Quote(shorten(name))
}

func summary(annotations map[string]string) string {
	text := annotations["summary"]
	if text == "" {
		text = annotations["description"]
	}
	return shorten(printable(strings.TrimSpace(text)))
}

// remark is what the reader must know beside the alert itself.
func remark(n domain.Notification) string {
	var parts []string
	if n.Transition.Hold != domain.HoldNone {
		parts = append(parts, "held: "+printable(string(n.Transition.Hold)))
	}
	if n.Transition.Reason != "" {
		parts = append(parts, shorten(printable(n.Transition.Reason)))
	}
	if n.Late {
		parts = append(parts, "late")
	}
	if len(parts) == 0 {
		return ""
	}
	return "(" + strings.Join(parts, "; ") + ")"
}
