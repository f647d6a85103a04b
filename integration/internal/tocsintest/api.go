package tocsintest

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"testing"
)

// Get fetches a path of the process' page or API.
func (p *Process) Get(t testing.TB, path string) (status int, body string) {
	t.Helper()
	status, text, err := fetch(p.URL + path)
	if err != nil {
		t.Fatal(err)
	}
	return status, string(text)
}

// fetch gets a URL, the beginning of it when it is long.
func fetch(url string) (status int, body []byte, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), Wait)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer response.Body.Close()
	body, err = io.ReadAll(io.LimitReader(response.Body, 16<<20))
	return response.StatusCode, body, err
}

// GetData fetches the data of a good answer of the API.
func GetData[T any](p *Process, path string) (data T, err error) {
	status, body, err := fetch(p.URL + path)
	if err != nil {
		return data, err
	}
	var answer struct {
		Status string
		Error  string
		Data   json.RawMessage
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return data, fmt.Errorf("%s: %d: %w", path, status, err)
	}
	if answer.Status != "success" {
		return data, fmt.Errorf("%s: %d: %s", path, status, answer.Error)
	}
	return data, json.Unmarshal(answer.Data, &data)
}
