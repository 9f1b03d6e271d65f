package api_test

import (
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"

	contract "sluice/api"
	"sluice/internal/api"
	"sluice/internal/api/apitest"
)

// operation is one of the contract, with an address at which there is something.
type operation struct {
	method, path string
	op           *openapi3.Operation
	item         *openapi3.PathItem
	there        map[string]string
}

// at gives the operation's address with one parameter set to another value.
func (o operation) at(name, value string) string {
	path := o.path
	for n, v := range o.there {
		if n == name {
			v = value
		}
		path = strings.ReplaceAll(path, "{"+n+"}", v)
	}
	return path
}

// token is one that the operation asks for.
func (o operation) token() string {
	if o.op.Security != nil {
		return apitest.OperatorToken
	}
	return ""
}

// body is one that the operation takes.
func (o operation) body() any {
	if o.op.RequestBody != nil {
		return map[string]string{"why": "because"}
	}
	return nil
}

// each calls f with each operation of the contract.
func (a *asker) each(s *apitest.Seeded, f func(o operation)) {
	job := fmt.Sprint(s.Build.ID)
	for path, item := range a.doc.Paths.Map() {
		there := map[string]string{"name": "main", "gerrit": "main", "number": "1", "id": job, "release": "juno", "dist": "debian-12", "channel": "updates"}
		if strings.Contains(path, "/buildsets/") {
			there["id"] = fmt.Sprint(s.GoodBuildset.ID)
		}
		for method, op := range item.Operations() {
			f(operation{method, path, op, item, there})
		}
	}
}

// Who reads the contract knows no rule by its number.
func TestContractIsForPeople(t *testing.T) {
	for _, line := range strings.Split(string(contract.Spec), "\n") {
		if found := regexp.MustCompile(`\b[GR]\d+\b`).FindString(line); found != "" {
			t.Errorf("%s: %s", found, line)
		}
	}
}

// A method that is not for a path is told so, with those that are, whoever asks.
func TestContractMethods(t *testing.T) {
	w := apitest.New(t, nil)
	a := newAsker(t, w)
	a.each(w.Seed(), func(o operation) {
		has := slices.Sorted(maps.Keys(o.item.Operations()))
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "BREW"} {
			if slices.Contains(has, method) {
				continue
			}
			for _, token := range []string{"", "wrong", apitest.OperatorToken} {
				status, h, _ := a.do(method, o.at("", ""), token, nil)
				if status != 405 || h.Get("Allow") != strings.Join(has, ", ") {
					t.Errorf("%s %s with the token %q: %d, Allow %q", method, o.path, token, status, h.Get("Allow"))
				}
			}
		}
	})
	for _, token := range []string{"", "wrong"} {
		for _, method := range []string{"GET", "POST", "BREW"} {
			a.problem(method, "/api/v1/no-such", token, nil, 404)
			a.problem(method, "/worker/v1/no-such", token, nil, 404)
		}
		a.problem("GET", "/worker/v1/claim", token, nil, 405)
	}
}

// A token that nobody has is refused with what everybody may read, too; without
// one only what is an operator's is refused, before anything else is looked at.
func TestContractTokens(t *testing.T) {
	w := apitest.New(t, nil)
	a := newAsker(t, w)
	s := w.Seed()
	a.each(s, func(o operation) {
		a.problem(o.method, o.at("", ""), "wrong", o.body(), 401)
		if o.op.Security == nil {
			return
		}
		for _, path := range []string{o.at("", ""), o.at("number", "x"), o.at("", "") + "?x=y"} {
			a.problem(o.method, path, "", "{", 401)
			a.problem(o.method, path, apitest.WorkerToken, "{", 403)
		}
	})
	w.Release(apitest.Deb, s.GoodBuildset.ID, s.Deb)
	for path, status := range map[string]int{
		"/blobs/" + string(s.Deb.Digest) + "/x": 401, "/repo/juno/debian-12/updates/": 401, "/publication/1/": 401, "/test/1/juno/debian-12/": 401,
		"/": 200, "/healthz": 200, "/metrics": 200, "/readyz": 200,
	} {
		if answer, _ := fetch(t, w, "GET", path, "curl", "Authorization", "bearer wrong"); answer.StatusCode != status {
			t.Errorf("%s with a wrong token: %d", path, answer.StatusCode)
		}
		if answer, _ := fetch(t, w, "GET", path, "curl", "Authorization", "Basic d3Jvbmc6d3Jvbmc="); answer.StatusCode == 401 {
			t.Errorf("%s: what is meant for a proxy in front of us is refused", path)
		}
	}
}

