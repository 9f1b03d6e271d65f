package engine

import (
	"context"
	"strings"
	"testing"

	"sluice/internal/config"
	"sluice/internal/gate"
	"sluice/internal/git"
	"sluice/internal/job"
	"sluice/internal/record"
)

// landedStore knows what was published of hello, and what has landed since.
type landedStore struct {
	Store
	published []string
	landed    []record.Buildset
}

func (s *landedStore) SourceVersions(_ context.Context, repository, source string) ([]string, error) {
	if repository != "juno/el-9/updates" || source != "hello" {
		return nil, nil
	}
	return s.published, nil
}

func (s *landedStore) Unpublished(context.Context) ([]record.Buildset, error) { return s.landed, nil }

// A version is one change's: who comes second is built again, as a later one.
func TestVersionTaken(t *testing.T) {
	site := &config.Site{
		Dists:    []config.Dist{{Name: "el-9", Format: job.RPM}},
		Targets:  []config.Target{{Release: "juno", Dist: "el-9"}},
		Channels: []config.Channel{{Name: "updates"}},
	}
	subject := func(version string) []record.Subject {
		return []record.Subject{{Package: "hello", Target: "juno/el-9", Version: version}}
	}
	for _, c := range []struct {
		name  string
		store landedStore
		taken bool
	}{
		{"nothing is there", landedStore{}, false},
		{"an earlier one was published", landedStore{published: []string{"1.0-1.1"}}, false},
		{"it was published", landedStore{published: []string{"1.0-1.1", "1.0-1.2"}}, true},
		{"it has landed", landedStore{landed: []record.Buildset{{ID: 7, Packages: subject("2:1.0-1.2")}}}, true},
		{"it is the buildset's own", landedStore{landed: []record.Buildset{{ID: 9, Packages: subject("2:1.0-1.2")}}}, false},
	} {
		e := &Engine{Site: site, Store: &c.store}
		why, err := e.versionTaken(context.Background(), 9, subject("2:1.0-1.2"))
		if err != nil || (why != "") != c.taken || c.taken && !strings.Contains(why, "hello 2:1.0-1.2 on juno/el-9") {
			t.Errorf("%s: %q, %v", c.name, why, err)
		}
	}
}

// A conflict is told in words for people, which name no other change.
func TestClash(t *testing.T) {
	files := []string{"tree.c", "tree.h"}
	for _, c := range []struct {
		conflict git.Conflict
		with     gate.ChangeID
		want     string
	}{
		{git.Conflict{Change: 14, Reason: git.PathConflict, Files: files}, "main~13", "with a change ahead"},
		{git.Conflict{Change: 14, Reason: git.PathConflict, Files: files}, "", "with the branch"},
		{git.Conflict{Change: 14, Reason: git.NotFastForward}, "", "not a fast-forward"},
		{git.Conflict{Change: 14, Reason: git.MissingDependency, Files: []string{"4be1"}}, "", "depends on a commit that is not merged: 4be1"},
	} {
		if got := clash(&c.conflict, c.with); got != c.want {
			t.Errorf("%v with %q: %q, want %q", c.conflict, c.with, got, c.want)
		}
	}
}
