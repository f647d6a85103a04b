package tocsintest

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"testing"
)

// Get fetches a path of the process' page or API.
func (p *Process) Get(t testing.TB, path string) (status int, body string) {
	t.Helper()
	response, err := http.Get(p.URL + path)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, 16<<20))
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(text)
}

// GetData fetches the data of a good answer of the API.
func GetData[T any](p *Process, path string) (data T, err error) {
	response, err := http.Get(p.URL + path)
	if err != nil {
		return data, err
	}
	defer response.Body.Close()
	var answer struct {
		Status string
		Error  string
		Data   json.RawMessage
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return data, fmt.Errorf("%s: %s: %w", path, response.Status, err)
	}
	if answer.Status != "success" {
		return data, fmt.Errorf("%s: %s: %s", path, response.Status, answer.Error)
	}
	return data, json.Unmarshal(answer.Data, &data)
}
