package git

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"sort"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"

	"sluice/internal/testenv"
)

// gerritVersions are those that merges are compared with.
var gerritVersions = []string{"3.13.5", "3.10.2"}

// arena is one Gerrit project whose branches are the cases, and our mirror of it.
type arena struct {
	*builder
	g       *testenv.GerritServer
	name    string
	submit  SubmitType
	content bool
}

// openGerrit lets the administrator do everything below the project returned,
// and asks for Code-Review alone: 3.10 cannot do without.
func openGerrit(t *testing.T, g *testenv.GerritServer) string {
	t.Helper()
	parent := "corpus-" + strings.ToLower(g.Version)
	err := g.REST(g.Admin, http.MethodPut, "/projects/"+parent, map[string]any{"permissions_only": true}, nil)
	if err != nil && !strings.Contains(err.Error(), "409") {
		t.Fatal(err)
	}
	var admins struct{ ID string }
	if err := g.REST(g.Admin, http.MethodGet, "/groups/Administrators", nil, &admins); err != nil {
		t.Fatal(err)
	}
	may := map[string]any{"rules": map[string]any{admins.ID: map[string]any{"action": "ALLOW"}}}
	vote := map[string]any{"label": "Code-Review", "rules": map[string]any{admins.ID: map[string]any{"action": "ALLOW", "min": -2, "max": 2}}}
	if err := g.REST(g.Admin, http.MethodPost, "/projects/"+parent+"/access", map[string]any{"add": map[string]any{
		"refs/heads/*": map[string]any{"permissions": map[string]any{"push": may, "pushMerge": may, "create": may, "submit": may, "read": may,
			"label-Code-Review": vote}},
	}}, nil); err != nil {
		t.Fatal(err)
	}
	for _, r := range []string{"Code-Review", "Verified", "Workflow"} {
		if err := g.REST(g.Admin, http.MethodPut, "/projects/"+parent+"/submit_requirements/"+r, map[string]any{
			"name": r, "submittability_expression": "is:open", "applicability_expression": "branch:refs/heads/never",
			"allow_override_in_child_projects": true,
		}, nil); err != nil {
			t.Fatal(err)
		}
	}
	return parent
}

