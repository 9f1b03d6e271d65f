package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"

	contract "sluice/api"
	"sluice/internal/api/apitest"
	"sluice/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// asker asks a service, and holds every answer of the API to the contract.
type asker struct {
	t      *testing.T
	w      *apitest.World
	doc    *openapi3.T
	router routers.Router
}

func newAsker(t *testing.T, w *apitest.World) *asker {
	t.Helper()
	doc, err := openapi3.NewLoader().LoadFromData(contract.Spec)
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(context.Background()); err != nil {
		t.Fatalf("the contract: %v", err)
	}
	router, err := gorillamux.NewRouter(doc)
	if err != nil {
		t.Fatal(err)
	}
	return &asker{t, w, doc, router}
}

func (a *asker) do(method, path, token string, body any) (int, http.Header, []byte) {
	a.t.Helper()
	var in io.Reader
	if text, ok := body.(string); ok {
		in = strings.NewReader(text)
	} else if body != nil {
		data, _ := json.Marshal(body)
		in = bytes.NewReader(data)
	}
	r, err := http.NewRequest(method, a.w.URL+path, in)
	if err != nil {
		a.t.Fatal(err)
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	answer, err := a.w.Server.Client().Do(r)
	if err != nil {
		a.t.Fatal(err)
	}
	defer answer.Body.Close()
	data, err := io.ReadAll(answer.Body)
	if err != nil {
		a.t.Fatal(err)
	}
	a.validate(method, path, answer, data)
	return answer.StatusCode, answer.Header, data
}

// validate holds an answer to the contract.
func (a *asker) validate(method, path string, answer *http.Response, data []byte) {
	a.t.Helper()
	u, err := url.Parse(path)
	if err != nil || !strings.HasPrefix(path, "/api/") {
		return
	}
	if answer.StatusCode >= 400 && answer.Header.Get("Content-Type") != "application/problem+json" {
		a.t.Errorf("%s %s: %d is no problem: %s", method, path, answer.StatusCode, answer.Header.Get("Content-Type"))
	}
	r := &http.Request{Method: method, URL: u, Header: http.Header{}}
	route, params, err := a.router.FindRoute(r)
	if err != nil {
		if answer.StatusCode < 400 {
			a.t.Errorf("%s %s is not in the contract: %v", method, path, err)
		}
		return
	}
	in := &openapi3filter.RequestValidationInput{Request: r, PathParams: params, Route: route}
	out := &openapi3filter.ResponseValidationInput{RequestValidationInput: in, Status: answer.StatusCode, Header: answer.Header}
	out.Options = &openapi3filter.Options{IncludeResponseStatus: true}
	out.SetBodyBytes(data)
	if err := openapi3filter.ValidateResponse(context.Background(), out); err != nil {
		a.t.Errorf("%s %s: the answer breaks the contract: %v\n%s", method, path, err, data)
	}
}

// get asks and decodes an answer of status 200.
func get[T any](a *asker, path string) T {
	a.t.Helper()
	status, _, data := a.do("GET", path, "", nil)
	var v T
	if status != 200 {
		a.t.Fatalf("GET %s: %d %s", path, status, data)
	}
	if err := json.Unmarshal(data, &v); err != nil {
		a.t.Fatalf("GET %s: %v\n%s", path, err, data)
	}
	return v
}

// problem asks and wants a problem of this status.
func (a *asker) problem(method, path, token string, body any, status int) contract.Problem {
	a.t.Helper()
	got, _, data := a.do(method, path, token, body)
	var p contract.Problem
	if got != status || json.Unmarshal(data, &p) != nil || p.Status != status || p.Title == "" || p.Detail == nil {
		a.t.Errorf("%s %s: %d %s; wanted a problem of %d", method, path, got, data, status)
	}
	return p
}
