package house

import (
	"bufio"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "sluice"

// source is one Go file of ours.
type source struct {
	file    string // from the module's root
	pkg     string // its directory, "" for the root
	test    bool
	imports []string
	tree    *ast.File
}

// sources parses every Go file of the module.
func sources(t *testing.T) []source {
	t.Helper()
	var all []source
	root := os.DirFS("../..")
	err := fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base := d.Name()
		if d.IsDir() && name != "." && (strings.HasPrefix(base, ".") || base == "testdata" || base == "node_modules" || name == "bin" || name == "var") {
			return fs.SkipDir
		}
		if d.IsDir() || path.Ext(name) != ".go" {
			return nil
		}
		tree, err := parser.ParseFile(token.NewFileSet(), filepath.Join("../..", name), nil, 0)
		if err != nil {
			return err
		}
		s := source{file: name, pkg: path.Dir(name), test: strings.HasSuffix(name, "_test.go"), tree: tree}
		for _, spec := range tree.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			s.imports = append(s.imports, imported)
		}
		all = append(all, s)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) == 0 {
		t.Fatal("found no Go files")
	}
	return all
}

// within says whether name is dir or lies below it.
func within(name, dir string) bool { return name == dir || strings.HasPrefix(name, dir+"/") }

// roomOf finds the room that a package lies in.
func roomOf(pkg string) *room {
	for i := range rooms {
		if within(pkg, rooms[i].path) {
			return &rooms[i]
		}
	}
	return nil
}

// ownerOf finds the longest line for an imported path.
func ownerOf(imported string) *owner {
	var best *owner
	for i, o := range owners {
		if within(imported, o.module) && (best == nil || len(o.module) > len(best.module)) {
			best = &owners[i]
		}
	}
	return best
}

// isHelper says whether a package exists for tests only.
func isHelper(pkg string) bool {
	return slices.ContainsFunc(helperSuffixes, func(suffix string) bool { return strings.HasSuffix(path.Base(pkg), suffix) })
}

func TestImportsFollowTheTable(t *testing.T) {
	for _, s := range sources(t) {
		r := roomOf(s.pkg)
		if r == nil {
			t.Errorf("%s: package %s is not in the table (internal/house/table.go): add a line with its reason", s.file, s.pkg)
			continue
		}
		for _, imported := range s.imports {
			switch {
			case within(imported, module):
				checkOurs(t, s, r, strings.TrimPrefix(strings.TrimPrefix(imported, module), "/"))
			case strings.Contains(strings.SplitN(imported, "/", 2)[0], "."):
				checkThirdParty(t, s, r, imported)
			}
		}
	}
}

func checkOurs(t *testing.T, s source, r *room, pkg string) {
	t.Helper()
	target := roomOf(pkg)
	switch {
	case target == nil:
		t.Errorf("%s imports %s, which is not in the table", s.file, pkg)
	case target == r:
	case within(pkg, "cmd") || within(pkg, "scripts"):
		t.Errorf("%s imports %s: nothing imports a program", s.file, pkg)
	case s.test || isHelper(s.pkg):
	case isHelper(pkg):
		t.Errorf("%s imports %s, which is for tests only", s.file, pkg)
	case !slices.Contains(r.ours, target.path) && !slices.Contains(r.ours, anything):
		t.Errorf("%s imports %s: %s may import %v only (internal/house/table.go)", s.file, pkg, r.path, r.ours)
	}
}

func checkThirdParty(t *testing.T, s source, r *room, imported string) {
	t.Helper()
	o := ownerOf(imported)
	switch {
	case o == nil:
		t.Errorf("%s imports %s, which has no owner in the table: add a line with its reason", s.file, imported)
	case s.test || isHelper(s.pkg) || r.path == "internal/keep":
	case !slices.Contains(o.rooms, r.path):
		t.Errorf("%s imports %s (%s), which belongs to %v", s.file, imported, o.why, o.rooms)
	}
}

// notPure are packages that a pure room has no use for.
var notPure = []string{"context", "os", "net", "database", "syscall", "log", "math/rand", "crypto/rand", "io/fs", "sync", "runtime", "testing"}

// clock are the functions that read the time or wait: in a pure room time is a parameter.
var clock = []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "NewTimer", "NewTicker", "Tick"}

func TestPureRoomsTouchNothing(t *testing.T) {
	for _, s := range sources(t) {
		r := roomOf(s.pkg)
		if r == nil || !r.pure || s.test || isHelper(s.pkg) {
			continue
		}
		for _, imported := range s.imports {
			if slices.ContainsFunc(notPure, func(p string) bool { return within(imported, p) }) {
				t.Errorf("%s imports %s: %s is pure", s.file, imported, r.path)
			}
		}
		ast.Inspect(s.tree, func(n ast.Node) bool {
			if sel, ok := n.(*ast.SelectorExpr); ok {
				if x, ok := sel.X.(*ast.Ident); ok && x.Name == "time" && slices.Contains(clock, sel.Sel.Name) {
					t.Errorf("%s uses time.%s: in %s time is a parameter", s.file, sel.Sel.Name, r.path)
				}
			}
			return true
		})
	}
}

// Every module that go.mod requires directly has an owner, so that a library does not come in by the back door.
func TestEveryModuleHasAnOwner(t *testing.T) {
	file, err := os.Open("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for scan := bufio.NewScanner(file); scan.Scan(); {
		words := strings.Fields(strings.TrimPrefix(strings.TrimSpace(scan.Text()), "require "))
		if len(words) != 2 || !strings.HasPrefix(words[1], "v") {
			continue // indirect ones have a comment
		}
		owned := slices.ContainsFunc(owners, func(o owner) bool { return within(o.module, words[0]) || within(words[0], o.module) })
		if !owned {
			t.Errorf("go.mod requires %s, which has no owner in internal/house/table.go", words[0])
		}
	}
}

// The table itself: every line has a reason, is named once, and speaks of rooms that it names.
func TestTable(t *testing.T) {
	seen := map[string]bool{anything: true}
	for _, r := range rooms {
		if r.why == "" || seen[r.path] {
			t.Errorf("room %s: named twice, or without a reason", r.path)
		}
		seen[r.path] = true
	}
	for _, r := range rooms {
		for _, other := range r.ours {
			if !seen[other] {
				t.Errorf("room %s may import %s, which is no room", r.path, other)
			}
		}
	}
	for _, o := range owners {
		if o.why == "" || len(o.rooms) == 0 && o.why != testOnly {
			t.Errorf("module %s: without a reason or an owner", o.module)
		}
		for _, r := range o.rooms {
			if !seen[r] {
				t.Errorf("module %s belongs to %s, which is no room", o.module, r)
			}
		}
	}
}