func newArena(t *testing.T, g *testenv.GerritServer, parent string, submit SubmitType, content bool) *arena {
	t.Helper()
	name := strings.ToLower(fmt.Sprintf("corpus/%s-%v-%d", submit, content, rand.Int64()))
	use := map[bool]string{true: "TRUE", false: "FALSE"}[content]
	if err := g.REST(g.Admin, http.MethodPut, "/projects/"+url.PathEscape(name), map[string]any{
		"parent": parent, "submit_type": submit, "use_content_merge": use, "create_new_change_for_all_not_in_target": "FALSE",
	}, nil); err != nil {
		t.Fatal(err)
	}
	if err := g.REST(g.Admin, http.MethodPut, "/projects/"+url.PathEscape(name)+"/config",
		map[string]any{"reject_implicit_merges": "FALSE"}, nil); err != nil {
		t.Fatal(err)
	}
	s, err := Open(t.TempDir(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	return &arena{builderIn(t, s, Project{"main", name}), g, name, submit, content}
}

func (a *arena) remote() Remote {
	return Remote{Project: a.project, URL: a.g.URL + "/a/" + a.name, User: a.g.Admin.Name, Password: a.g.Admin.Token}
}

// push pushes from our mirror, as the administrator.
func (a *arena) push(specs ...string) error {
	cmd := exec.Command("git", append([]string{"--git-dir", a.o.dir, "push", "-q", a.g.GitURL(a.g.Admin, a.name)}, specs...)...)
	cmd.Env = append(os.Environ(), "GIT_TERMINAL_PROMPT=0", "GIT_CONFIG_GLOBAL="+os.DevNull)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("git push %.200v: %w: %.2000s", specs, err, out)
	}
	return nil
}

// verdict is what became of a case: a tree, or a refusal.
type verdict struct {
	tree  string
	why   string
	files []string
}

// ours is our verdict.
func (a *arena) ours(h history) (verdict, error) {
	r := a.request(h.tip, a.submit, h.changes...)
	r.ContentMerge = a.content
	r.RefuseBinaryAncestor = strings.HasPrefix(a.g.Version, "3.10.")
	res, err := a.store.Merge(ctx, r)
	if err != nil {
		return verdict{}, err
	}
	if c := res.Conflict; c != nil {
		return verdict{why: c.String(), files: c.Files}, nil
	}
	return verdict{tree: res.Tree}, nil
}

// theirs pushes the changes for review and submits them, one after the other.
func (a *arena) theirs(branch string, h history, ids map[string]string) (refusal string, err error) {
	if err := a.push(h.changes[len(h.changes)-1] + ":refs/for/" + branch + "%l=Code-Review+2"); err != nil {
		return "", err
	}
	for _, c := range h.changes {
		id := url.PathEscape(a.name) + "~" + branch + "~" + ids[c]
		err := a.g.REST(a.g.Admin, http.MethodPost, "/changes/"+id+"/submit", struct{}{}, nil)
		switch {
		case err == nil:
		case strings.Contains(err.Error(), "409"):
			return err.Error(), nil
		default:
			return "", err
		}
	}
	return "", nil
}

// play puts the cases through Gerrit and through us, and compares.
func (a *arena) play(t *testing.T, cases map[string]history) {
	t.Helper()
	ids := map[string]string{}
	var heads []string
	for name, h := range cases {
		heads = append(heads, h.tip+":refs/heads/"+name)
		if h.side != "" {
			heads = append(heads, h.side+":refs/heads/"+name+"-side")
		}
		for _, c := range h.changes {
			info, err := a.o.commit(c)
			if err != nil {
				t.Fatal(err)
			}
			_, id, _ := strings.Cut(string(info.message), "Change-Id: ")
			ids[c] = strings.TrimSpace(id)
		}
	}
	a.flush()
	if err := a.push(heads...); err != nil {
		t.Fatal(err)
	}
	if _, err := a.store.Fetch(ctx, a.remote()); err != nil {
		t.Fatal(err)
	}
	mine, refusals := map[string]verdict{}, map[string]string{}
	for name, h := range cases {
		v, err := a.ours(h)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		mine[name] = v
	}
	var group errgroup.Group
	group.SetLimit(4)
	got := make(chan [2]string, len(cases))
	for name, h := range cases {
		group.Go(func() error {
			refusal, err := a.theirs(name, h, ids)
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			got <- [2]string{name, refusal}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	close(got)
	for r := range got {
		refusals[r[0]] = r[1]
	}
	if _, err := a.store.Fetch(ctx, a.remote()); err != nil {
		t.Fatal(err)
	}
	for name := range cases {
		a.compare(t, name, mine[name], refusals[name])
	}
}

func (a *arena) compare(t *testing.T, name string, mine verdict, refusal string) {
	t.Helper()
	if strings.Contains(refusal, "requirement") {
		t.Errorf("%s: refused for the lack of a vote: %s", name, refusal)
		return
	}
	if (refusal != "") != (mine.tree == "") {
		t.Errorf("%s: we say %+v, Gerrit says %q", name, mine, refusal)
		return
	}
	if refusal != "" {
		// Only a rebase names the files.
		if _, list, ok := strings.Cut(refusal, "merge conflict(s):\n"); ok && len(mine.files) > 0 {
			files := strings.Split(strings.TrimRight(list, "\n"), "\n")
			for i := range files {
				files[i] = strings.TrimPrefix(files[i], "* ") // as 3.13 lists them
			}
			sort.Strings(files)
			if a.content && !slices.Equal(files, mine.files) {
				t.Errorf("%s: only we name %.500q, only Gerrit %.500q", name, without(mine.files, files), without(files, mine.files))
			}
		}
		return
	}
	tree, err := a.store.Tree(ctx, a.project, "refs/heads/"+name)
	if err != nil {
		t.Fatal(err)
	}
	if tree != mine.tree {
		out, _ := a.store.run(ctx, call{dir: a.o.dir}, "diff-tree", "-r", "-p", mine.tree, tree)
		t.Errorf("%s: our tree differs from Gerrit's:\n%.2000s", name, out)
	}
}

func without(a, b []string) []string {
	return slices.DeleteFunc(slices.Clone(a), func(s string) bool { return slices.Contains(b, s) })
}

// G8: what Gerrit merges we merge into the same tree, what it refuses we
// refuse, for each submit type, with and without content merges.
func TestCorpusAgainstGerrit(t *testing.T) {
	for _, version := range gerritVersions {
		t.Run(version, func(t *testing.T) {
			g := testenv.GerritVersion(t, version)
			parent := openGerrit(t, g)
			i := 0
			for _, submit := range []SubmitType{MergeIfNecessary, RebaseIfNecessary, CherryPick, MergeAlways, RebaseAlways, FastForwardOnly} {
				for _, content := range []bool{true, false} {
					t.Run(fmt.Sprintf("%s/content=%v", submit, content), func(t *testing.T) {
						a := newArena(t, g, parent, submit, content)
						a.play(t, a.cases(i, t))
					})
					i++
				}
			}
		})
	}
}

// cases builds the corpus. In full, each case is a change of its own. Else those
// pairs that we merge are one change, and those that we refuse another; of the
// histories, content merges by MERGE_IF_NECESSARY see all, the others a part.
func (a *arena) cases(i int, t *testing.T) map[string]history {
	t.Helper()
	cases := map[string]history{}
	var clean, refused []string
	for _, name := range slices.Sorted(maps.Keys(pairs)) {
		if full {
			cases[name] = pairs[name].build(a.builder)
			continue
		}
		m := treeMerge{objects: a.o, content: a.content}
		c := pairs[name]
		if _, err := m.merge(a.tree(c.base).id, a.tree(c.ours).id, a.tree(c.theirs).id); err != nil {
			t.Fatal(err)
		}
		if len(m.conflicts) == 0 {
			clean = append(clean, name)
		} else {
			refused = append(refused, name)
		}
	}
	if !full {
		cases["clean"] = together(clean).build(a.builder)
		cases["refused"] = together(refused).build(a.builder)
		// One alone, of each kind: the reason for a refusal of many could be any of them.
		cases[clean[i%len(clean)]] = pairs[clean[i%len(clean)]].build(a.builder)
		cases[refused[i%len(refused)]] = pairs[refused[i%len(refused)]].build(a.builder)
	}
	for n, name := range slices.Sorted(maps.Keys(histories)) {
		h := histories[name](a.builder)
		if full || i == 0 || n%8 == i%8 {
			cases[name] = h
		}
	}
	return cases
}

// Random texts with many ways to match their lines: hundreds of files in one
// change that we merge cleanly, and in one that we do not; Gerrit must find
// the same bytes, and the same files in conflict.
func TestRandomTextsAgainstGerrit(t *testing.T) {
	g := testenv.GerritVersion(t, gerritVersions[0])
	parent := openGerrit(t, g)
	a := newArena(t, g, parent, RebaseAlways, true)
	rounds := 1
	if full {
		rounds = 20
	}
	cases := map[string]history{}
	for round := range rounds {
		base, ours, theirs := files{}, files{}, files{}
		cleanBase, cleanOurs, cleanTheirs := files{}, files{}, files{}
		rng := rand.New(rand.NewPCG(uint64(round), rand.Uint64()))
		for i := range 1000 {
			b, o, th := randomTriple(rng)
			name := fmt.Sprintf("f%04d", i)
			m := mergeText(ctx, b, o, th)
			if m.conflict {
				base[name], ours[name], theirs[name] = string(b), string(o), string(th)
			} else {
				cleanBase[name], cleanOurs[name], cleanTheirs[name] = string(b), string(o), string(th)
			}
		}
		t.Logf("round %d: %d clean, %d in conflict", round, len(cleanBase), len(base))
		root, cleanRoot := a.commit(base), a.commit(cleanBase)
		cases[fmt.Sprintf("conflict-%d", round)] = history{tip: a.commit(ours, root), changes: []string{a.commit(theirs, root)}}
		cases[fmt.Sprintf("clean-%d", round)] = history{tip: a.commit(cleanOurs, cleanRoot), changes: []string{a.commit(cleanTheirs, cleanRoot)}}
	}
	a.play(t, cases)
}

// randomTriple is a text and two edits of it, which neither is empty nor equal
// to another, so that all are merged by their lines.
func randomTriple(rng *rand.Rand) (base, ours, theirs []byte) {
	for {
		alphabet, length := 2+rng.IntN(20), 5+rng.IntN(60)
		if rng.IntN(10) == 0 {
			alphabet, length = 1+rng.IntN(2), 70+rng.IntN(400) // beyond what the histogram counts
		}
		line := func() []byte { return fmt.Appendf(nil, "line %d\n", rng.IntN(alphabet)) }
		var lines [][]byte
		for range length {
			lines = append(lines, line())
		}
		edit := func() []byte {
			out := slices.Clone(lines)
			for range 1 + rng.IntN(4) {
				at := rng.IntN(len(out))
				end := min(len(out), at+rng.IntN(4))
				var in [][]byte
				for range rng.IntN(4) {
					in = append(in, line())
				}
				out = slices.Replace(out, at, end, in...)
				if len(out) == 0 {
					out = append(out, line())
				}
			}
			text := bytes.Join(out, nil)
			if rng.IntN(12) == 0 {
				text = bytes.TrimSuffix(text, []byte("\n"))
			}
			return text
		}
		base, ours, theirs = bytes.Join(lines, nil), edit(), edit()
		if !bytes.Equal(base, ours) && !bytes.Equal(base, theirs) && !bytes.Equal(ours, theirs) {
			return base, ours, theirs
		}
	}
}

// What is fetched is told apart from what is not there, and credentials are in no message.
func TestFetchFromGerrit(t *testing.T) {
	g, s, r := mirrorOfGerrit(t, gerritVersions[0])
	name := r.Project.Name
	pushed := g.Push(t, testenv.Proposal{Project: name, Message: "A change", Files: map[string]string{"a": "a\n"}})
	refs, err := s.Fetch(ctx, r, "refs/heads/*", pushed.Ref)
	if err != nil {
		t.Fatal(err)
	}
	if len(refs) != 2 || !slices.Contains(refs, Ref{pushed.Ref, pushed.Revision}) {
		t.Errorf("refs %v, want main and %s at %s", refs, pushed.Ref, pushed.Revision)
	}
	if ref := ChangeRef(pushed.Number, pushed.PatchSet); ref != pushed.Ref {
		t.Errorf("ChangeRef = %s, want %s", ref, pushed.Ref)
	}
	if _, err := s.Fetch(ctx, r, "refs/changes/99/99999/1"); !errors.Is(err, ErrNotFound) {
		t.Errorf("a change that is not there: %v", err)
	}
	r.Password = "wrong-secret"
	if _, err := s.Fetch(ctx, r); err == nil || strings.Contains(err.Error(), "wrong-secret") {
		t.Errorf("a wrong password: %v", err)
	}
}
