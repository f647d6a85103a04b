package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
)

// maxPoints is the greatest number of points of one series, as in Prometheus.
const maxPoints = 11000

// queryData is the data of both query endpoints.
type queryData struct {
	ResultType parser.ValueType `json:"resultType"`
	Result     json.RawMessage  `json:"result"`
}

// query is /api/v1/query.
func (s *Server) query(r *http.Request) (result, error) {
	limit, err := limitParameter(r)
	if err != nil {
		return result{}, err
	}
	at, err := timeParameter(r, "time", s.config.Clock())
	if err != nil {
		return result{}, err
	}
	ctx, cancel, opts, err := s.queryContext(r)
	if err != nil {
		return result{}, err
	}
	defer cancel()
	text := r.Form.Get("query")
	q, err := s.config.Engine.NewInstantQuery(ctx, s.config.Queryable, opts, text, at)
	if err != nil {
		return result{}, constructionError(err)
	}
	return execute(ctx, q, text, limit)
}

// queryRange is /api/v1/query_range.
func (s *Server) queryRange(r *http.Request) (result, error) {
	limit, err := limitParameter(r)
	if err != nil {
		return result{}, err
	}
	span, err := rangeParameters(r)
	if err != nil {
		return result{}, err
	}
	ctx, cancel, opts, err := s.queryContext(r)
	if err != nil {
		return result{}, err
	}
	defer cancel()
	text := r.Form.Get("query")
	q, err := s.config.Engine.NewRangeQuery(ctx, s.config.Queryable, opts, text, span.start, span.end, span.step)
	if err != nil {
		return result{}, constructionError(err)
	}
	return execute(ctx, q, text, limit)
}

// timeRange is the time range of a range query.
type timeRange struct {
	start, end time.Time
	step       time.Duration
}

func rangeParameters(r *http.Request) (span timeRange, err error) {
	if span.start, err = neededTime(r, "start"); err != nil {
		return span, err
	}
	if span.end, err = neededTime(r, "end"); err != nil {
		return span, err
	}
	if span.end.Before(span.start) {
		return span, invalidParameter("end", errors.New("end timestamp must not be before start time"))
	}
	if span.step, err = parseDuration(r.Form.Get("step")); err != nil {
		return span, invalidParameter("step", err)
	}
	if span.step <= 0 {
		return span, invalidParameter("step", errors.New("zero or negative query resolution step widths are not accepted. Try a positive integer"))
	}
	if span.end.Sub(span.start)/span.step > maxPoints {
		return span, apiErrorf(badData, "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)")
	}
	return span, nil
}

// queryContext returns a context with the query's timeout, and its options.
func (s *Server) queryContext(r *http.Request) (context.Context, context.CancelFunc, promql.QueryOpts, error) {
	if s.config.Engine == nil || s.config.Queryable == nil {
		return nil, nil, nil, &apiError{kind: unavailable, err: fmt.Errorf("%w: queries", ErrUnavailable)}
	}
	most := s.config.QueryTimeout
	if text := r.Form.Get("timeout"); text != "" {
		asked, err := parseDuration(text)
		if err != nil {
			return nil, nil, nil, invalidParameter("timeout", err)
		}
		if asked <= 0 {
			return nil, nil, nil, invalidParameter("timeout", fmt.Errorf("timeout must be positive, got %s", asked))
		}
		most = min(most, asked)
	}
	var lookback time.Duration
	if text := r.Form.Get("lookback_delta"); text != "" {
		var err error
		if lookback, err = parseDuration(text); err != nil {
			return nil, nil, nil, apiErrorf(badData, "error parsing lookback delta duration: %w", err)
		}
	}
	ctx, cancel := context.WithTimeout(r.Context(), most)
	return ctx, cancel, promql.NewPrometheusQueryOpts(false, lookback, nil), nil
}

// constructionError is for a query that could not be built: mostly one that
// cannot be parsed.
func constructionError(err error) *apiError {
	if is[promql.ErrQueryTimeout](err) || is[promql.ErrQueryCanceled](err) {
		return queryError(err)
	}
	return invalidParameter("query", err)
}

func execute(ctx context.Context, q promql.Query, text string, limit int) (result, error) {
	defer q.Close()
	res := q.Exec(ctx)
	if res.Err != nil {
		return result{}, queryError(res.Err)
	}
	value, cut := truncate(res.Value, limit)
	if cut {
		res.Warnings.Add(errTruncated())
	}
	// The value is encoded before Close takes its memory back.
	encoded, err := appendValue(nil, value)
	if err != nil {
		return result{}, &apiError{kind: internal, err: err}
	}
	data := queryData{ResultType: value.Type(), Result: encoded}
	return result{data: data, warnings: res.Warnings, query: text}, nil
}

func errTruncated() error { return errors.New("results truncated due to limit") }

func truncate(v parser.Value, limit int) (parser.Value, bool) {
	if limit <= 0 {
		return v, false
	}
	switch v := v.(type) {
	case promql.Matrix:
		if len(v) > limit {
			return v[:limit], true
		}
	case promql.Vector:
		if len(v) > limit {
			return v[:limit], true
		}
	}
	return v, false
}
