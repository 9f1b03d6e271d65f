package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"sluice/internal/gate"
	"sluice/internal/job"
	"sluice/internal/testenv"
)

// good is a change to a package that passes.
func (s *site) good(name string) *testenv.Pushed {
	s.t.Helper()
	return s.propose(name, "Mend "+name, map[string]string{"src/hello.c": "int main(void) { return 2; }\n"})
}

// bad is one whose build fails.
func (s *site) bad(name string) *testenv.Pushed {
	s.t.Helper()
	return s.propose(name, "Break "+name, map[string]string{"outcome": "build fail src/hello.c:3: error: 'louder' undeclared\n"})
}

// buildsetsOf counts the buildsets of a change in the gate.
func (s *site) buildsetsOf(c *testenv.Pushed) int {
	return one[int](s, `SELECT count(*) FROM buildsets WHERE queue = $2 AND changes @> jsonb_build_array(jsonb_build_object('id', $1::text))`, id(c), s.queue)
}

// Three approved changes are tested at once, each on top of those ahead of it,
// and merge in their order.
func TestThreeAtOnce(t *testing.T) {
	t.Parallel()
	s := start(t, options{check: "none"}, "aa", "bb", "cc")
	var all []*testenv.Pushed
	var release []func()
	for _, name := range []string{"aa", "bb", "cc"} {
		release = append(release, s.worker.hold("install "+name))
		all = append(all, s.good(name))
	}
	for _, c := range all {
		s.g.Approve(t, c.Number)
		s.inQueue(c)
	}
	s.until("all three are installed at once", func() string {
		n := one[int](s, `SELECT count(DISTINCT buildset) FROM jobs WHERE stage = 'install' AND state IN ('queued', 'running')`)
		return missing(n == 3, "%d are", n)
	})
	stack := one[int](s, `SELECT max(cardinality(stack_items)) FROM buildsets WHERE queue = 'main'`)
	if stack != 2 {
		t.Errorf("the deepest stack is %d", stack)
	}
	for i := len(release) - 1; i >= 0; i-- { // the last is done first, and waits for those ahead
		release[i]()
	}
	s.merged(all...)
	s.empty()
	order := one[string](s, `SELECT string_agg(changes->0->>'id', ' ' ORDER BY landed_at) FROM buildsets WHERE landed_at IS NOT NULL`)
	if want := id(all[0]) + " " + id(all[1]) + " " + id(all[2]); order != want {
		t.Errorf("landed in the order %s, not %s", order, want)
	}
	for _, c := range all {
		if n := s.buildsetsOf(c); n != 1 {
			t.Errorf("change %d had %d buildsets: landing resets nobody", c.Number, n)
		}
	}
}

func missing(done bool, format string, args ...any) string {
	if done {
		return ""
	}
	return fmt.Sprintf(format, args...)
}

// The one in the middle fails. Those behind it go on without it and merge, no
// innocent package is built again, and the failing one is blamed only when what
// is ahead of it has merged.
func TestFailureInTheMiddle(t *testing.T) {
	t.Parallel()
	s := start(t, options{check: "none"}, "aa", "bb", "cc")
	release := s.worker.hold("install aa")
	first, failing, last := s.good("aa"), s.bad("bb"), s.good("cc")
	for _, c := range []*testenv.Pushed{first, failing, last} {
		s.g.Approve(t, c.Number)
		s.inQueue(c)
	}
	s.until("the last one stands behind the first alone", func() string {
		stack := one[string](s, `SELECT stack_items::text FROM buildsets WHERE queue = 'main' AND changes @> jsonb_build_array(jsonb_build_object('id', $1::text)) ORDER BY id DESC LIMIT 1`, id(last))
		return missing(stack == "{1}", "it stands behind %s", stack)
	})
	if got := s.vote(failing); got == -2 {
		t.Errorf("blamed while something is ahead of it")
	}
	release()
	s.merged(first, last)
	comment := s.told(failing, "Gate failed", "src/hello.c:3: error: 'louder' undeclared")
	if !strings.Contains(comment, "#L2") {
		t.Errorf("no link to the line of the log:\n%s", comment)
	}
	s.voted(failing, -2)
	s.empty()
	for _, name := range []string{"aa", "cc"} {
		if n := len(s.worker.runs(job.StageBuild, name)); n != 1 {
			t.Errorf("%s was built %d times", name, n)
		}
	}
	if _, ok := s.released("bb"); ok {
		t.Error("what failed was released")
	}
}

// A change fails because of one ahead of it, which then fails itself: the
// innocent one is tested again without it, and merges.
func TestSecondChance(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{check: "none"})
	s.project("liba")
	s.projectWith("app", dependsOn("app", "liba"))
	s.serve()
	s.worker.rule(func(a *attempt) *job.Result {
		served, ok := a.made.Trace.Served["liba"]
		if a.spec.Stage != job.StageBuild || a.spec.Package != "app" || !ok || !strings.HasPrefix(served.Repository, "buildset-") {
			return nil
		}
		res := failed("src/hello.c:1: error: liba has no hello()")
		res.Trace = a.made.Trace
		return &res
	})
	release := s.worker.hold("install liba")
	culprit := s.propose("liba", "Drop hello()", map[string]string{"outcome": "install fail liba does not install\n"})
	app := s.good("app")
	s.g.Approve(t, culprit.Number)
	s.inQueue(culprit)
	s.g.Approve(t, app.Number)
	s.inQueue(app)
	s.until("the app fails on top of the library", func() string {
		n := one[int](s, `SELECT count(*) FROM jobs WHERE stage = 'build' AND package = 'app' AND state = 'failed'`)
		return missing(n > 0, "it did not yet")
	})
	release()
	s.voted(culprit, -2)
	s.merged(app)
	s.empty()
	if got := s.said(app); len(got) == 0 || strings.Contains(strings.Join(got, "\n"), "failed") {
		t.Errorf("the innocent was told:\n%s", strings.Join(got, "\n---\n"))
	}
}

