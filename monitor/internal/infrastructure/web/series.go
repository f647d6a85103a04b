package web

import (
	"fmt"
	"maps"
	"net/http"
	"runtime"
	"slices"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/annotations"
)

// lookup runs fn with a querier of the selection's time range. It joins what fn
// finds for each of the matcher sets, or for none.
func (s *Server) lookup(sel selection, fn func(q storage.Querier, set []*labels.Matcher) ([]string, annotations.Annotations, error)) (result, error) {
	q, err := s.querier(sel)
	if err != nil {
		return result{}, err
	}
	defer s.closeQuerier(q)
	sets := sel.sets
	if len(sets) == 0 {
		sets = [][]*labels.Matcher{nil}
	}
	found := map[string]struct{}{}
	var warnings annotations.Annotations
	for _, set := range sets {
		names, more, err := fn(q, set)
		warnings.Merge(more)
		if err != nil {
			return result{}, queryError(err)
		}
		for _, name := range names {
			found[name] = struct{}{}
		}
	}
	names := slices.Sorted(maps.Keys(found))
	if names == nil {
		names = []string{}
	}
	if sel.limit > 0 && len(names) > sel.limit {
		names = names[:sel.limit]
		warnings.Add(errTruncated())
	}
	return result{data: names, warnings: warnings}, nil
}

func (s *Server) querier(sel selection) (storage.Querier, error) {
	if s.config.Queryable == nil {
		return nil, &apiError{kind: unavailable, err: fmt.Errorf("%w: series", ErrUnavailable)}
	}
	q, err := s.config.Queryable.Querier(sel.from, sel.to)
	if err != nil {
		return nil, queryError(err)
	}
	return q, nil
}

func (s *Server) closeQuerier(q storage.Querier) {
	if err := q.Close(); err != nil {
		s.config.Logger.Warn("a querier could not be closed", "error", err)
	}
}

// labelNames is /api/v1/labels.
func (s *Server) labelNames(r *http.Request) (result, error) {
	sel, err := s.selection(r)
	if err != nil {
		return result{}, err
	}
	return s.lookup(sel, func(q storage.Querier, set []*labels.Matcher) ([]string, annotations.Annotations, error) {
		return q.LabelNames(r.Context(), &storage.LabelHints{Limit: sel.hint()}, set...)
	})
}

// labelValues is /api/v1/label/{name}/values.
func (s *Server) labelValues(r *http.Request) (result, error) {
	name := r.PathValue("name")
	if strings.HasPrefix(name, "U__") {
		name = model.UnescapeName(name, model.ValueEncodingEscaping)
	}
	if !model.UTF8Validation.IsValidLabelName(name) {
		return result{}, apiErrorf(badData, "invalid label name: %q", shorten(name))
	}
	sel, err := s.selection(r)
	if err != nil {
		return result{}, err
	}
	return s.lookup(sel, func(q storage.Querier, set []*labels.Matcher) ([]string, annotations.Annotations, error) {
		return q.LabelValues(r.Context(), name, &storage.LabelHints{Limit: sel.hint()}, set...)
	})
}

// series is /api/v1/series.
func (s *Server) series(r *http.Request) (result, error) {
	if len(r.Form["match[]"]) == 0 {
		return result{}, apiErrorf(badData, "no match[] parameter provided")
	}
	sel, err := s.selection(r)
	if err != nil {
		return result{}, err
	}
	q, err := s.querier(sel)
	if err != nil {
		return result{}, err
	}
	defer s.closeQuerier(q)
	hints := &storage.SelectHints{Start: sel.from, End: sel.to, Func: "series", Limit: sel.hint()}
	sets := make([]storage.SeriesSet, len(sel.sets))
	for i, set := range sel.sets {
		sets[i] = q.Select(r.Context(), true, hints, set...)
	}
	merged := sets[0]
	if len(sets) > 1 {
		merged = storage.NewMergeSeriesSet(sets, 0, storage.ChainedSeriesMerge)
	}
	metrics := []labels.Labels{}
	for merged.Next() {
		if sel.limit > 0 && len(metrics) == sel.limit {
			warnings := merged.Warnings()
			warnings.Add(errTruncated())
			return result{data: metrics, warnings: warnings}, nil
		}
		metrics = append(metrics, merged.At().Labels())
	}
	if err := merged.Err(); err != nil {
		return result{}, queryError(err)
	}
	return result{data: metrics, warnings: merged.Warnings()}, nil
}

// metadata is /api/v1/metadata, which editors of queries ask for. The types and
// help texts of metrics are not kept.
func (s *Server) metadata(*http.Request) (result, error) {
	return result{data: map[string]any{}}, nil
}

// buildInfo is /api/v1/status/buildinfo.
func (s *Server) buildInfo(*http.Request) (result, error) {
	return result{data: struct {
		Version   string `json:"version"`
		Revision  string `json:"revision"`
		Branch    string `json:"branch"`
		BuildUser string `json:"buildUser"`
		BuildDate string `json:"buildDate"`
		GoVersion string `json:"goVersion"`
	}{Version: s.config.Version, GoVersion: runtime.Version()}}, nil
}
