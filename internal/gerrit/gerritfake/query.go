package gerritfake

import (
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

var term = regexp.MustCompile(`^(-?)([a-z]+):("[^"]*"|\S+)\s*`)

// search gives the changes that the user may see and the query finds, newest first.
func (s *Server) search(u *User, query string) ([]*change, error) {
	var tests []func(*change) bool
	for rest := strings.TrimSpace(query); rest != ""; {
		m := term.FindStringSubmatch(rest)
		if m == nil {
			return nil, refuse(http.StatusBadRequest, "line 1:0 no viable alternative at input '%s'", rest)
		}
		test, err := operator(m[2], strings.Trim(m[3], `"`))
		if err != nil {
			return nil, err
		}
		if m[1] == "-" {
			positive := test
			test = func(c *change) bool { return !positive(c) }
		}
		tests = append(tests, test)
		rest = rest[len(m[0]):]
	}
	var found []*change
	for _, c := range s.changes {
		if s.sees(u, c) && !slices.ContainsFunc(tests, func(t func(*change) bool) bool { return !t(c) }) {
			found = append(found, c)
		}
	}
	slices.SortFunc(found, func(a, b *change) int {
		if n := b.updated.Compare(a.updated); n != 0 {
			return n
		}
		return b.number - a.number
	})
	return found, nil
}

func operator(name, value string) (func(*change) bool, error) {
	switch name {
	case "status", "is":
		status := strings.ToUpper(value)
		switch status {
		case "OPEN", "NEW", "PENDING":
			status = "NEW"
		case "MERGED", "ABANDONED":
		case "CLOSED":
			return func(c *change) bool { return c.status != "NEW" }, nil
		default:
			return nil, refuse(http.StatusBadRequest, "Unrecognized value: %s", value)
		}
		return func(c *change) bool { return c.status == status }, nil
	case "project":
		return func(c *change) bool { return c.project == value }, nil
	case "branch":
		return func(c *change) bool { return c.branch == strings.TrimPrefix(value, "refs/heads/") }, nil
	case "topic":
		return func(c *change) bool { return c.topic == value }, nil
	case "change":
		n, err := strconv.Atoi(value)
		return func(c *change) bool { return (err == nil && c.number == n) || c.id == value }, nil
	case "since", "after":
		for _, layout := range []string{time.DateTime, "2006-01-02 15:04:05.000000000", time.DateOnly} {
			if at, err := time.Parse(layout, value); err == nil {
				return func(c *change) bool { return !c.updated.Before(at) }, nil
			}
		}
		return nil, refuse(http.StatusBadRequest, "cannot parse time: %s", value)
	}
	return nil, refuse(http.StatusBadRequest, "Unsupported operator %s:%s", name, value)
}

func (s *Server) sees(u *User, c *change) bool {
	return !c.private || u != nil && (u.seesPrivate || u == c.owner)
}