// Two changes touch the same line: the second one is told with which change and
// in which files it conflicts.
func TestConflictInTheQueue(t *testing.T) {
	t.Parallel()
	s := start(t, options{check: "none"}, "hello")
	release := s.worker.hold("install hello")
	one := s.propose("hello", "Return three", map[string]string{"src/hello.c": "int main(void)\n{\n\treturn 3;\n}\n"})
	two := s.propose("hello", "Return four", map[string]string{"src/hello.c": "int main(void)\n{\n\treturn 4;\n}\n"})
	s.g.Approve(t, one.Number)
	s.inQueue(one)
	s.g.Approve(t, two.Number)
	s.inQueue(two)
	s.until("the conflict is known", func() string {
		return missing(countOf(s, `SELECT count(*) FROM buildsets WHERE state = 'conflict'`) > 0, "it is not")
	})
	release()
	s.merged(one)
	s.told(two, "does not merge", fmt.Sprintf("It conflicts with change %d (Return three)", one.Number), "src/hello.c")
	s.says(two, "does not merge: with a change ahead: src/hello.c")
	s.voted(two, -2)
	s.empty()
}

func countOf(s *site, query string) int { return one[int](s, query) }

// A chain of two: approved together they merge together, in order; approving
// the top alone waits for its parent, and says so.
func TestChain(t *testing.T) {
	t.Parallel()
	s := start(t, options{check: "none"}, "hello")
	parent := s.propose("hello", "The parent", map[string]string{"a": "a\n"})
	child := s.g.Push(t, testenv.Proposal{Project: s.name + "/hello", Message: "The child", On: parent, Files: map[string]string{"b": "b\n"}})
	s.g.Approve(t, child.Number)
	s.until("the child waits for its parent", func() string {
		st, facts := s.facts("main")
		c, ok := facts.Changes[gate.ChangeID(id(child))]
		if !ok || !c.Ready || len(st.Items) > 0 {
			return fmt.Sprintf("%+v", c)
		}
		why := fmt.Sprint(gate.Explain(st, facts, c.ID))
		return missing(strings.Contains(why, fmt.Sprint(parent.Number)), "why says %s", why)
	})
	s.g.Approve(t, parent.Number)
	s.merged(parent, child)
	s.empty()
	pkg, _ := s.released("hello")
	if pkg["Version"] != "1.0-1+sluice2~deb12" {
		t.Errorf("the second of two versions in flight is %s", pkg["Version"])
	}
}

func (s *site) facts(queue string) (gate.State, gate.Facts) {
	s.t.Helper()
	q, err := s.store.Queue(context.Background(), queue)
	if err != nil {
		s.t.Fatal(err)
	}
	f, err := s.store.Facts(context.Background(), q)
	if err != nil {
		s.t.Fatal(err)
	}
	f.Policy = gate.Policy{Start: 20, Floor: 3, Ceiling: 100, WholeTopics: true}
	return q.State, f
}

// A change in one project depends on one in another: it enters the queue behind
// it, and merges after it.
func TestDependsOnAcrossProjects(t *testing.T) {
	t.Parallel()
	s := start(t, options{}, "lib", "app")
	lib := s.good("lib")
	app := s.propose("app", "Use it\n\nDepends-On: "+lib.ChangeID, map[string]string{"src/hello.c": "int main(void) { return 9; }\n"})
	s.voted(app, 1)
	s.g.Approve(t, app.Number)
	s.told(app, "Check passed")
	s.g.Approve(t, lib.Number)
	s.merged(lib, app)
	s.empty()
	if order := one[string](s, `SELECT string_agg(changes->0->>'id', ' ' ORDER BY landed_at) FROM buildsets WHERE landed_at IS NOT NULL`); order != id(lib)+" "+id(app) {
		t.Errorf("landed in the order %s", order)
	}
}

// A Depends-On that means nothing, or an abandoned change, keeps a change
// outside; `why` says which.
func TestDependsOnThatCannotBe(t *testing.T) {
	t.Parallel()
	s := start(t, options{check: "none"}, "lib", "app")
	lib := s.good("lib")
	s.g.Act(t, lib.Number, s.g.Maintainer, "abandon")
	nowhere := s.propose("app", "Use nothing\n\nDepends-On: I0000000000000000000000000000000000000000", map[string]string{"a": "a\n"})
	abandoned := s.propose("app", "Use what is gone\n\nDepends-On: "+lib.ChangeID, map[string]string{"b": "b\n"})
	for c, words := range map[*testenv.Pushed]string{nowhere: "I0000000000000000000000000000000000000000", abandoned: "abandoned"} {
		s.g.Approve(t, c.Number)
		s.until(fmt.Sprintf("why change %d waits", c.Number), func() string {
			st, facts := s.facts("main")
			f, ok := facts.Changes[gate.ChangeID(id(c))]
			if !ok || !f.Ready {
				return fmt.Sprintf("it is not ready: %+v", f)
			}
			why := fmt.Sprintf("%+v", gate.Explain(st, facts, f.ID))
			return missing(strings.Contains(why, words) && !s.stands(c), "why says %s", why)
		})
	}
	// Restored and approved, the dependency lets it in by itself.
	s.g.Act(t, lib.Number, s.g.Maintainer, "restore")
	s.g.Approve(t, lib.Number)
	s.merged(lib, abandoned)
	s.empty()
}
