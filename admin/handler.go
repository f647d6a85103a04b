package admin

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/uow-go/uow"
	"github.com/uow-go/uow/inbox"
)

//go:embed page
var pageFiles embed.FS

// HandlerConfig describes a Handler.
type HandlerConfig struct {
	// Ops is what it operates. Required.
	Ops *Ops

	// AllowWrites allows actions: without it they are answered by 403. Default: false.
	AllowWrites bool

	// Actor returns who sends a request, for the audit, from what your own
	// authentication has found out. Default: the name of HTTP basic authentication,
	// which this does not check, or else the address.
	Actor func(r *http.Request) string
}

// maxBody is the greatest size of a request's body.
const maxBody = 1 << 20

// Handler returns a handler with a page for operators and the JSON that it is made of:
//
//	GET  /                          the page
//	GET  /api/stats                 Stats
//	GET  /api/messages              Page: cursor, topic, key, type, aggregate, id, position,
//	                                state, from, to, since, before, after, limit
//	GET  /api/messages/{position}   Detail
//	GET  /api/inbox                 Marks: consumer, source, id, after, limit
//	GET  /api/inbox/streams         Streams: consumer, after, limit
//	POST /api/redrive, discard, park, replay   Action → Outcome
//
// Times are as in RFC 3339. An error is {"error": "…"} with the status 400 for what makes
// no sense, 403, 404, or 500. All paths are relative to where the handler is mounted:
//
//	mux.Handle("/outbox/", http.StripPrefix("/outbox", protect(handler)))
//
// It does not know who may do what: put your authentication before it, for reading too,
// since messages may have anything in them. Actions of pages of other origins are
// refused by what browsers say of a request (Sec-Fetch-Site, Origin), and actions must
// be sent as application/json. A wrong HandlerConfig is a uow.ErrConfig.
func Handler(cfg HandlerConfig) (http.Handler, error) {
	if cfg.Ops == nil {
		return nil, fmt.Errorf("admin: %w: Ops is required", uow.ErrConfig)
	}
	if cfg.Actor == nil {
		cfg.Actor = actorOf
	}
	files, err := fs.Sub(pageFiles, "page")
	if err != nil {
		return nil, fmt.Errorf("admin: %w", err)
	}
	h := &handler{cfg}
	mux := http.NewServeMux()
	mux.Handle("GET /", http.FileServerFS(files))
	mux.HandleFunc("GET /api/stats", answer(h.stats))
	mux.HandleFunc("GET /api/messages", answer(h.messages))
	mux.HandleFunc("GET /api/messages/{position}", answer(h.message))
	mux.HandleFunc("GET /api/inbox", answer(h.inbox))
	mux.HandleFunc("GET /api/inbox/streams", answer(h.streams))
	ops := cfg.Ops
	for name, do := range map[string]func(context.Context, Action) (Outcome, error){
		"redrive": ops.Redrive, "discard": ops.Discard, "park": ops.Park, "replay": ops.Replay,
	} {
		mux.HandleFunc("POST /api/"+name, answer(h.action(do)))
	}
	sameOrigin := http.NewCrossOriginProtection()
	sameOrigin.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		respond(w, http.StatusForbidden, failure{"the request comes from another origin"})
	}))
	return headers(sameOrigin.Handler(mux)), nil
}

