package git

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestMergeIsDeterministic(t *testing.T) {
	b := repository(t)
	h := histories["chain"](b)
	for _, submit := range []SubmitType{MergeIfNecessary, MergeAlways, RebaseIfNecessary, RebaseAlways, CherryPick} {
		first := b.merge(h.tip, submit, h.changes...)
		if first.Commit == "" || first.Tree == "" || first.Conflict != nil || first.Skipped != nil {
			t.Fatalf("%s: %+v", submit, first)
		}
		if again := b.merge(h.tip, submit, h.changes...); again.Commit != first.Commit {
			t.Errorf("%s: %s, then %s", submit, first.Commit, again.Commit)
		}
		// One after the other is the same as both at once: an item's base is the item ahead.
		one := b.merge(h.tip, submit, h.changes[0])
		two := b.merge(one.Commit, submit, h.changes[1])
		if two.Tree != first.Tree || two.Commit != first.Commit {
			t.Errorf("%s: both at once %s, one after the other %s", submit, first.Commit, two.Commit)
		}
		if _, err := b.store.Merge(ctx, b.request(two.Commit, submit, two.Commit)); !errors.Is(err, ErrAlreadyMerged) {
			t.Errorf("%s: merged again: %v", submit, err)
		}
	}
}

// Random trees: whatever the order in which git's folders are walked, the same
// request gives the same commit; what one side leaves alone, the other decides;
// and independent changes give one tree in either order.
func TestMergeTreeLaws(t *testing.T) {
	b := repository(t)
	rapid.Check(t, func(rt *rapid.T) {
		path := rapid.SampledFrom([]string{"a", "b", "a/x", "a/y", "c/d/e", "c/d", "c/f"})
		content := rapid.SampledFrom([]string{"1\n", "2\n", "+x 1\n", "-> b", "1\n2\n3\n4\n5\n", "0\n1\n2\n3\n4\n5\n"})
		draw := func(label string) files {
			f := files{"keep": "k\n"}
			for p, c := range rapid.MapOfN(path, content, 0, 4).Draw(rt, label) {
				f[p] = c
			}
			for p := range f { // a name is a file or a folder
				for q := range f {
					if strings.HasPrefix(q, p+"/") {
						delete(f, q)
					}
				}
			}
			return f
		}
		baseFiles := draw("base")
		base, ours, theirs := b.tree(baseFiles).id, b.tree(draw("ours")).id, b.tree(draw("theirs")).id
		for _, c := range []bool{true, false} {
			merge := func(x, y, z string) (string, []string) {
				m := treeMerge{objects: b.o, content: c}
				id, err := m.merge(x, y, z)
				if err != nil {
					rt.Fatal(err)
				}
				return id, m.conflicts
			}
			if id, conflicts := merge(base, base, theirs); id != theirs || conflicts != nil {
				rt.Fatalf("ours untouched: %s %v, want %s", id, conflicts, theirs)
			}
			if id, conflicts := merge(base, ours, base); id != ours || conflicts != nil {
				rt.Fatalf("theirs untouched: %s %v, want %s", id, conflicts, ours)
			}
			x, cx := merge(base, ours, theirs)
			y, cy := merge(base, theirs, ours)
			if !slices.Equal(cx, cy) || cx == nil && x != y {
				rt.Fatalf("not symmetric: %s %v, %s %v", x, cx, y, cy)
			}
			m := treeMerge{objects: b.o, content: true, virtual: true}
			if _, err := m.merge(base, ours, theirs); err != nil {
				rt.Fatal(err)
			}
			for _, p := range m.conflicts { // only where a folder became two different files, on which Gerrit fails
				if !slices.ContainsFunc(slices.Collect(maps.Keys(baseFiles)), func(q string) bool { return strings.HasPrefix(q, p+"/") }) {
					rt.Fatalf("a virtual ancestor: %v", m.conflicts)
				}
			}
		}
	})
}

