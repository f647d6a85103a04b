package web

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
)

// appendValue appends the JSON that Prometheus' API has for a query's value.
// Prometheus' own encoder is not used, since its package brings all of its web
// server along.
func appendValue(b []byte, v parser.Value) ([]byte, error) {
	switch v := v.(type) {
	case promql.Vector:
		return appendArray(b, v, appendSample), nil
	case promql.Matrix:
		return appendArray(b, v, appendSeries), nil
	case promql.Scalar:
		return appendPoint(b, v.T, v.V), nil
	case promql.String:
		text, err := json.Marshal(v)
		return append(b, text...), err
	}
	return nil, fmt.Errorf("web: a query gave a value of the unknown type %T", v)
}

func appendArray[T any](b []byte, all []T, one func([]byte, T) []byte) []byte {
	b = append(b, '[')
	for i, v := range all {
		if i > 0 {
			b = append(b, ',')
		}
		b = one(b, v)
	}
	return append(b, ']')
}

func appendSample(b []byte, s promql.Sample) []byte {
	b = appendLabels(append(b, `{"metric":`...), s.Metric)
	if s.H != nil {
		b = appendHistogramPoint(append(b, `,"histogram":`...), promql.HPoint{T: s.T, H: s.H})
	} else {
		b = appendPoint(append(b, `,"value":`...), s.T, s.F)
	}
	return append(b, '}')
}

func appendSeries(b []byte, s promql.Series) []byte {
	b = appendLabels(append(b, `{"metric":`...), s.Metric)
	if len(s.Floats) > 0 {
		b = appendArray(append(b, `,"values":`...), s.Floats, func(b []byte, p promql.FPoint) []byte {
			return appendPoint(b, p.T, p.F)
		})
	}
	if len(s.Histograms) > 0 {
		b = appendArray(append(b, `,"histograms":`...), s.Histograms, appendHistogramPoint)
	}
	return append(b, '}')
}

func appendPoint(b []byte, t int64, f float64) []byte {
	b = append(appendTimestamp(append(b, '['), t), ',')
	return append(appendFloat(b, f), ']')
}

func appendHistogramPoint(b []byte, p promql.HPoint) []byte {
	b = append(appendTimestamp(append(b, '['), p.T), ',')
	return append(appendHistogram(b, p.H), ']')
}

// appendTimestamp appends milliseconds as seconds.
func appendTimestamp(b []byte, t int64) []byte {
	if t < 0 {
		b, t = append(b, '-'), -t
	}
	b = strconv.AppendInt(b, t/1000, 10)
	if ms := t % 1000; ms != 0 {
		b = append(b, '.', byte('0'+ms/100), byte('0'+ms/10%10), byte('0'+ms%10))
	}
	return b
}

func appendFloat(b []byte, f float64) []byte {
	format := byte('f')
	if abs := math.Abs(f); abs != 0 && (abs < 1e-6 || abs >= 1e21) {
		format = 'e'
	}
	return append(strconv.AppendFloat(append(b, '"'), f, format, -1, 64), '"')
}

func appendLabels(b []byte, l labels.Labels) []byte {
	b = append(b, '{')
	first := true
	l.Range(func(l labels.Label) {
		if !first {
			b = append(b, ',')
		}
		first = false
		b = appendText(append(appendText(b, l.Name), ':'), l.Value)
	})
	return append(b, '}')
}

func appendText(b []byte, s string) []byte {
	text, err := json.Marshal(s)
	if err != nil { // strings always have a JSON
		return append(b, `""`...)
	}
	return append(b, text...)
}

func appendHistogram(b []byte, h *histogram.FloatHistogram) []byte {
	b = appendFloat(append(b, `{"count":`...), h.Count)
	b = appendFloat(append(b, `,"sum":`...), h.Sum)
	found := false
	for it := h.AllBucketIterator(); it.Next(); {
		bucket := it.At()
		if bucket.Count == 0 {
			continue
		}
		if !found {
			b = append(b, `,"buckets":[[`...)
		} else {
			b = append(b, ",["...)
		}
		found = true
		b = append(b, boundaries(bucket.LowerInclusive, bucket.UpperInclusive), ',')
		b = append(appendFloat(b, bucket.Lower), ',')
		b = append(appendFloat(b, bucket.Upper), ',')
		b = append(appendFloat(b, bucket.Count), ']')
	}
	if found {
		b = append(b, ']')
	}
	return append(b, '}')
}

// boundaries is the digit that says which bounds of a bucket belong to it.
func boundaries(lower, upper bool) byte {
	switch {
	case lower && upper:
		return '3'
	case lower:
		return '1'
	case upper:
		return '0'
	}
	return '2'
}