// headers keeps the page from being framed, from loading anything of others, and what
// it shows from being kept.
func headers(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

type handler struct{ HandlerConfig }

type failure struct {
	Error string `json:"error"`
}

// errForbidden is the answer to an action where none is allowed.
var errForbidden = errors.New("admin: actions are not allowed here")

// answer makes a handler of a function that returns what is to be sent.
func answer(fn func(r *http.Request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		value, err := fn(r)
		switch {
		case err == nil:
			respond(w, http.StatusOK, value)
		case errors.Is(err, errForbidden):
			respond(w, http.StatusForbidden, failure{err.Error()})
		case errors.Is(err, ErrInvalid):
			respond(w, http.StatusBadRequest, failure{err.Error()})
		case errors.Is(err, ErrNoCursor), errors.Is(err, ErrNoMessage), errors.Is(err, ErrNoInbox):
			respond(w, http.StatusNotFound, failure{err.Error()})
		default:
			respond(w, http.StatusInternalServerError, failure{err.Error()})
		}
	}
}

func respond(w http.ResponseWriter, status int, value any) {
	body, err := json.Marshal(value)
	if err != nil {
		status, body = http.StatusInternalServerError, []byte(`{"error":"the answer can't be encoded"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(body) // who asked is gone otherwise
}

// state is Stats, and what the page must know besides.
type state struct {
	Stats
	AllowWrites bool `json:"allowWrites"`
}

func (h *handler) stats(r *http.Request) (any, error) {
	stats, err := h.Ops.Stats(r.Context())
	return state{stats, h.AllowWrites}, err
}

func (h *handler) messages(r *http.Request) (any, error) {
	v := values{query: r.URL.Query()}
	q := Query{
		Cursor: v.text("cursor"), After: v.number("after"), Limit: int(v.number("limit")),
		Filter: Filter{
			Topics: v.query["topic"], Keys: v.query["key"], Types: v.query["type"], Aggregates: v.query["aggregate"], IDs: v.query["id"],
			From: v.number("from"), To: v.number("to"), Since: v.time("since"), Before: v.time("before"),
		},
	}
	for _, text := range v.query["position"] {
		q.Filter.Positions = append(q.Filter.Positions, v.parse("position", text))
	}
	for _, text := range v.query["state"] {
		q.Filter.States = append(q.Filter.States, State(text))
	}
	if v.err != nil {
		return nil, v.err
	}
	return h.Ops.List(r.Context(), q)
}

func (h *handler) message(r *http.Request) (any, error) {
	var v values
	position := v.parse("position", r.PathValue("position"))
	if v.err != nil {
		return nil, v.err
	}
	return h.Ops.Show(r.Context(), position)
}

func (h *handler) inbox(r *http.Request) (any, error) {
	v := values{query: r.URL.Query()}
	f := inbox.Filter{Consumer: v.text("consumer"), Source: v.text("source"), ID: v.text("id"), After: v.text("after"), Limit: int(v.number("limit"))}
	if v.err != nil {
		return nil, v.err
	}
	return h.Ops.Marks(r.Context(), f)
}

func (h *handler) streams(r *http.Request) (any, error) {
	v := values{query: r.URL.Query()}
	limit := int(v.number("limit"))
	if v.err != nil {
		return nil, v.err
	}
	return h.Ops.Streams(r.Context(), v.text("consumer"), v.text("after"), limit)
}

func (h *handler) action(do func(context.Context, Action) (Outcome, error)) func(r *http.Request) (any, error) {
	return func(r *http.Request) (any, error) {
		if !h.AllowWrites {
			return nil, errForbidden
		}
		if kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind != "application/json" {
			return nil, fmt.Errorf("%w: send it as application/json", ErrInvalid)
		}
		decoder := json.NewDecoder(http.MaxBytesReader(nil, r.Body, maxBody))
		decoder.DisallowUnknownFields()
		var a Action
		if err := decoder.Decode(&a); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
		}
		a.Actor = h.Actor(r)
		return do(r.Context(), a)
	}
}

func actorOf(r *http.Request) string {
	if name, _, ok := r.BasicAuth(); ok {
		return name
	}
	return r.RemoteAddr
}

// values reads the values of a query; err is the first that can't be read.
type values struct {
	query url.Values
	err   error
}

func (v *values) text(name string) string { return v.query.Get(name) }

func (v *values) number(name string) int64 {
	if text := v.query.Get(name); text != "" {
		return v.parse(name, text)
	}
	return 0
}

func (v *values) parse(name, text string) int64 {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil && v.err == nil {
		v.err = fmt.Errorf("%w: %s %q is no number", ErrInvalid, name, text)
	}
	return n
}

func (v *values) time(name string) (t time.Time) {
	text := v.query.Get(name)
	if text == "" {
		return t
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil && v.err == nil {
		v.err = fmt.Errorf("%w: %s %q is no time as 2026-01-31T15:04:05Z", ErrInvalid, name, text)
	}
	return t
}