func TestMergeRefusals(t *testing.T) {
	b := repository(t)
	root := b.commit(plain)
	tip := b.commit(plain.with(files{"g": "tip\n"}), root)
	parent := b.commit(plain.with(files{"f": "parent\n"}), root)
	child := b.commit(plain.with(files{"f": "child\n"}), parent)
	clash := b.commit(plain.with(files{"g": "clash\n"}), root)
	empty := b.commit(plain, root)
	b.flush()
	check := func(r MergeRequest, want Conflict) {
		t.Helper()
		res, err := b.store.Merge(ctx, r)
		if err != nil || res.Conflict == nil || res.Commit != "" {
			t.Fatalf("%+v, %v; want %v", res, err, want)
		}
		if got := *res.Conflict; got.Reason != want.Reason || got.Change != want.Change || !slices.Equal(got.Files, want.Files) {
			t.Errorf("%v, want %v", got, want)
		}
	}
	check(b.request(tip, MergeIfNecessary, child), Conflict{Change: 1, Reason: MissingDependency, Files: []string{parent}})
	check(b.request(tip, FastForwardOnly, clash), Conflict{Change: 1, Reason: NotFastForward})
	check(b.request(tip, CherryPick, parent, clash), Conflict{Change: 2, Reason: PathConflict, Files: []string{"g"}})
	check(b.request(tip, RebaseAlways, root2(b)), Conflict{Change: 1, Reason: RootCommit})
	r := b.request(tip, CherryPick, empty)
	r.RejectEmpty = true
	check(r, Conflict{Change: 1, Reason: EmptyCommit})
	if res := b.merge(tip, CherryPick, empty); res.Commit != tip || !slices.Equal(res.Skipped, []int{1}) {
		t.Errorf("an empty cherry-pick: %+v", res)
	}
	if res := b.merge("", MergeAlways, parent); res.Commit != parent {
		t.Errorf("the first change of a branch: %+v", res)
	}
	for _, bad := range []MergeRequest{
		b.request("--help", MergeIfNecessary, child), b.request(tip, "INHERIT", child), b.request(tip, CherryPick, "HEAD"), b.request(tip, CherryPick),
	} {
		if _, err := b.store.Merge(ctx, bad); !errors.Is(err, ErrInvalid) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	if _, err := b.store.Merge(ctx, b.request(tip, CherryPick, strings.Repeat("0", 39)+"1")); !errors.Is(err, ErrNotFound) {
		t.Errorf("a commit that is not there: %v", err)
	}
}

func root2(b *builder) string {
	id := b.commit(files{"other": "root\n"})
	b.flush()
	return id
}

func readTar(t *testing.T, b *builder, treeish string) []byte {
	t.Helper()
	r, err := b.store.Archive(ctx, b.project, treeish, "hello-1.0", time.Unix(1e9, 5))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	data, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// The same tree gives the same bytes: from another commit, from another store,
// in another year. The digest is of what was written when this was first tested.
func TestArchive(t *testing.T) {
	tree := files{
		"f": "f\n", "run": "+x #!/bin/sh\n", "l": "-> d/e", "d/e": "$Format:%H$\n", "d/" + strings.Repeat("long", 40) + "/ü": "u\n",
		".gitattributes": "f export-ignore\nd/* export-subst\n* text eol=crlf\n", "empty": "",
	}
	b, b2 := repository(t), repository(t)
	one := b.commit(tree)
	two := b.commit(tree, one)
	b2.n = 77
	three := b2.commit(tree)
	b.flush()
	b2.flush()
	data := readTar(t, b, one)
	if !bytes.Equal(data, readTar(t, b, two)) || !bytes.Equal(data, readTar(t, b2, three)) {
		t.Error("the same tree, other bytes")
	}
	sum := sha256.Sum256(data)
	if got := hex.EncodeToString(sum[:]); got != archiveDigest {
		t.Errorf("digest %s, want %s", got, archiveDigest)
	}
	var names []string
	for r := tar.NewReader(bytes.NewReader(data)); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		content, _ := io.ReadAll(r)
		names = append(names, fmt.Sprintf("%s %o %s%s", strings.ReplaceAll(h.Name, "long", ""), h.Mode, h.Linkname, content))
		if h.Uid != 0 || h.Uname != "" || h.ModTime.Unix() != 1e9 {
			t.Errorf("%+v", h)
		}
	}
	want := []string{
		"hello-1.0/ 755 ", "hello-1.0/.gitattributes 644 " + tree[".gitattributes"], "hello-1.0/d/ 755 ", "hello-1.0/d/e 644 $Format:%H$\n",
		"hello-1.0/d// 755 ", "hello-1.0/d//ü 644 u\n", "hello-1.0/empty 644 ", "hello-1.0/f 644 f\n", "hello-1.0/l 777 d/e", "hello-1.0/run 755 #!/bin/sh\n",
	}
	if !slices.Equal(names, want) {
		t.Errorf("%q\nwant %q", names, want)
	}
	module := b.commit(files{"s": subA})
	b.flush()
	if _, err := b.store.Archive(ctx, b.project, module, "", time.Time{}); !errors.Is(err, ErrSubmodule) {
		t.Errorf("a submodule: %v", err)
	}
	r, err := b.store.Archive(ctx, b.project, one, "", time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil { // without reading: the writer and its git end
		t.Error(err)
	}
}

const archiveDigest = "5b47e45aa505c58b3367d83c72957e8f4a2cca5aa8ccd7ac222e77ce9939cdd5"

func TestCheckTree(t *testing.T) {
	b := repository(t)
	tree := b.commit(files{
		"ok": "x\n", "tests/data/sample.tar.gz": "x", "docs/a.zip": "x", "link": "-> tests/data", "tests/up": "-> ../ok",
		"hello_1.0.orig.tar.gz": "x", "deep/er/hello_1.0.orig-data.tar.xz": "x", "hello.zip": "x", "SOURCES/hello-1.0.tgz": "x",
		"rpm/hello.spec": "x", "rpm/hello.tar.zst": "x", "sub/debian/control": "x", "sub/old.deb": "x", "tests/x.src.rpm": "x",
		"abs": "-> /etc/passwd", "out": "-> ../x", "tests/out": "-> ../../x", "hide": "-> tests/../../x",
		"module": subA, "new\nline": "x", "\xff": "x", ".GIT/config": "x", "a\\b": "x",
	})
	b.flush()
	problems, err := b.store.CheckTree(ctx, b.project, tree)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]ProblemKind{}
	for _, p := range problems {
		got[p.Path] = p.Kind
		if p.Message == "" {
			t.Errorf("%q: no message", p.Path)
		}
	}
	want := map[string]ProblemKind{
		"hello_1.0.orig.tar.gz": PackedSources, "deep/er/hello_1.0.orig-data.tar.xz": PackedSources, "hello.zip": PackedSources,
		"SOURCES/hello-1.0.tgz": PackedSources, "rpm/hello.tar.zst": PackedSources, "sub/old.deb": PackedSources, "tests/x.src.rpm": PackedSources,
		"abs": EscapingLink, "out": EscapingLink, "tests/out": EscapingLink, "hide": EscapingLink,
		"module": HasSubmodule, "new\nline": BadName, "\xff": BadName, ".GIT/config": BadName,
	}
	for path, kind := range want {
		if got[path] != kind {
			t.Errorf("%q: %q, want %q", path, got[path], kind)
		}
	}
	for path, kind := range got {
		if want[path] == "" {
			t.Errorf("%q: %q, want nothing", path, kind)
		}
	}
}

func TestReading(t *testing.T) {
	b := repository(t)
	root := b.commit(plain)
	tip := b.commit(plain.with(files{"d/new": "+x new\n", "g": gone}), root)
	b.flush()
	s, p := b.store, b.project
	if err := s.Pin(ctx, p, "q/1", tip); err != nil {
		t.Fatal(err)
	}
	must := func(got any, err error) any {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	for name, c := range map[string]struct{ got, want any }{
		"paths":    {must(s.ChangedPaths(ctx, p, root, tip)), []string{"d/new", "g"}},
		"count":    {must(s.CountCommits(ctx, p, tip)), 2},
		"ancestor": {must(s.IsAncestor(ctx, p, root, "refs/sluice/q/1")), true},
		"reverse":  {must(s.IsAncestor(ctx, p, tip, root)), false},
		"base":     {must(s.MergeBase(ctx, p, root, tip)), []string{root}},
		"resolve":  {must(s.Resolve(ctx, p, "refs/sluice/q/1")), tip},
		"file":     {must(s.ReadFile(ctx, p, tip, "d/new", 10)), []byte("new\n")},
		"pins":     {must(s.Pins(ctx, p)), []Ref{{"q/1", tip}}},
	} {
		if fmt.Sprint(c.got) != fmt.Sprint(c.want) {
			t.Errorf("%s: %v, want %v", name, c.got, c.want)
		}
	}
	list, err := s.ListFiles(ctx, p, tip, "d")
	if err != nil || len(list) != 2 || list[1].Path != "d/new" || list[1].Mode != ModeExecutable || list[1].Size != 4 {
		t.Errorf("%+v, %v", list, err)
	}
	info, err := s.CommitInfo(ctx, p, tip)
	if err != nil || info.Subject() != "commit 2" || info.Author != (Identity{"Administrator", "admin@example.com"}) ||
		info.CommitTime.Unix() != 1700000120 || !slices.Equal(info.Parents, []string{root}) {
		t.Errorf("%+v, %v", info, err)
	}
	_, missing := s.ReadFile(ctx, p, tip, "d/none", 10)
	_, folder := s.ReadFile(ctx, p, tip, "d", 10)
	_, large := s.ReadFile(ctx, p, tip, "f", 10)
	_, option := s.Tree(ctx, p, "--all")
	_, expression := s.Resolve(ctx, p, "refs/heads/main^{/x}")
	_, project := s.Tree(ctx, Project{"main", "none"}, tip)
	for err, want := range map[error]error{missing: ErrNotFound, folder: ErrNotFound, large: ErrTooLarge, option: ErrInvalid, expression: ErrInvalid, project: ErrNotFound} {
		if !errors.Is(err, want) {
			t.Errorf("%v, want %v", err, want)
		}
	}
}

// What is pinned survives a collection; what was just made does too.
func TestPinsAndGc(t *testing.T) {
	b := repository(t)
	h := histories["chain"](b)
	res := b.merge(h.tip, MergeAlways, h.changes...)
	old := time.Now().Add(-30 * 24 * time.Hour)
	age := func() {
		_ = filepath.Walk(filepath.Join(b.o.dir, "objects"), func(path string, _ os.FileInfo, _ error) error { return os.Chtimes(path, old, old) })
	}
	for _, err := range []error{b.store.Pin(ctx, b.project, "gate/1", res.Commit), b.store.Gc(ctx, b.project)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	fresh := b.merge(res.Commit, RebaseAlways, root3(b, res.Commit))
	for _, id := range []string{res.Commit, fresh.Commit} {
		if _, err := b.store.Tree(ctx, b.project, id); err != nil {
			t.Error(err)
		}
	}
	if err := b.store.Unpin(ctx, b.project, "gate/1", "gate/none"); err != nil {
		t.Fatal(err)
	}
	age()
	if err := b.store.Gc(ctx, b.project); err != nil {
		t.Fatal(err)
	}
	age()
	if err := b.store.Gc(ctx, b.project); err != nil {
		t.Fatal(err)
	}
	if _, err := b.store.Tree(ctx, b.project, res.Commit); !errors.Is(err, ErrNotFound) {
		t.Errorf("after it was unpinned: %v", err)
	}
	if err := b.store.Pin(ctx, b.project, "a..b", h.tip); !errors.Is(err, ErrInvalid) {
		t.Errorf("a bad name: %v", err)
	}
}

// What was made long ago and is made again is new.
func TestMadeAgain(t *testing.T) {
	b := repository(t)
	h := histories["chain"](b)
	res := b.merge(h.tip, MergeAlways, h.changes...)
	old := time.Now().Add(-30 * 24 * time.Hour)
	if err := filepath.Walk(filepath.Join(b.o.dir, "objects"), func(path string, _ os.FileInfo, _ error) error { return os.Chtimes(path, old, old) }); err != nil {
		t.Fatal(err)
	}
	if again := b.merge(h.tip, MergeAlways, h.changes...); again.Commit != res.Commit {
		t.Fatalf("%s is made of what %s was made of", again.Commit, res.Commit)
	}
	if err := b.store.Gc(ctx, b.project); err != nil {
		t.Fatal(err)
	}
	if _, err := b.store.Tree(ctx, b.project, res.Commit); err != nil {
		t.Error(err)
	}
}

func root3(b *builder, parent string) string {
	id := b.commit(files{"other": "x\n"}, parent)
	b.flush()
	return id
}

// Branches come, move and go with the remote's; many fetches at once are one after the other.
func TestFetch(t *testing.T) {
	from, to := repository(t), repository(t)
	to.project.Name = "a/../b"
	remote := Remote{Project: to.project, URL: "file://" + from.o.dir}
	one := from.commit(plain)
	from.flush()
	branch := func(line string) {
		t.Helper()
		if _, err := from.store.run(ctx, call{dir: from.o.dir, stdin: strings.NewReader(line + "\n")}, "update-ref", "--stdin"); err != nil {
			t.Fatal(err)
		}
	}
	branch("create refs/heads/main " + one)
	branch("create refs/heads/old " + one)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if refs, err := to.store.Fetch(ctx, remote); err != nil || len(refs) != 2 {
				t.Errorf("%v, %v", refs, err)
			}
		})
	}
	wg.Wait()
	branch("delete refs/heads/old")
	branch("create refs/heads/old/er " + one)
	if refs, err := to.store.Fetch(ctx, remote); err != nil || len(refs) != 2 || refs[1].Name != "refs/heads/old/er" {
		t.Errorf("%v, %v", refs, err)
	}
	for _, ref := range []string{"--upload-pack=x", "refs/heads/*:refs/sluice/*", "+refs/heads/x", "refs/sluice/x", "refs/heads/a b", "refs/heads/../x"} {
		if _, err := to.store.Fetch(ctx, remote, ref); !errors.Is(err, ErrInvalid) {
			t.Errorf("%q: %v", ref, err)
		}
	}
	for _, u := range []string{"ext::sh -c true", "--upload-pack=x", "ssh://host/x", "https://user:pass@host/x", "/etc", "git://host/x", "https:///x"} {
		if _, err := to.store.Fetch(ctx, Remote{Project: to.project, URL: u}); !errors.Is(err, ErrInvalid) || strings.Contains(err.Error(), "pass@") {
			t.Errorf("%q: %v", u, err)
		}
	}
	if err := to.store.Remove(to.project); err != nil {
		t.Fatal(err)
	}
	if entries, _ := filepath.Glob(filepath.Join(to.store.root, "main", "*")); slices.ContainsFunc(entries, func(e string) bool { return strings.HasSuffix(e, "b.git") }) {
		t.Errorf("left: %v", entries)
	}
}

