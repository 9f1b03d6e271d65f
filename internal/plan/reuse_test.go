package plan_test

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"sluice/internal/job"
	"sluice/internal/plan"
	"sluice/internal/plan/plantest"
)

// kept is a plantest.Builder that knows what it has run.
type kept struct {
	results []result
	reused  int
	wrong   string
}

// result is one that is kept.
type result struct {
	key string
	plantest.Ran
}

func spec(c plantest.Change, root []string, b plantest.Base) job.Spec {
	s := job.Spec{Stage: job.StageBuild, Name: c.Made.Name, Package: c.Made.Name, Source: &job.Source{Archive: c.Made.Digest(), Tree: c.Tree()},
		Root: &job.Root{Digest: plantest.Hash(root...)}, Job: int64(c.ID)}
	for _, l := range b {
		s.Repositories = append(s.Repositories, job.Repository{Name: l.Name, Kind: l.Kind})
	}
	return s
}

func (k *kept) Build(c plantest.Change, root []string, b plantest.Base, again bool) bool {
	key, err := plan.StaticKey(spec(c, root, b))
	if err != nil {
		panic(err)
	}
	ran := plantest.Run(c, root, b)
	for i := len(k.results) - 1; i >= 0 && !again; i-- { // the newest first, as the store gives them
		r := k.results[i]
		if r.key != key {
			continue
		}
		if holds, _ := plan.Holds(r.Trace, b); !holds {
			continue
		}
		if !r.Passed {
			break
		}
		k.reused++
		if r.Made != ran.Made || !ran.Passed {
			k.wrong = fmt.Sprintf("change %d was given a result of %s; it would be of %s", c.ID, r.Made, ran.Made)
		}
		return r.Passed
	}
	ran.Trace.Around = plan.Around(ran.Trace, b)
	k.results = append(k.results, result{key, ran})
	return ran.Passed
}

// With reuse and without it the same changes land and the same are blamed, and
// what is reused is what would have come about: whatever comes, goes and
// changes ahead, in the released repository and in the base distribution. The
// engine is held to the same on its database (internal/engine).
func TestReuseChangesNothing(t *testing.T) {
	reused := 0
	rapid.Check(t, func(t *rapid.T) {
		k := &kept{}
		signed := rapid.Bool().Draw(t, "packages are signed when they are published")
		plantest.Play(t, rapid.IntRange(5, 40).Draw(t, "steps"), signed, &plantest.World{Builder: plantest.Forgetful{}}, &plantest.World{Builder: k})
		if k.wrong != "" {
			t.Fatal(k.wrong)
		}
		reused += k.reused
	})
	if reused == 0 {
		t.Error("nothing was ever reused")
	}
}

// Why a result does not hold, in words.
func TestHolds(t *testing.T) {
	lib := plantest.Shelf{Name: "liba", Version: "1", Needs: [][]string{{"x", "libc6"}}}
	libc := plantest.Shelf{Name: "libc6", Version: "2"}
	world := func(change func(upstream, released, ahead *plantest.Layer)) plantest.Base {
		up := plantest.Layer{Name: "debian", Kind: job.Upstream, Has: map[string]plantest.Shelf{"libc6": libc, "other": {Name: "other"}}}
		rel := plantest.Layer{Name: "released", Kind: job.Released, Signed: true, Has: map[string]plantest.Shelf{"liba": lib}}
		ahead := plantest.Layer{Name: "buildset-7", Kind: job.Ahead, Has: map[string]plantest.Shelf{}}
		change(&up, &rel, &ahead)
		return plantest.Base{up, rel, ahead}
	}
	was := world(func(_, _, _ *plantest.Layer) {})
	trace, _ := was.Install(nil, [][]string{{"liba"}, {"libb", "liba"}})
	trace.Around = plan.Around(trace, was)
	for _, c := range []struct {
		name   string
		change func(upstream, released, ahead *plantest.Layer)
		why    string // "" holds
	}{
		{"the same", func(_, _, _ *plantest.Layer) {}, ""},
		{"another package beside", func(_, r, _ *plantest.Layer) { r.Has["else"] = plantest.Shelf{Name: "else"} }, ""},
		{"upstream beside", func(u, _, _ *plantest.Layer) { u.Has["other"] = plantest.Shelf{Name: "other", Version: "9"} }, ""},
		{"rebuilt", func(_, r, _ *plantest.Layer) { r.Has["liba"] = plantest.Shelf{Name: "liba", Version: "1+b1"} }, "given liba 1, and would be given liba 1+b1"},
		{"gone", func(_, r, _ *plantest.Layer) { delete(r.Has, "liba") }, "given liba 1, which is not there now"},
		{"came", func(_, _, a *plantest.Layer) { a.Has["libb"] = plantest.Shelf{Name: "libb"} }, "something that it asks for"},
		{"what a dependency would rather have came", func(u, _, _ *plantest.Layer) { u.Has["x"] = plantest.Shelf{Name: "x"} }, "something that it asks for"},
		{"a provider came", func(u, _, _ *plantest.Layer) { u.Has["y"] = plantest.Shelf{Name: "y", Provides: []string{"x"}} }, "something that it asks for"},
		{"upstream changed", func(u, _, _ *plantest.Layer) { u.Has["libc6"] = plantest.Shelf{Name: "libc6", Version: "3"} }, "given libc6 2, and would be given libc6 3"},
		{"hidden by ours", func(_, _, a *plantest.Layer) { a.Has["libc6"] = plantest.Shelf{Name: "libc6", Version: "9"} }, "libc6"},
		{"upstream is away", func(u, _, _ *plantest.Layer) { u.Away = true }, "something that it asks for"},
	} {
		ok, why := plan.Holds(trace, world(c.change))
		if ok != (c.why == "") || !strings.Contains(why, c.why) {
			t.Errorf("%s: %v %q", c.name, ok, why)
		}
	}
	// What stood ahead has landed, and was signed for that: the same package.
	ahead := world(func(_, r, a *plantest.Layer) { delete(r.Has, "liba"); a.Has["liba"] = lib })
	early, _ := ahead.Install(nil, [][]string{{"liba"}})
	early.Around = plan.Around(early, ahead)
	if ok, why := plan.Holds(early, was); !ok {
		t.Errorf("landed: %s", why)
	}
	early.Unsure = true
	if ok, _ := plan.Holds(early, was); ok {
		t.Error("nobody knows what it read")
	}
}
