package config

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

// Name is "RELEASE/DIST", as in juno/el-9.
func (t Target) Name() string { return t.Release + "/" + t.Dist }

// Supported reports whether the target counts at the given time: it is not
// disabled, or the day until which it was has come.
func (t Target) Supported(now time.Time) bool {
	return t.Disabled == nil || !now.Before(t.Disabled.Until.Time)
}

// names lists what is called something, by the kind that the tag ref says.
func (s *Site) names() map[string][]string {
	names := map[string][]string{"gerrit": {}, "upstream": {}, "dist": {}, "release": {}, "queue": {}}
	for _, g := range s.Gerrit {
		names["gerrit"] = append(names["gerrit"], g.Name)
	}
	for _, u := range s.Upstreams {
		names["upstream"] = append(names["upstream"], u.Name)
	}
	for _, d := range s.Dists {
		names["dist"] = append(names["dist"], d.Name)
	}
	for _, r := range s.Releases {
		names["release"] = append(names["release"], r.Name)
	}
	for _, q := range s.Queues {
		names["queue"] = append(names["queue"], q.Name)
	}
	return names
}

// resolve looks for every name that one part of the file uses of another.
func (d *decoder) resolve(s *Site) {
	names := s.names()
	for _, r := range d.refs {
		if !slices.Contains(names[r.kind], r.name) {
			d.fail(r.path, "there is no %s %q; %s", r.kind, r.name, instead(r.name, names[r.kind]))
		}
	}
}

// Target returns the target of this name, RELEASE/DIST.
func (s *Site) Target(name string) (Target, bool) {
	return find(s.Targets, func(t Target) bool { return t.Name() == name })
}

// Dist returns the dist of this name.
func (s *Site) Dist(name string) (Dist, bool) {
	return find(s.Dists, func(d Dist) bool { return d.Name == name })
}

// Upstream returns the base distribution of this name.
func (s *Site) Upstream(name string) (Upstream, bool) {
	return find(s.Upstreams, func(u Upstream) bool { return u.Name == name })
}

// GerritServer returns the Gerrit server of this name.
func (s *Site) GerritServer(name string) (Gerrit, bool) {
	return find(s.Gerrit, func(g Gerrit) bool { return g.Name == name })
}

// WorkerNamed returns the worker of this name.
func (s *Site) WorkerNamed(name string) (Worker, bool) {
	return find(s.Workers, func(w Worker) bool { return w.Name == name })
}

// Project returns the first rule that matches a branch of a project; a
// project and branch that none matches is not gated.
func (s *Site) Project(gerrit, project, branch string) (Project, bool) {
	return find(s.Projects, func(p Project) bool {
		return (p.Gerrit == "" || p.Gerrit == gerrit) && Glob(p.Project, project) && Glob(p.Branch, branch)
	})
}

// GatesProject reports whether some branch of a project may be gated.
func (s *Site) GatesProject(gerrit, project string) bool {
	return slices.ContainsFunc(s.Projects, func(p Project) bool {
		return (p.Gerrit == "" || p.Gerrit == gerrit) && Glob(p.Project, project)
	})
}

// TargetsOf returns the targets that a branch of a project feeds, in the
// order of the file, disabled ones among them (see Target.Supported).
func (s *Site) TargetsOf(gerrit, project, branch string) []Target {
	rule, ok := s.Project(gerrit, project, branch)
	if !ok {
		return nil
	}
	var out []Target
	for _, t := range s.Targets {
		if slices.Contains(rule.Releases, t.Release) {
			out = append(out, t)
		}
	}
	return out
}

// Queue returns the gate's queue of a branch of a project, and the key that
// its state is kept under: its name, or NAME@BRANCH where it is per branch.
// It is false for what is not gated.
func (s *Site) Queue(gerrit, project, branch string) (key string, queue Queue, ok bool) {
	rule, ok := s.Project(gerrit, project, branch)
	if !ok {
		return "", Queue{}, false
	}
	queue, ok = find(s.Queues, func(q Queue) bool { return q.Name == rule.Queue })
	if !ok {
		return "", Queue{}, false
	}
	key = queue.Name
	if queue.PerBranch {
		key = fmt.Sprintf("%s@%s", queue.Name, branch)
	}
	return key, queue, true
}

// QueueNamed gives the queue of this key: its name, or with the branch behind it.
func (s *Site) QueueNamed(key string) (Queue, bool) {
	i := slices.IndexFunc(s.Queues, func(q Queue) bool {
		return q.Name == key || q.PerBranch && strings.HasPrefix(key, q.Name+"@")
	})
	if i < 0 {
		return Queue{}, false
	}
	return s.Queues[i], true
}

// DatabaseURL returns the address of the Postgres to use, "" for the embedded
// one: where none is given, or its environment variable is empty.
func (s *Site) DatabaseURL() (string, error) {
	if s.Database.IsZero() || s.Database.Env() != "" && os.Getenv(s.Database.Env()) == "" {
		return "", nil
	}
	return s.Database.Reveal()
}

func find[T any](list []T, is func(T) bool) (found T, ok bool) {
	if i := slices.IndexFunc(list, is); i >= 0 {
		return list[i], true
	}
	return found, false
}

// ErrNotGated says that no rule of the site file matches a project and branch.
var ErrNotGated = errors.New("no rule in projects matches")