// What a parameter cannot be is refused, and the parameter is named.
func TestContractParameters(t *testing.T) {
	w := apitest.New(t, func(o *api.Options) { o.AnswerWait = time.Millisecond })
	a := newAsker(t, w)
	asked := 0
	a.each(w.Seed(), func(o operation) {
		refused := func(name, path string) {
			t.Helper()
			asked++
			if p := a.problem(o.method, path, o.token(), o.body(), 400); p.Detail != nil && !strings.Contains(*p.Detail, fmt.Sprintf("%q", name)) {
				t.Errorf("%s %s: it does not name %s: %s", o.method, path, name, *p.Detail)
			}
		}
		for _, p := range append(slices.Clone(o.item.Parameters), o.op.Parameters...) {
			for _, value := range cannotBe(p.Value.Schema.Value) {
				switch p.Value.In {
				case openapi3.ParameterInPath:
					refused(p.Value.Name, o.at(p.Value.Name, value))
				case openapi3.ParameterInQuery:
					refused(p.Value.Name, o.at("", "")+"?"+p.Value.Name+"="+value)
				}
			}
			if p.Value.In == openapi3.ParameterInQuery {
				can := o.at("", "") + "?" + p.Value.Name + "=" + canBe(p.Value.Schema.Value)
				if status, _, data := a.do(o.method, can, o.token(), o.body()); status == 400 {
					t.Errorf("%s %s: %d %s", o.method, can, status, data)
				}
				refused(p.Value.Name, o.at("", "")+"?"+p.Value.Name+"=1&"+p.Value.Name+"=1")
			}
		}
		refused("lmit", o.at("", "")+"?lmit=1")
	})
	if asked < 60 {
		t.Errorf("only %d requests", asked)
	}
	if answer, _ := fetch(t, w, "GET", "/api/v1/events", "Mozilla", "Last-Event-ID", strings.Repeat("9", 101)); answer.StatusCode != 400 {
		t.Errorf("a long Last-Event-ID: %d", answer.StatusCode)
	}
	a.problem("GET", "/api/v1/status?%zz", "", nil, 400)
}

// canBe is a value that a schema has room for.
func canBe(s *openapi3.Schema) string {
	switch {
	case s.Type.Is("boolean"):
		return "false"
	case s.Format == "date-time":
		return "2026-01-31T12:00:00Z"
	case len(s.Enum) > 0:
		return fmt.Sprint(s.Enum[0])
	}
	return "1"
}

// cannotBe are values that a schema has no room for, as they stand in an address.
func cannotBe(s *openapi3.Schema) []string {
	var out []string
	switch {
	case s.Type.Is("integer"):
		out = append(out, "x", "1.5", "0x1", "99999999999999999999", "-99999999999999999999")
		if s.Min != nil {
			out = append(out, fmt.Sprint(int64(*s.Min)-1))
		}
		if s.Max != nil {
			out = append(out, fmt.Sprint(int64(*s.Max)+1), "9223372036854775807")
		}
	case s.Type.Is("boolean"):
		out = append(out, "maybe", "2", "")
	case s.Format == "date-time":
		out = append(out, "yesterday", "2026-13-01T00:00:00Z", "")
	case len(s.Enum) > 0:
		out = append(out, "other", "")
	}
	if s.MaxLength != nil {
		out = append(out, strings.Repeat("x", int(*s.MaxLength)+1))
	}
	return out
}

