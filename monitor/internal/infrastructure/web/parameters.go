package web

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/timestamp"
)

// minTime and maxTime are the times that Prometheus' API has for "no bound".
func minTime() time.Time { return time.Unix(math.MinInt64/1000+62135596801, 0).UTC() }

func maxTime() time.Time { return time.Unix(math.MaxInt64/1000-62135596801, 999999999).UTC() }

// timeParameter reads seconds since 1970 or RFC 3339.
func timeParameter(r *http.Request, name string, missing time.Time) (time.Time, error) {
	text := r.Form.Get(name)
	if text == "" {
		return missing, nil
	}
	t, err := parseTime(text)
	if err != nil {
		return t, invalidParameter(name, err)
	}
	return t, nil
}

// neededTime is timeParameter for what must be there.
func neededTime(r *http.Request, name string) (time.Time, error) {
	t, err := parseTime(r.Form.Get(name))
	if err != nil {
		return t, invalidParameter(name, err)
	}
	return t, nil
}

func parseTime(s string) (time.Time, error) {
	if seconds, err := strconv.ParseFloat(s, 64); err == nil {
		whole, fraction := math.Modf(seconds)
		if math.IsNaN(seconds) || whole < float64(minTime().Unix()) || whole > float64(maxTime().Unix()) {
			return time.Time{}, fmt.Errorf("cannot parse %q to a valid timestamp", shorten(s))
		}
		fraction = math.Round(fraction*1000) / 1000
		return time.Unix(int64(whole), int64(fraction*float64(time.Second))).UTC(), nil
	}
	if t, err := time.Parse(time.RFC3339Nano, s); err == nil {
		return t, nil
	}
	for _, bound := range []time.Time{minTime(), maxTime()} { // five-digit years
		if s == bound.Format(time.RFC3339Nano) {
			return bound, nil
		}
	}
	return time.Time{}, fmt.Errorf("cannot parse %q to a valid timestamp", shorten(s))
}

func parseDuration(s string) (time.Duration, error) {
	if seconds, err := strconv.ParseFloat(s, 64); err == nil {
		d := seconds * float64(time.Second)
		if math.IsNaN(d) || d >= float64(math.MaxInt64) || d < float64(math.MinInt64) {
			return 0, fmt.Errorf("cannot parse %q to a valid duration. It overflows int64", shorten(s))
		}
		return time.Duration(d), nil
	}
	if d, err := model.ParseDuration(s); err == nil {
		return time.Duration(d), nil
	}
	return 0, fmt.Errorf("cannot parse %q to a valid duration", shorten(s))
}

// shorten keeps an error message from carrying a whole request.
func shorten(s string) string {
	const most = 120
	if len(s) <= most {
		return s
	}
	return s[:most] + "…"
}

// limitParameter reads a limit; 0 means none.
func limitParameter(r *http.Request) (int, error) {
	text := r.Form.Get("limit")
	if text == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0, invalidParameter("limit", err)
	}
	if n < 0 {
		return 0, invalidParameter("limit", errors.New("limit must be non-negative"))
	}
	return n, nil
}

// matcherParameter reads match[].
func (s *Server) matcherParameter(r *http.Request) ([][]*labels.Matcher, error) {
	sets, err := s.parser.ParseMetricSelectors(r.Form["match[]"])
	if err != nil {
		return nil, invalidParameter("match[]", err)
	}
	for _, set := range sets {
		if matchesEverything(set) {
			return nil, apiErrorf(badData, "match[] must contain at least one non-empty matcher")
		}
	}
	return sets, nil
}

func matchesEverything(set []*labels.Matcher) bool {
	for _, m := range set {
		if m != nil && !m.Matches("") {
			return false
		}
	}
	return true
}

// selection is what the endpoints about series have in common.
type selection struct {
	from, to int64
	sets     [][]*labels.Matcher
	limit    int
}

func (s *Server) selection(r *http.Request) (selection, error) {
	limit, err := limitParameter(r)
	if err != nil {
		return selection{}, err
	}
	from, err := timeParameter(r, "start", minTime())
	if err != nil {
		return selection{}, err
	}
	to, err := timeParameter(r, "end", maxTime())
	if err != nil {
		return selection{}, err
	}
	sets, err := s.matcherParameter(r)
	if err != nil {
		return selection{}, err
	}
	return selection{from: timestamp.FromTime(from), to: timestamp.FromTime(to), sets: sets, limit: limit}, nil
}

// hint is a limit for the storage, one more than asked for, so that what was cut
// off shows.
func (s selection) hint() int {
	if s.limit > 0 && s.limit < math.MaxInt {
		return s.limit + 1
	}
	return s.limit
}
