package e2e

import (
	"fmt"
	"testing"

	"sluice/internal/gate"
	"sluice/internal/testenv"
)

// app proposes a change that is built with the package of another one.
func (s *site) app(on *testenv.Pushed) *testenv.Pushed {
	s.t.Helper()
	return s.propose("app", fmt.Sprintf("Use the new lib\n\nDepends-On: %s", on.ChangeID), map[string]string{"used": "lib\n"})
}

func libAndApp(t *testing.T) *site {
	t.Helper()
	s := newSite(t, options{})
	s.project("lib")
	s.projectWith("app", dependsOn("app", "lib"))
	s.serve()
	return s
}

// What a change needs does not build: its check ends and says which change that
// is and what is wrong with it, without a vote. It runs again by itself when that
// is mended.
func TestACheckOnWhatDoesNotBuild(t *testing.T) {
	t.Parallel()
	s := libAndApp(t)
	release := s.worker.hold("build lib")
	defer release()
	lib := s.bad("lib")
	early := s.app(lib) // waits for the build while it runs
	s.says(early, "is being checked")
	release()
	lacks := fmt.Sprintf("change %d, which this one needs, does not build: build lib juno/debian-12 amd64: src/hello.c:3: error: 'louder' undeclared", lib.Number)
	s.told(lib, "Check failed", "src/hello.c:3: error: 'louder' undeclared")
	late := s.app(lib) // comes when it has failed
	for _, c := range []*testenv.Pushed{early, late} {
		s.told(c, "Check has no verdict", lacks)
		s.voted(c, 0)
		s.says(c, lacks, "the author", "by itself with a new patch set of what it needs")
	}
	s.amend(lib, "lib", "Mend it", map[string]string{"src/hello.c": "int main(void) { return 3; }\n"})
	for _, c := range []*testenv.Pushed{early, late} {
		s.told(c, "Check passed")
		s.voted(c, 1)
	}
}

// What a change needs is abandoned, or taken out, while it is built: nobody waits
// for packages that will not come.
func TestACheckOnWhatIsNotCheckedAnyMore(t *testing.T) {
	t.Parallel()
	s := libAndApp(t)
	release := s.worker.hold("build lib")
	defer release()
	waits := func(c *testenv.Pushed) {
		t.Helper()
		s.until("it waits for what it needs", func() string {
			n := one[int](s, `SELECT count(*) FROM jobs j JOIN buildsets b ON b.id = j.buildset JOIN job_needs n ON n.job = j.id
				WHERE j.stage = 'build' AND j.state = 'waiting' AND n.ahead AND NOT n.joined AND b.changes @> jsonb_build_array(jsonb_build_object('id', $1::text))`, id(c))
			return missing(n > 0, "it does not")
		})
	}
	dropped := s.good("lib")
	first := s.app(dropped)
	waits(first)
	s.g.Act(t, dropped.Number, s.g.Maintainer, "abandon")
	s.told(first, "Check passed")

	held := s.propose("lib", "Mend more", map[string]string{"src/other.c": "int other;\n"})
	second := s.app(held)
	waits(second)
	if _, err := s.store.Command(t.Context(), "check/"+id(held), "dequeue", gate.ChangeID(id(held)), "ada", "it takes too long"); err != nil {
		t.Fatal(err)
	}
	s.told(second, "Check has no verdict", fmt.Sprintf("change %d, which this one needs, has none of its packages: its check was stopped before they were built", held.Number))
	s.voted(second, 0)
}
