package gerritfake

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// call is one request as its handler sees it; the server's lock is held.
type call struct {
	s     *Server
	by    *User // nil: anybody
	query url.Values
	path  []string // the parts of the path that the route's groups matched, unescaped
	body  []byte
}

func (c call) into(v any) error {
	if len(c.body) == 0 {
		return nil
	}
	if err := json.Unmarshal(c.body, v); err != nil {
		return refuse(http.StatusBadRequest, "Invalid json: %v", err)
	}
	return nil
}

type route struct {
	method string
	path   *regexp.Regexp
	do     func(call) (any, error)
}

// table is what the fake answers; paths are matched as they came, escaped.
var table = func() []route {
	var all []route
	add := func(method, path string, do func(call) (any, error)) {
		all = append(all, route{method, regexp.MustCompile("^" + path + "$"), do})
	}
	const project, one, revision = `/projects/([^/]+)`, `/changes/([^/]+)`, `/changes/([^/]+)/revisions/([^/]+)`
	add("GET", "/config/server/version", func(call) (any, error) { return Version, nil })
	add("GET", "/config/server/info", getInfo)
	add("GET", "/accounts/self", getSelf)
	add("GET", "/accounts/self/capabilities", getCapabilities)
	add("GET", "/projects/", getProjects)
	add("PUT", project, putProject)
	add("GET", project, getProject)
	add("GET", project+"/config", getConfig)
	add("GET", project+"/branches/", getBranches)
	add("GET", project+"/branches/([^/]+)", getBranch)
	add("GET", "/changes/", getChanges)
	add("POST", "/changes/", postChange)
	add("GET", one, getChange)
	add("GET", one+"/detail", getDetail)
	add("GET", one+"/messages", getMessages)
	add("GET", one+"/comments", getComments)
	add("GET", one+"/submitted_together", getTogether)
	add("PUT", one+"/message", putMessage)
	add("PUT", one+"/topic", putTopic)
	add("POST", one+"/(abandon|restore|wip|ready|private|unprivate)", postAct)
	add("POST", one+"/private.delete", func(c call) (any, error) { c.path = append(c.path, "unprivate"); return postAct(c) })
	add("POST", revision+"/review", postReview)
	add("POST", revision+"/submit", postSubmit)
	add("GET", revision+"/related", getRelated)
	add("GET", revision+"/mergeable", getMergeable)
	add("GET", revision+"/actions", getActions)
	return all
}()

func (s *Server) routes() http.Handler { return s.faulty(http.HandlerFunc(s.serve)) }

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	path, named := strings.CutPrefix(r.URL.EscapedPath(), "/a/")
	by, err := s.login(r, named)
	if err != nil {
		answer(w, nil, err)
		return
	}
	path = "/" + strings.TrimPrefix(path, "/")
	for _, route := range table {
		m := route.path.FindStringSubmatch(path)
		if m == nil || route.method != r.Method {
			continue
		}
		var parts []string
		for _, part := range m[1:] {
			plain, err := url.PathUnescape(part)
			if err != nil {
				answer(w, nil, refuse(http.StatusBadRequest, "bad path"))
				return
			}
			parts = append(parts, plain)
		}
		s.mu.Lock()
		result, err := route.do(call{s, by, r.URL.Query(), parts, body})
		s.mu.Unlock()
		answer(w, result, err)
		return
	}
	answer(w, nil, refuse(http.StatusNotFound, "Not Found"))
}

func (s *Server) login(r *http.Request, named bool) (*User, error) {
	if !named {
		return nil, nil
	}
	name, token, _ := r.BasicAuth()
	s.mu.Lock()
	defer s.mu.Unlock()
	if u := s.users[name]; u != nil && u.Token == token {
		return u, nil
	}
	return nil, refuse(http.StatusUnauthorized, "Unauthorized")
}

