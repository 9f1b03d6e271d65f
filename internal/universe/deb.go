package universe

import (
	"strings"
	"unique"

	"sluice/internal/deb"
	"sluice/internal/solve"
	"sluice/internal/source"
)

// debListed makes a package of an index entry. Its relations are read when
// they are wanted: of 60,000 packages a few hundred are.
func debListed(l deb.Listed, origin, arch string) *solve.Package {
	src, version := l.Of()
	p := &solve.Package{Name: l.Name, Version: l.Version, Source: unique.Make(src).Value(), Origin: origin, Digest: l.SHA256}
	p.Odd = version != l.Version && !strings.HasPrefix(l.Version, version+"+b")
	p.Provides = debProvides(l.Provides)
	raw := &debRaw{pre: l.PreDepends, depends: unique.Make(l.Depends).Value(), conflicts: l.Conflicts, breaks: l.Breaks}
	p.Raw = raw
	p.Read = func() solve.Relations { return raw.relations(arch) }
	return p
}

// debRaw is what a package's relations fields say.
type debRaw struct{ pre, depends, conflicts, breaks string }

func (d *debRaw) relations(arch string) solve.Relations {
	var r solve.Relations
	for _, f := range []struct{ name, text string }{{"Pre-Depends", d.pre}, {"Depends", d.depends}, {"Conflicts", d.conflicts}, {"Breaks", d.breaks}} {
		for text := range strings.SplitSeq(f.text, ",") {
			if text = strings.TrimSpace(text); text != "" {
				debEntry(&r, source.Entry{Field: f.name, Text: text}, arch)
			}
		}
	}
	return r
}

// debMentions gives the names in a package's relations, roughly: the words
// that begin an alternative.
func debMentions(p *solve.Package) []string {
	raw, ok := p.Raw.(*debRaw)
	if !ok {
		return nil
	}
	var out []string
	for _, text := range []string{raw.pre, raw.depends} {
		for _, a := range strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == '|' }) {
			a = strings.TrimSpace(a)
			if end := strings.IndexAny(a, " :(["); end >= 0 {
				a = a[:end]
			}
			out = append(out, a)
		}
	}
	return out
}

func debProvides(text string) []solve.Provide {
	if text == "" {
		return nil
	}
	relations, err := deb.ParseRelations(text)
	if err != nil {
		return nil
	}
	var out []solve.Provide
	for _, r := range relations {
		a := r.Alternatives[0]
		v := solve.Provide{Name: a.Name}
		if a.Operator == "=" {
			v.Op, v.Version = "=", a.Version
		}
		out = append(out, v)
	}
	return out
}

// debOperators are Debian's, as package solve has them.
var debOperators = map[string]string{"": "", "<<": "<", "<=": "<=", "=": "=", ">=": ">=", ">>": ">"}

// debEntry adds one relation, unless it does not apply or cannot be known.
func debEntry(into *solve.Relations, e source.Entry, arch string) {
	if strings.Contains(e.Text, "${") {
		return
	}
	relations, err := deb.ParseRelations(e.Text)
	if err != nil || len(relations) != 1 {
		return
	}
	var atoms []solve.Atom
	for _, a := range relations[0].Alternatives {
		if !a.Applies(arch, nil) {
			continue
		}
		op, known := debOperators[a.Operator]
		switch a.Qualifier {
		case "", "any", "native", arch:
		default:
			return // another architecture's
		}
		if !known {
			return
		}
		atoms = append(atoms, solve.Atom{Name: a.Name, Op: op, Version: a.Version})
	}
	if len(atoms) == 0 {
		return
	}
	if strings.Contains(e.Field, "Conflicts") || e.Field == "Breaks" {
		for _, a := range atoms {
			into.Refuses = append(into.Refuses, solve.Refusal{Atom: a, Text: e.Text, Field: e.Field, Line: e.Line})
		}
		return
	}
	into.Needs = append(into.Needs, solve.Need{Formula: solve.OneOf(atoms...), Text: e.Text, Field: e.Field, Line: e.Line})
}

// debDeclared makes the package that a control file declares, of a version.
func debDeclared(d source.Declared, src, version, arch, origin string) *solve.Package {
	p := &solve.Package{Name: d.Name, Version: version, Source: src, Origin: origin, Open: d.Open, AnyVersion: d.AnyVersion}
	known := strings.NewReplacer("${binary:Version}", version, "${source:Version}", version)
	var r solve.Relations
	for _, e := range d.Entries {
		e.Text = known.Replace(e.Text)
		if e.Field != "Provides" {
			debEntry(&r, e, arch)
			continue
		}
		if strings.Contains(e.Text, "${") {
			p.Open = true
			continue
		}
		p.Provides = append(p.Provides, debProvides(e.Text)...)
	}
	p.Read = func() solve.Relations { return r }
	return p
}

// debBuild makes what a build needs on an architecture a package.
func debBuild(d source.Declares, src, arch string, primary bool) *solve.Package {
	p := &solve.Package{Name: "the build of " + src}
	var r solve.Relations
	for _, e := range d.Build {
		if primary || !strings.HasSuffix(e.Field, "-Indep") {
			debEntry(&r, e, arch)
		}
	}
	p.Read = func() solve.Relations { return r }
	return p
}

// debBuilt reports whether a declared package is there for an architecture,
// and whether this architecture's jobs make it.
func debBuilt(d source.Declared, arch string, primary bool) (there, made bool) {
	for _, a := range d.Architectures {
		switch {
		case a == "all":
			there, made = true, made || primary
		case a == "any" || deb.Alternative{Only: []string{a}}.Applies(arch, nil):
			there, made = true, true
		}
	}
	return there, made
}

// names says which packages of the base and of the released
// repository are not looked at, as something of the same name comes before
// them: what stands ahead always does, what is released if it is not older (the
// root may have the newer one installed already).
type names map[string]struct {
	version string
	always  bool
}

func (n names) add(p *solve.Package, always bool) {
	if old, ok := n[p.Name]; ok && (old.always || deb.Compare(old.version, p.Version) >= 0) && !always {
		return
	}
	n[p.Name] = struct {
		version string
		always  bool
	}{p.Version, always}
}

func (n names) hides(p *solve.Package) bool {
	by, ok := n[p.Name]
	return ok && (by.always || deb.Compare(by.version, p.Version) >= 0)
}