// A malformed object, such as a name that climbs out, does not get in.
func TestFetchChecksObjects(t *testing.T) {
	from, to := repository(t), repository(t)
	id := from.commit(files{"..": "x\n"})
	from.flush()
	if _, err := from.store.run(ctx, call{dir: from.o.dir}, "update-ref", "refs/heads/main", id); err != nil {
		t.Fatal(err)
	}
	if _, err := to.store.Fetch(ctx, Remote{Project: to.project, URL: "file://" + from.o.dir}); err == nil {
		t.Error("a tree with .. in it was let in")
	}
}

// The credentials are in the request, and nowhere where others see them; a
// redirect does not carry them away; a server that hangs is left when asked to.
func TestFetchCredentials(t *testing.T) {
	b := repository(t)
	arrived, args := make(chan string, 8), make(chan string, 8)
	release := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/moved") {
			http.Redirect(w, r, "/stolen", http.StatusFound)
			return
		}
		arrived <- r.URL.Path + " " + r.Header.Get("Authorization")
		var all []string
		lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
		for _, l := range lines {
			data, _ := os.ReadFile(l)
			all = append(all, string(data))
		}
		args <- strings.Join(all, "\n")
		<-release
	}))
	defer srv.Close()
	defer close(release)
	stop, cancel := context.WithCancel(ctx)
	failed := make(chan error)
	remote := Remote{Project: b.project, URL: srv.URL + "/a/x", User: "gate", Password: "s3cret"}
	go func() {
		_, err := b.store.Fetch(stop, remote)
		failed <- err
	}()
	if got := <-arrived; got != "/a/x/info/refs Basic Z2F0ZTpzM2NyZXQ=" {
		t.Errorf("the request: %s", got)
	}
	if got := <-args; strings.Contains(got, "s3cret") || strings.Contains(got, "Z2F0ZTpzM2NyZXQ") || !strings.Contains(got, srv.URL) {
		t.Error("the arguments of processes hold the password, or do not show git")
	}
	cancel()
	if err := <-failed; !errors.Is(err, context.Canceled) || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("called off: %v", err)
	}
	remote.URL = srv.URL + "/moved"
	if _, err := b.store.Fetch(ctx, remote); err == nil {
		t.Error("a redirect was followed")
	}
	select {
	case got := <-arrived:
		t.Errorf("the redirect's target was asked: %s", got)
	default:
	}
}

// A merge stays cheap however long the queue is: BenchmarkMerge shows how cheap.
func BenchmarkMerge(bm *testing.B) {
	b := repository(bm)
	tree := files{}
	for i := range 2000 {
		tree[fmt.Sprintf("d%d/e%d/f%d", i%10, i%100, i)] = numbered(50)
	}
	root := b.commit(tree)
	tip := b.commit(tree.with(files{"d1/e1/f1": "x\n" + numbered(50)}), root)
	change := b.commit(tree.with(files{"d1/e1/f1": numbered(50) + "y\n"}), root)
	b.flush()
	for bm.Loop() {
		b.merge(tip, MergeAlways, change)
	}
}
