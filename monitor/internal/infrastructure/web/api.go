package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/util/annotations"
)

// errorKind is an errorType of Prometheus' API.
type errorKind string

const (
	badData     errorKind = "bad_data"
	execution   errorKind = "execution"
	timeout     errorKind = "timeout"
	canceled    errorKind = "canceled"
	internal    errorKind = "internal"
	notFound    errorKind = "not_found"
	costLimit   errorKind = "cost_limit"
	unavailable errorKind = "unavailable"
)

// statusClientClosed is nginx's code for a client that did not wait.
const statusClientClosed = 499

func (k errorKind) status() int {
	switch k {
	case badData:
		return http.StatusBadRequest
	case execution, costLimit:
		return http.StatusUnprocessableEntity
	case timeout, unavailable:
		return http.StatusServiceUnavailable
	case canceled:
		return statusClientClosed
	case notFound:
		return http.StatusNotFound
	}
	return http.StatusInternalServerError
}

// apiError is an error with its kind.
type apiError struct {
	kind errorKind
	err  error
}

func (e *apiError) Error() string { return e.err.Error() }

func (e *apiError) Unwrap() error { return e.err }

func apiErrorf(kind errorKind, format string, args ...any) *apiError {
	return &apiError{kind: kind, err: fmt.Errorf(format, args...)}
}

func invalidParameter(name string, err error) *apiError {
	return apiErrorf(badData, "invalid parameter %q: %w", name, err)
}

// queryError finds the kind of an error of the engine.
func queryError(err error) *apiError {
	var known *apiError
	switch {
	case errors.As(err, &known):
		return known
	case is[promql.ErrQueryCanceled](err), errors.Is(err, context.Canceled):
		return &apiError{kind: canceled, err: err}
	case is[promql.ErrQueryTimeout](err), errors.Is(err, context.DeadlineExceeded):
		return &apiError{kind: timeout, err: err}
	case is[promql.ErrTooManySeries](err), is[promql.ErrTooManySamplesRead](err):
		return &apiError{kind: costLimit, err: err}
	case is[promql.ErrStorage](err):
		return &apiError{kind: internal, err: err}
	}
	return &apiError{kind: execution, err: err}
}

func is[T error](err error) bool {
	_, ok := errors.AsType[T](err)
	return ok
}

// result is what an endpoint answers. query, when set, is what the places in
// the warnings refer to.
type result struct {
	data     any
	warnings annotations.Annotations
	query    string
}

type apiHandler func(r *http.Request) (result, error)

// envelope is the outermost object of each answer, as in Prometheus.
type envelope struct {
	Status    string    `json:"status"`
	Data      any       `json:"data,omitempty"`
	ErrorType errorKind `json:"errorType,omitempty"`
	Error     string    `json:"error,omitempty"`
	Warnings  []string  `json:"warnings,omitempty"`
	Infos     []string  `json:"infos,omitempty"`
}

const maxAnnotations = 10

// api serves an endpoint of Prometheus' API.
func (s *Server) api(h apiHandler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		res, err := h(r)
		if err != nil {
			s.fail(w, r, queryError(err))
			return
		}
		warnings, infos := res.warnings.AsStrings(res.query, maxAnnotations, maxAnnotations)
		s.answer(w, r, http.StatusOK, envelope{Status: "success", Data: res.data, Warnings: warnings, Infos: infos})
	}
}

// own serves an endpoint of tocsin's own, in the same envelope.
func (s *Server) own(h func(r *http.Request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		data, err := h(r)
		if err != nil {
			s.fail(w, r, readError(err))
			return
		}
		s.answer(w, r, http.StatusOK, envelope{Status: "success", Data: data})
	}
}

func (s *Server) fail(w http.ResponseWriter, r *http.Request, e *apiError) {
	status := e.kind.status()
	if _, tooLarge := errors.AsType[*http.MaxBytesError](e); tooLarge {
		status = http.StatusRequestEntityTooLarge
	}
	if status == http.StatusInternalServerError {
		s.config.Logger.Error("a request failed", "path", r.URL.Path, "error", e)
	}
	s.answer(w, r, status, envelope{Status: "error", ErrorType: e.kind, Error: e.Error()})
}

func (s *Server) answer(w http.ResponseWriter, r *http.Request, status int, e envelope) {
	body, err := json.Marshal(e)
	if err != nil {
		s.config.Logger.Error("an answer could not be encoded", "path", r.URL.Path, "error", err)
		status, body = http.StatusInternalServerError, []byte(`{"status":"error","errorType":"internal","error":"the answer could not be encoded"}`)
	}
	s.write(w, r, status, jsonText, body)
}

func (s *Server) apiNotFound(w http.ResponseWriter, r *http.Request) {
	s.fail(w, r, apiErrorf(notFound, "there is no endpoint %s %s", r.Method, r.URL.Path))
}
