package web

import (
	"cmp"
	"net/http"
	"strings"
	"time"
)

const (
	targetUp      = "up"
	targetDown    = "down"
	targetUnknown = "unknown"
)

type apiTargets struct {
	Active        []apiTarget        `json:"activeTargets"`
	Dropped       []apiDroppedTarget `json:"droppedTargets"`
	DroppedCounts map[string]int     `json:"droppedTargetCounts"`
}

type apiTarget struct {
	DiscoveredLabels   map[string]string `json:"discoveredLabels"`
	Labels             map[string]string `json:"labels"`
	ScrapePool         string            `json:"scrapePool"`
	ScrapeURL          string            `json:"scrapeUrl"`
	GlobalURL          string            `json:"globalUrl"`
	LastError          string            `json:"lastError"`
	LastScrape         time.Time         `json:"lastScrape"`
	LastScrapeDuration float64           `json:"lastScrapeDuration"`
	Health             string            `json:"health"`
	ScrapeInterval     string            `json:"scrapeInterval"`
	ScrapeTimeout      string            `json:"scrapeTimeout"`
}

type apiDroppedTarget struct {
	DiscoveredLabels map[string]string `json:"discoveredLabels"`
	ScrapePool       string            `json:"scrapePool"`
}

// apiTargets is /api/v1/targets.
func (s *Server) apiTargets(r *http.Request) (result, error) {
	pool, state := r.Form.Get("scrapePool"), strings.ToLower(r.Form.Get("state"))
	all := state == "" || state == "any"
	active, dropped := s.config.Targets()
	out := apiTargets{Active: []apiTarget{}, Dropped: []apiDroppedTarget{}}
	if all || state == "active" {
		for _, t := range active {
			if pool == "" || pool == t.ScrapePool {
				out.Active = append(out.Active, newAPITarget(t))
			}
		}
	}
	if all || state == "dropped" {
		out.DroppedCounts = map[string]int{}
		for _, t := range dropped {
			out.DroppedCounts[t.ScrapePool]++
			if pool == "" || pool == t.ScrapePool {
				out.Dropped = append(out.Dropped, apiDroppedTarget{object(t.DiscoveredLabels), t.ScrapePool})
			}
		}
	}
	return result{data: out}, nil
}

func newAPITarget(t Target) apiTarget {
	return apiTarget{
		DiscoveredLabels:   object(t.DiscoveredLabels),
		Labels:             object(t.Labels),
		ScrapePool:         t.ScrapePool,
		ScrapeURL:          t.ScrapeURL,
		GlobalURL:          cmp.Or(t.GlobalURL, t.ScrapeURL),
		LastError:          t.LastError,
		LastScrape:         t.LastScrape,
		LastScrapeDuration: t.LastScrapeDuration.Seconds(),
		Health:             cmp.Or(t.Health, targetUnknown),
		ScrapeInterval:     t.ScrapeInterval,
		ScrapeTimeout:      t.ScrapeTimeout,
	}
}
