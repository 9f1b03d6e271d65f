package api

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/go-chi/chi/v5"

	contract "sluice/api"
)

// operations are those of the contract, by "METHOD /path".
type operations map[string]*routers.Route

func readOperations() (operations, error) {
	doc, err := openapi3.NewLoader().LoadFromData(contract.Spec)
	if err != nil {
		return nil, fmt.Errorf("read the contract: %w", err)
	}
	all := operations{}
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			all[method+" "+path] = &routers.Route{Spec: doc, Path: path, PathItem: item, Method: method, Operation: op}
		}
	}
	return all, nil
}

// of gives the operation of a request that a router has found.
func (o operations) of(r *http.Request) *routers.Route {
	patterns := chi.RouteContext(r.Context()).RoutePatterns
	return o[r.Method+" "+patterns[len(patterns)-1]]
}

// strict refuses what the contract does not have, and names it: a parameter or a
// key that is not known, that is given twice, or whose value cannot be.
func (o operations) strict(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := obeys(o.of(r), r); err != nil {
			badRequest(w, r, err)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// obeys holds a request to its operation. A body is JSON, whatever its type is called.
func obeys(route *routers.Route, r *http.Request) error {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return fmt.Errorf("the query: %w", err)
	}
	names := queryNames(route)
	for _, name := range slices.Sorted(maps.Keys(query)) {
		if !slices.Contains(names, name) {
			return fmt.Errorf("query parameter %q: there is none of this name here; known: %s", name, cmp.Or(strings.Join(names, ", "), "none"))
		}
		if n := len(query[name]); n > 1 {
			return fmt.Errorf("query parameter %q: it is given %d times", name, n)
		}
	}
	if route.Operation.RequestBody != nil {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return err
		}
		if len(body) > 0 && !json.Valid(body) {
			return errors.New("the body is not JSON")
		}
		if key := twice(body); key != "" {
			return fmt.Errorf("the body: %s: it is given twice", key)
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
	}
	return inWords(openapi3filter.ValidateRequest(r.Context(), &openapi3filter.RequestValidationInput{
		Request: r, PathParams: pathParameters(r), QueryParams: query, Route: route,
		Options: &openapi3filter.Options{SkipSettingDefaults: true, AuthenticationFunc: openapi3filter.NoopAuthenticationFunc},
	}))
}

// twice gives a key that an object in JSON has twice, of which a reader would
// have to choose one; "" for none.
func twice(body []byte) string {
	in := json.NewDecoder(bytes.NewReader(body))
	if begin, _ := in.Token(); begin != json.Delim('{') {
		return ""
	}
	seen := map[string]bool{}
	for in.More() {
		token, _ := in.Token()
		key, _ := token.(string)
		var value json.RawMessage
		if seen[key] || in.Decode(&value) != nil {
			return key
		}
		seen[key] = true
	}
	return ""
}

// queryNames names the query's parameters of an operation.
func queryNames(route *routers.Route) []string {
	var names []string
	for _, p := range slices.Concat(route.PathItem.Parameters, route.Operation.Parameters) {
		if p.Value.In == openapi3.ParameterInQuery {
			names = append(names, p.Value.Name)
		}
	}
	return names
}

// pathParameters are those of a request's path, decoded.
func pathParameters(r *http.Request) map[string]string {
	out := map[string]string{}
	params := chi.RouteContext(r.Context()).URLParams
	for i, name := range params.Keys {
		out[name] = params.Values[i]
		if r.URL.RawPath == "" {
			continue
		}
		if text, err := url.PathUnescape(params.Values[i]); err == nil {
			out[name] = text
		}
	}
	return out
}

// inWords says what is wrong with which part of a request.
func inWords(err error) error {
	var refused *openapi3filter.RequestError
	if !errors.As(err, &refused) {
		return err
	}
	what := "the body"
	if p := refused.Parameter; p != nil {
		what = fmt.Sprintf("%s parameter %q", p.In, p.Name)
	}
	var value *openapi3.SchemaError
	if errors.As(err, &value) {
		if at := value.JSONPointer(); len(at) > 0 && refused.Parameter == nil {
			what += ": " + strings.Join(at, "/")
		}
		return fmt.Errorf("%s: %s", what, value.Reason)
	}
	if refused.Err == nil {
		return fmt.Errorf("%s: %s", what, refused.Reason)
	}
	return fmt.Errorf("%s: %w", what, refused.Err)
}
