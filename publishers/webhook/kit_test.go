package webhook_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/uow-go/uow/outbox"
	"github.com/uow-go/uow/publishers/internal/cloudevents"
	"github.com/uow-go/uow/publishers/webhook"
	"github.com/uow-go/uow/uowtest"
)

// store is a receiver that keeps each event once. It takes no request that has an event
// whose topic is "nowhere".
type store struct {
	mu     sync.Mutex
	events []outbox.Message
	known  map[string]bool
}

func (s *store) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client has gone
	}
	events, err := read(r.Header, body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if slices.ContainsFunc(events, func(m outbox.Message) bool { return m.Topic == "nowhere" }) {
		http.Error(w, "there is no such topic", http.StatusUnprocessableEntity)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range events {
		if !s.known[m.ID] {
			s.known[m.ID] = true
			s.events = append(s.events, m)
		}
	}
}

// read reads a request of any mode.
func read(header http.Header, body []byte) ([]outbox.Message, error) {
	media, _, _ := strings.Cut(header.Get("Content-Type"), ";")
	switch {
	case header.Get("Ce-Specversion") != "":
		return readBinary(header, body)
	case media == "application/cloudevents+json":
		m, err := readStructured(body)
		return []outbox.Message{m}, err
	case media == "application/cloudevents-batch+json":
		var all []json.RawMessage
		if err := json.Unmarshal(body, &all); err != nil {
			return nil, err
		}
		var events []outbox.Message
		for _, one := range all {
			m, err := readStructured(one)
			if err != nil {
				return nil, err
			}
			events = append(events, m)
		}
		return events, nil
	}
	return nil, fmt.Errorf("%q is no mode of CloudEvents", media)
}

func readBinary(header http.Header, body []byte) ([]outbox.Message, error) {
	attributes, headers := map[string]string{}, map[string]string{}
	for name, values := range header {
		attribute, ok := strings.CutPrefix(name, "Ce-")
		if !ok {
			continue
		}
		value, err := url.PathUnescape(values[0])
		if err != nil {
			return nil, err
		}
		attributes[strings.ToLower(attribute)] = value
	}
	if contentType := header.Get("Content-Type"); contentType != "" {
		headers["content-type"] = contentType
	}
	return []outbox.Message{cloudevents.Read(attributes, headers, body)}, nil
}

func readStructured(body []byte) (outbox.Message, error) {
	var event map[string]json.RawMessage
	if err := json.Unmarshal(body, &event); err != nil {
		return outbox.Message{}, err
	}
	attributes, headers, payload := map[string]string{}, map[string]string{}, []byte(event["data"])
	for name, raw := range event {
		var value string
		if name == "data" {
			continue
		}
		if err := json.Unmarshal(raw, &value); err != nil {
			return outbox.Message{}, err
		}
		attributes[name] = value
	}
	if encoded, ok := attributes["data_base64"]; ok {
		delete(attributes, "data_base64")
		var err error
		if payload, err = base64.StdEncoding.DecodeString(encoded); err != nil {
			return outbox.Message{}, err
		}
	}
	if contentType, ok := attributes["datacontenttype"]; ok {
		headers["content-type"] = contentType
	}
	return cloudevents.Read(attributes, headers, payload), nil
}

func TestPublisherInEachMode(t *testing.T) {
	for name, mode := range map[string]webhook.Mode{"Structured": webhook.Structured, "Binary": webhook.Binary, "Batch": webhook.Batch} {
		t.Run(name, func(t *testing.T) {
			var current atomic.Pointer[store] // of the check that runs
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { current.Load().ServeHTTP(w, r) }))
			t.Cleanup(server.Close)
			uowtest.TestPublisher(t, uowtest.PublisherHarness{
				Address: server.Listener.Addr().String(),
				Lacks:   uowtest.PublisherCapabilities{PlainHeaders: true},
				New: func(testing.TB) uowtest.Destination {
					s := &store{known: map[string]bool{}}
					current.Store(s)
					return uowtest.Destination{
						Open: func(_ context.Context, address string) (uowtest.ClosingPublisher, error) {
							return webhook.New(webhook.Config{
								URL: "http://" + address + "/hook", Source: "/bank", Mode: mode, AllowPrivate: true,
								BreakAfter: 3, Secrets: []string{secret('a')},
							})
						},
						Stored: func(context.Context) ([]outbox.Message, error) {
							s.mu.Lock()
							defer s.mu.Unlock()
							return slices.Clone(s.events), nil
						},
						Poison: func(m outbox.Message) outbox.Message {
							m.Topic = "nowhere"
							return m
						},
					}
				},
			})
		})
	}
}
