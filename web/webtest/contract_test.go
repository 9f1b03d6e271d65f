package webtest

import (
	"bytes"
	"fmt"
	"net/http/httptest"
	"net/url"
	"testing"
	"testing/fstest"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers/gorillamux"

	"sluice/api"
)

// TestAnswersObeyTheContract: what the page is tested with is what
// api/openapi.yaml promises.
func TestAnswersObeyTheContract(t *testing.T) {
	spec, err := openapi3.NewLoader().LoadFromData(api.Spec)
	if err != nil {
		t.Fatal(err)
	}
	router, err := gorillamux.NewRouter(spec)
	if err != nil {
		t.Fatal(err)
	}
	for name, w := range map[string]*World{"busy": Busy(time.Now()), "quiet": Quiet(time.Now()), "lanes": Lanes(time.Now())} {
		h := New(fstest.MapFS{}, w).Handler()
		for _, path := range addresses(w) {
			r := httptest.NewRequestWithContext(t.Context(), "GET", path, nil)
			got := httptest.NewRecorder()
			h.ServeHTTP(got, r)
			route, params, err := router.FindRoute(r)
			if err != nil {
				t.Fatalf("%s: %s: %v", name, path, err)
			}
			err = openapi3filter.ValidateResponse(t.Context(), &openapi3filter.ResponseValidationInput{
				RequestValidationInput: &openapi3filter.RequestValidationInput{Request: r, PathParams: params, Route: route},
				Status:                 got.Code, Header: got.Header(), Body: readCloser{bytes.NewReader(got.Body.Bytes())},
			})
			if err != nil {
				t.Errorf("%s: %s: %v", name, path, err)
			}
		}
	}
}

type readCloser struct{ *bytes.Reader }

func (readCloser) Close() error { return nil }

// addresses are all answers of the API that a world has, and one that it has not.
func addresses(w *World) []string {
	all := []string{"/api/v1/status", "/api/v1/queues", "/api/v1/changes", "/api/v1/changes?open=true", "/api/v1/repositories", "/api/v1/jobs/99999999"}
	for _, q := range w.Queues {
		all = append(all, "/api/v1/queues/"+url.PathEscape(q.Name))
	}
	for _, c := range w.Changes {
		all = append(all, fmt.Sprintf("/api/v1/changes/%s/%d", c.Change.Gerrit, c.Change.Number))
	}
	for id := range w.Buildsets {
		all = append(all, fmt.Sprintf("/api/v1/buildsets/%d", id))
	}
	for id := range w.Jobs {
		all = append(all, fmt.Sprintf("/api/v1/jobs/%d", id))
	}
	for _, r := range w.Repositories {
		all = append(all, "/api/v1/repositories/"+r.Repository.Name)
	}
	return all
}
