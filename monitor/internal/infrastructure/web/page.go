package web

import (
	"bytes"
	"cmp"
	"embed"
	"fmt"
	"html/template"
	"net/http"
	"path"
	"strings"
	"time"
)

//go:embed assets
var assetFiles embed.FS

// pages are the templates by their names.
type pages map[string]*template.Template

// view is what every page is made of.
type view struct {
	Title  string
	Page   string // the template, and the entry of the navigation that is marked
	Status int
	// Count is put before the title, so that a background tab tells of it.
	Count int
	// Filter is the text of the filter, and FilterError why it was not
	// understood. Hint is an example; without it there is no filter line.
	Filter, FilterError, Hint string
	Data                      any

	// The server fills in the rest.
	Base, Version, Store string
	Started, Now         time.Time
}

// filtered reads the filter of a request for a page.
func filtered(r *http.Request, title, page, hint string) (view, filter) {
	v := view{Title: title, Page: page, Hint: hint, Filter: r.Form.Get("q")}
	f, err := parseFilter(v.Filter)
	if err != nil {
		v.FilterError, f = err.Error(), filter{}
	}
	return v, f
}

func (s *Server) parsePages() (pages, error) {
	functions := template.FuncMap{
		"moment": newMoment, "span": span, "setting": setting, "took": took, "number": number,
		"count": count, "asset": s.assetPath,
		"tab":  newTab,
		"pair": func(now time.Time, e entry) entryView { return entryView{now, e} },
	}
	layout, err := template.New("layout").Funcs(functions).ParseFS(assetFiles, "assets/layout.html", "assets/parts.html")
	if err != nil {
		return nil, fmt.Errorf("web: templates: %w", err)
	}
	out := pages{}
	for _, name := range []string{"alerts", "timeline", "rules", "targets", "outbox", "deliveries", "problem"} {
		page, err := layout.Clone()
		if err == nil {
			page, err = page.ParseFS(assetFiles, path.Join("assets", name+".html"))
		}
		if err != nil {
			return nil, fmt.Errorf("web: template %s: %w", name, err)
		}
		out[name] = page
	}
	return out, nil
}

// tab is an entry of the navigation.
type tab struct {
	Href, Name string
	Here       bool
}

func newTab(v view, page, path, name string) tab {
	here := v.Page == page || v.Page == "timeline" && page == "alerts"
	return tab{Href: v.Base + path, Name: name, Here: here}
}

// entryView is a line of a timeline with what its template needs.
type entryView struct {
	Now   time.Time
	Entry entry
}

// page serves a page, or with ?fragment=1 only the part of it that changes.
func (s *Server) page(build func(r *http.Request, now time.Time) (view, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		now := s.config.Clock()
		v, err := build(r, now)
		if err != nil {
			v = s.problem(r, readError(err))
		}
		v.Base, v.Version, v.Store = s.base, s.config.Version, s.config.Store
		v.Started, v.Now = s.started, now
		part := "layout"
		if r.Form.Get("fragment") != "" {
			part = "fragment"
		}
		var b bytes.Buffer
		if err := s.pages[v.Page].ExecuteTemplate(&b, part, v); err != nil {
			s.fail(w, r, &apiError{kind: internal, err: fmt.Errorf("web: page %s: %w", v.Page, err)})
			return
		}
		s.write(w, r, cmp.Or(v.Status, http.StatusOK), htmlText, b.Bytes())
	}
}

// problem is the page for what could not be shown.
func (s *Server) problem(r *http.Request, e *apiError) view {
	v := view{Title: "Not found", Page: "problem", Status: e.kind.status(), Data: e.Error()}
	switch e.kind {
	case notFound:
	case badData:
		v.Title = "Bad request"
	default:
		s.config.Logger.Error("a page failed", "path", r.URL.Path, "error", e)
		v.Title, v.Data = "This page can not be shown", "The store could not be read. The log has the details; the page tries again by itself."
	}
	return v
}

func (s *Server) notFoundPage(r *http.Request, _ time.Time) (view, error) {
	return view{}, apiErrorf(notFound, "There is no page %s.", shorten(strings.ToValidUTF8(r.URL.Path, "?")))
}
