package git

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

	"sluice/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

var (
	ctx  = context.Background()
	full = os.Getenv("SLUICE_TEST_FULL") == "1"
	bot  = Identity{"Gate", "gate@example.com"}
)

// files is a tree for tests: path → content, which a prefix gives a mode:
// "+x " executable, "-> " a link's target, "@ " a submodule's commit.
type files map[string]string

func (f files) with(more files) files {
	n := files{}
	for k, v := range f {
		n[k] = v
	}
	for k, v := range more {
		if v == gone {
			delete(n, k)
		} else {
			n[k] = v
		}
	}
	return n
}

const gone = "\x00gone"

// builder makes commits in a store's repository.
type builder struct {
	t       testing.TB
	store   *Store
	project Project
	o       *objects
	n       int
}

// repository makes an empty repository in a new store.
func repository(t testing.TB) *builder {
	t.Helper()
	s, err := Open(t.TempDir(), Options{AllowFile: true})
	if err != nil {
		t.Fatal(err)
	}
	return builderIn(t, s, Project{"main", "hello"}) // no slash: file:// URLs are unescaped
}

func builderIn(t testing.TB, s *Store, p Project) *builder {
	t.Helper()
	dir, err := s.dir(p)
	if err != nil {
		t.Fatal(err)
	}
	unlock, err := s.lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	if err := s.create(ctx, dir); err != nil {
		t.Fatal(err)
	}
	o, err := s.objects(ctx, dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(o.close)
	return &builder{t: t, store: s, project: p, o: o}
}

func (b *builder) tree(f files) entry {
	entries := map[string]entry{}
	below := map[string]files{}
	for path, content := range f {
		if dir, rest, ok := strings.Cut(path, "/"); ok {
			if below[dir] == nil {
				below[dir] = files{}
			}
			below[dir][rest] = content
			continue
		}
		e := entry{mode: ModeFile}
		switch {
		case strings.HasPrefix(content, "@ "):
			entries[path] = entry{ModeSubmodule, content[2:]}
			continue
		case strings.HasPrefix(content, "+x "):
			e.mode, content = ModeExecutable, content[3:]
		case strings.HasPrefix(content, "-> "):
			e.mode, content = ModeSymlink, content[3:]
		}
		e.id = b.o.add("blob", []byte(content))
		entries[path] = e
	}
	for dir, f := range below {
		entries[dir] = b.tree(f)
	}
	return entry{ModeTree, b.o.add("tree", formatTree(entries))}
}

// changeID is the Change-Id of the n-th commit of a builder.
func changeID(n int) string { return fmt.Sprintf("I%040x", n) }

// commit makes a commit, to be stored by flush; its dates grow with each.
func (b *builder) commit(f files, parents ...string) string {
	b.t.Helper()
	b.n++
	var s strings.Builder
	fmt.Fprintf(&s, "tree %s\n", b.tree(f).id)
	for _, p := range parents {
		fmt.Fprintf(&s, "parent %s\n", p)
	}
	who := fmt.Sprintf("Administrator <admin@example.com> %d +0000", 1700000000+60*b.n)
	fmt.Fprintf(&s, "author %s\ncommitter %s\n\ncommit %d\n\nChange-Id: %s\n", who, who, b.n, changeID(b.n))
	return b.o.add("commit", []byte(s.String()))
}

// flush stores what was built: only then the store's methods see it.
func (b *builder) flush() {
	b.t.Helper()
	if err := b.o.flush(); err != nil {
		b.t.Fatal(err)
	}
}

func (b *builder) request(base string, t SubmitType, changes ...string) MergeRequest {
	r := MergeRequest{Project: b.project, Base: base, SubmitType: t, ContentMerge: true, Committer: bot}
	for i, c := range changes {
		r.Changes = append(r.Changes, ChangeRevision{Number: i + 1, Commit: c})
	}
	return r
}

func (b *builder) merge(base string, t SubmitType, changes ...string) MergeResult {
	b.t.Helper()
	b.flush()
	r, err := b.store.Merge(ctx, b.request(base, t, changes...))
	if err != nil {
		b.t.Fatal(err)
	}
	return r
}
