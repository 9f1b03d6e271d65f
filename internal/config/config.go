// Package config reads the two files that people write for sluice: the site
// file, which says what one installation watches, builds, tests and publishes,
// and the package file .sluice.yaml at the top of a project, which adds to
// that for one package.
//
// Start at Site and Package: their fields, with the tags that decode.go
// explains, are the whole grammar. From them come the decoder, the writer
// (Marshal) and the JSON Schemas (Schema, docs/schema).
//
// Both files are strict. Everything that is wrong is told at once, each with
// file, line and column, the source line, a caret, and the nearest word that
// would have been right:
//
//	sluice.yaml:12:7: unknown key "widnow"; did you mean "window"?
//	      widnow: {start: 20}
//	      ^
//
// A file is read in four steps: yaml.go turns bytes into nodes within bounds,
// decode.go fills a struct that holds the defaults already, names.go looks up
// every name that one part uses of another, and rules.go checks what no tag
// can say. The package file is foreign input: it comes from a change under
// test, so it is small, shallow, and its paths stay inside the project.
//
// Secrets are of type Secret, which prints as *** whatever prints it; a
// message that shows a source line masks them too.
package config

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
)

// Load reads the site file at a path. It fails with an *Error that lists all
// that is wrong, or with the file system's own error.
func Load(path string) (*Site, []Warning, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, fmt.Errorf("read the site file: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxSite+1))
	if err != nil {
		return nil, nil, fmt.Errorf("read the site file: %w", err)
	}
	return Parse(path, text)
}

// Parse reads a site file from its bytes; name is what messages call it. All
// defaults are filled in. It fails with an *Error that lists all that is wrong.
func Parse(name string, text []byte) (*Site, []Warning, error) {
	site := &Site{source: newSource(name, string(text))}
	preset(reflect.ValueOf(site).Elem())
	d := &decoder{source: site.source}
	n := d.read(string(text), maxSite)
	if n == nil && len(d.problems) == 0 {
		n = &node{kind: mapNode, pos: Pos{name, 1, 1}}
	}
	if n != nil {
		d.record(reflect.ValueOf(site).Elem(), n, "")
		sound := len(d.problems) == 0
		site.complete()
		d.resolve(site)
		if sound { // else the rules would complain of what is only misspelt
			site.rules()
		}
	}
	warnings := d.finish(d.warnings)
	if err := d.err(); err != nil {
		return nil, warnings, err
	}
	return site, warnings, nil
}

// ParsePackage reads a package file from its bytes; name is what messages
// call it, usually PackageFile. An empty file is as good as none. It fails
// with an *Error that lists all that is wrong.
func ParsePackage(name string, text []byte) (*Package, error) {
	pkg := &Package{source: newSource(name, string(text))}
	preset(reflect.ValueOf(pkg).Elem())
	d := &decoder{source: pkg.source, foreign: true}
	if n := d.read(string(text), maxPackage); n != nil {
		d.record(reflect.ValueOf(pkg).Elem(), n, "")
		if len(d.problems) == 0 {
			pkg.rules()
		}
	}
	if err := d.err(); err != nil {
		return nil, err
	}
	return pkg, nil
}

// Name is what messages call the file that the site was read from.
func (s *Site) Name() string { return s.source.name }

// complete fills in the defaults that depend on other values.
func (s *Site) complete() {
	if s.Keys.Release.IsZero() {
		s.Keys.Release = FileSecret(filepath.Join(s.Data, "keys", "release.asc"))
	}
	if s.Keys.Test.IsZero() {
		s.Keys.Test = FileSecret(filepath.Join(s.Data, "keys", "test.asc"))
	}
	if s.Repositories.Export == "" {
		s.Repositories.Export = filepath.Join(s.Data, "export")
	}
	for i := range s.Upstreams {
		if u := &s.Upstreams[i]; u.Format == "deb" && !u.Host && u.Components == nil {
			u.Components = []string{"main"}
		}
	}
	for i := range s.Dists {
		d := &s.Dists[i]
		if d.Primary == "" && len(d.Architectures) > 0 {
			d.Primary = d.Architectures[0].Name
		}
		d.Roots.Build.complete(d, "buildd")
		d.Roots.Install.complete(d, "minbase")
		d.Roots.Node.complete(d, "minbase")
	}
	for i := range s.Projects {
		if p := &s.Projects[i]; p.Queue == "" && len(s.Queues) > 0 {
			p.Queue = s.Queues[0].Name
		}
	}
}

func (r *Root) complete(d *Dist, variant string) {
	if r.Method == "" && r.Script != "" {
		r.Method = "script"
	}
	if r.Method == "" {
		r.Method = map[string]string{"deb": "mmdebstrap", "rpm": "dnf"}[string(d.Format)]
	}
	if r.Method == "mmdebstrap" && r.Variant == "" {
		r.Variant = variant
	}
}