// What a body cannot be is refused, and a key that is not known is named.
func TestContractBodies(t *testing.T) {
	w := apitest.New(t, nil)
	a := newAsker(t, w)
	asked := 0
	a.each(w.Seed(), func(o operation) {
		if o.op.RequestBody == nil {
			return
		}
		asked++
		for body, named := range map[string]string{
			``: "", `{`: "", `nonsense`: "", `null`: "", `[]`: "", `"why"`: "", `1`: "", `{}`: `"why"`, `{"why":1}`: "why", `{"why":null}`: "why", `{"why":""}`: "why",
			`{"why":" \t"}`: "why", `{"why":["x"]}`: "why", `{"why":"x","wy":"y"}`: `"wy"`, `{"why":"x","why":"y"}`: "why: it is given twice", `{"WHY":"x"}`: "WHY", `{"why":"x"} {}`: "", `{"why":"x"}x`: "",
			`{"why":"` + strings.Repeat("é", 1001) + `"}`: "why", `{"why":"a\u0000b"}`: "why",
		} {
			if p := a.problem(o.method, o.at("", ""), apitest.OperatorToken, body, 400); p.Detail != nil && !strings.Contains(*p.Detail, named) {
				t.Errorf("%s %s with %s: %q is not named: %s", o.method, o.path, body, named, *p.Detail)
			}
		}
		a.problem(o.method, o.at("", ""), apitest.OperatorToken, `{"why":"`+strings.Repeat("x", 1<<20)+`"}`, 413)
	})
	if asked < 6 {
		t.Errorf("only %d operations take a body", asked)
	}
	// As long as the contract lets it be, in characters, and as curl sends it.
	r, _ := http.NewRequest("POST", w.URL+"/api/v1/queues/main/pause", strings.NewReader(`{"why":"`+strings.Repeat("é", 1000)+`"}`))
	r.Header.Set("Authorization", "Bearer "+apitest.OperatorToken)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	answer, err := w.Server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != 202 && answer.StatusCode != 200 {
		t.Errorf("the longest reason: %d", answer.StatusCode)
	}
}

// A worker that says nothing, or nonsense, is told so; its attempt goes on.
func TestWorkerSaysNonsense(t *testing.T) {
	w := apitest.New(t, nil)
	a := newAsker(t, w)
	s := w.Seed()
	lease := "/worker/v1/leases/" + s.Lease
	for _, body := range []string{``, `{`, `[]`, `{}`, `null`, `{"outcome":"splendid"}`, `{"outcome":1}`} {
		a.problem("POST", lease+"/finish", apitest.WorkerToken, body, 400)
	}
	for _, body := range []string{``, `{}`, `null`, `{"labels":["deb"]}`, `{"labels":[],"architectures":[]}`, `{"labels":["deb"],"architectures":["amd64"],"wait":-1}`, `{"labels":["deb"],"architectures":["amd64"],"wait":61}`,
		`{"labels":["deb"],"architectures":["amd64"],"version":"1\u0000"}`} {
		a.problem("POST", "/worker/v1/claim", apitest.WorkerToken, body, 400)
	}
	for _, start := range []string{"", "?start=", "?start=x", "?start=-1", "?start=99999999999999999999"} {
		a.problem("POST", lease+"/log"+start, apitest.WorkerToken, "text", 400)
	}
	a.problem("GET", "/worker/v1/blobs/x", apitest.WorkerToken, nil, 400)
	for _, token := range []string{"", "wrong", apitest.OperatorToken} {
		a.problem("POST", lease+"/finish", token, `{}`, 401)
	}
	if j, err := w.Store.Job(t.Context(), s.Running.ID); err != nil || j.State != "running" {
		t.Errorf("the job is %s, %v", j.State, err)
	}
}
