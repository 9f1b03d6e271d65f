// Package source reads what a change's tree says about its packages: the
// package file, debian/control and debian/changelog, the spec. It reads text
// only: nothing of the tree is run here, so a spec is not expanded by rpm but
// read line by line, with the simplest macros.
//
// All of it is foreign input. What is wrong with it is a finding with file and
// line, never an error of the service.
package source

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"

	"sluice/internal/config"
	"sluice/internal/deb"
	"sluice/internal/job"
	"sluice/internal/rpm"
)

// fileLimit bounds what is read of one packaging file, in bytes.
const fileLimit = 1 << 20

// ErrNoFile is what a Tree answers for a path that it does not have.
var ErrNoFile = errors.New("no such file in the tree")

// Tree is the tree of a change.
type Tree interface {
	// ReadFile gives a file; ErrNoFile when there is none; an error when it is longer than limit bytes.
	ReadFile(ctx context.Context, name string, limit int64) ([]byte, error)
	// List names the entries of a folder, folders with a slash at the end; nil when there is none.
	List(ctx context.Context, folder string) ([]string, error)
}

// Info is what a tree says.
type Info struct {
	File      *config.Package // the package file, with defaults where the tree has none
	Packaging string          // folder with debian/ or the spec
	Deb       *Packaging      // nil: no debian/
	RPM       *Packaging      // nil: no spec
}

// Packaging is one format's.
type Packaging struct {
	Name     string   // source package
	Version  string   // the tree's own: "1:2.10-3"; RPM without %{?dist}
	Binaries []string // names of the binary packages
	Asks     []string // names of the build dependencies
	Path     string   // of the spec; "debian" for DEB
	// Exclusive lists the architectures that it builds for; empty: all.
	Exclusive []string
	// Declares is what it says of dependencies.
	Declares Declares
}

// For gives the packaging of a format, or nil.
func (i Info) For(f job.Format) *Packaging {
	if f == job.DEB {
		return i.Deb
	}
	return i.RPM
}

// Compare gives a format's version order.
func Compare(f job.Format) func(a, b string) int {
	if f == job.RPM {
		return rpm.Compare
	}
	return deb.Compare
}

// Read reads a tree. folder is where the site says that the packaging is, or "".
// Findings of severity error say why nothing can be built.
func Read(ctx context.Context, t Tree, folder string) (Info, []job.Finding, error) {
	r := reader{ctx: ctx, tree: t}
	info := Info{File: r.packageFile()}
	if r.err != nil || info.File == nil {
		return info, r.findings, r.err
	}
	info.Packaging = path.Clean(first(info.File.Packaging, folder, "."))
	info.Deb = r.deb(info.Packaging)
	info.RPM = r.rpm(info.Packaging, info.File.Spec)
	if info.Deb == nil && info.RPM == nil && len(r.findings) == 0 {
		r.fail("", 0, "there is no packaging in %s: neither debian/control nor a .spec file", place(info.Packaging))
	}
	return info, r.findings, r.err
}

func place(folder string) string {
	if folder == "." {
		return "the top folder"
	}
	return folder + "/"
}

func first(words ...string) string {
	for _, w := range words {
		if w != "" {
			return w
		}
	}
	return ""
}

type reader struct {
	ctx      context.Context
	tree     Tree
	findings []job.Finding
	err      error // of the service, not of the tree
}

func (r *reader) fail(file string, line int, format string, args ...any) {
	r.findings = append(r.findings, job.Finding{
		Severity: "error", File: file, Line: line, Message: fmt.Sprintf(format, args...), Rule: "packaging",
	})
}

// read gives a file's bytes; nil when there is none.
func (r *reader) read(name string) []byte {
	if r.err != nil {
		return nil
	}
	b, err := r.tree.ReadFile(r.ctx, name, fileLimit)
	switch {
	case errors.Is(err, ErrNoFile):
		return nil
	case err != nil:
		r.err = fmt.Errorf("read %s: %w", name, err)
		return nil
	}
	if b == nil {
		b = []byte{}
	}
	return b
}

func (r *reader) packageFile() *config.Package {
	text := r.read(config.PackageFile)
	p, err := config.ParsePackage(config.PackageFile, text)
	if err == nil {
		return p
	}
	var bad *config.Error
	if !errors.As(err, &bad) {
		r.fail(config.PackageFile, 0, "%v", err)
		return nil
	}
	for _, b := range bad.Problems {
		r.findings = append(r.findings, job.Finding{
			Severity: "error", File: config.PackageFile, Line: b.Pos.Line, Message: b.Message, Rule: "package-file",
		})
	}
	return nil
}

func (r *reader) deb(folder string) *Packaging {
	name := path.Join(folder, "debian/control")
	text := r.read(name)
	if text == nil {
		return nil
	}
	c, err := deb.ReadControl(text)
	if err != nil {
		r.fail(name, lineOf(err), "%s", plain(err, "debian/control: "))
		return nil
	}
	p := &Packaging{Name: c.Name(), Path: path.Join(folder, "debian"), Asks: c.BuildDepends.Names("", nil)}
	for _, b := range c.Binaries {
		p.Binaries = append(p.Binaries, b.Name)
	}
	log := path.Join(folder, "debian/changelog")
	if text = r.read(log); text == nil {
		if r.err == nil {
			r.fail(log, 0, "debian/changelog is not there: its first line says which version the tree has")
		}
		return nil
	}
	top, err := deb.ReadChangelogTop(text)
	if err != nil {
		r.fail(log, 1, "%s", plain(err, "debian/changelog: "))
		return nil
	}
	if top.Source != p.Name {
		r.fail(log, 1, "the changelog is of %q, and debian/control of %q", top.Source, p.Name)
		return nil
	}
	p.Version = top.Version
	p.Declares = r.debDeclares(folder, c)
	return p
}

// plain takes a prefix off that the finding's own file says better.
func plain(err error, prefix string) string { return strings.TrimPrefix(err.Error(), prefix) }

// lineOf gives the line that an error names, or 0.
func lineOf(err error) int {
	var at interface{ AtLine() int }
	if errors.As(err, &at) {
		return at.AtLine()
	}
	_, rest, found := strings.Cut(err.Error(), "line ")
	n := 0
	for i := 0; found && i < len(rest) && rest[i] >= '0' && rest[i] <= '9'; i++ {
		n = n*10 + int(rest[i]-'0')
	}
	return n
}