func answer(w http.ResponseWriter, v any, err error) {
	var no *refusal
	if errors.As(err, &no) {
		w.Header().Set("Content-Type", "text/plain; charset=UTF-8")
		w.WriteHeader(no.status)
		_, _ = io.WriteString(w, no.words+"\n")
		return
	}
	data, err := json.Marshal(v)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	_, _ = w.Write(append([]byte(")]}'\n"), append(data, '\n')...))
}

func getInfo(c call) (any, error) {
	change := map[string]any{"update_delay": 300}
	if c.s.WholeTopic { // Gerrit leaves out what is false
		change["submit_whole_topic"] = true
	}
	return map[string]any{"change": change}, nil
}

func getSelf(c call) (any, error) {
	if c.by == nil {
		return nil, refuse(http.StatusForbidden, "Authentication required")
	}
	return c.by.json(), nil
}

func getCapabilities(c call) (any, error) {
	can := map[string]any{}
	if c.by != nil && c.by.streams {
		can["streamEvents"] = true
	}
	return can, nil
}

// page cuts a sorted list by n and S; more says that something follows.
func page[T any](c call, all []T) (some []T, more bool) {
	start, _ := strconv.Atoi(c.query.Get("S"))
	all = all[min(start, len(all)):]
	if n, err := strconv.Atoi(c.query.Get("n")); err == nil && n > 0 && n < len(all) {
		return all[:n], true
	}
	return all, false
}

func getProjects(c call) (any, error) {
	names, more := page(c, slices.Sorted(mapKeys(c.s.projects)))
	found := map[string]any{}
	for i, name := range names {
		p := map[string]any{"id": url.PathEscape(name), "state": "ACTIVE"}
		if more && i == len(names)-1 {
			p["_more_projects"] = true
		}
		found[name] = p
	}
	return found, nil
}

func putProject(c call) (any, error) {
	var in struct {
		SubmitType string   `json:"submit_type"`
		Branches   []string `json:"branches"`
	}
	if err := c.into(&in); err != nil {
		return nil, err
	}
	if c.by == nil || !c.by.admin {
		return nil, refuse(http.StatusForbidden, "create project not permitted")
	}
	return map[string]any{"name": c.s.project(c.path[0], in.SubmitType, in.Branches...)}, nil
}

func (c call) project() (*project, error) {
	if p := c.s.projects[c.path[0]]; p != nil {
		return p, nil
	}
	return nil, refuse(http.StatusNotFound, "Not found: %s", c.path[0])
}

func getProject(c call) (any, error) {
	p, err := c.project()
	if err != nil {
		return nil, err
	}
	known := map[string]any{}
	for name := range labels {
		known[name] = map[string]any{"values": valuesJSON(name), "default_value": 0}
	}
	return map[string]any{"id": url.PathEscape(p.name), "name": p.name, "state": "ACTIVE", "labels": known}, nil
}

func getConfig(c call) (any, error) {
	p, err := c.project()
	if err != nil {
		return nil, err
	}
	return map[string]any{
		"submit_type":       p.submitType,
		"use_content_merge": map[string]any{"configured_value": "INHERIT", "inherited_value": true},
	}, nil
}

func getBranches(c call) (any, error) {
	p, err := c.project()
	if err != nil {
		return nil, err
	}
	all := []map[string]any{}
	for _, name := range slices.Sorted(mapKeys(p.branches)) {
		all = append(all, map[string]any{"ref": "refs/heads/" + name, "revision": p.branches[name]})
	}
	some, _ := page(c, all)
	return some, nil
}

func getBranch(c call) (any, error) {
	p, err := c.project()
	if err != nil {
		return nil, err
	}
	name := strings.TrimPrefix(c.path[1], "refs/heads/")
	revision, found := p.branches[name]
	if !found {
		return nil, refuse(http.StatusNotFound, "Not found: %s", c.path[1])
	}
	return map[string]any{"ref": "refs/heads/" + name, "revision": revision}, nil
}
