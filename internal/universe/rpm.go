package universe

import (
	"strings"

	"sluice/internal/rpm"
	"sluice/internal/solve"
	"sluice/internal/source"
)

// rpmIndexed makes a package of an index entry.
func rpmIndexed(x rpm.Indexed, origin string) *solve.Package {
	src, _ := rpm.Package{Name: x.Name, SourceRPM: x.SourceRPM, EVR: x.EVR}.SourceName()
	p := &solve.Package{Name: x.Name, Version: x.EVR.String(), Kind: x.Architecture, Source: src, Origin: origin, Digest: x.SHA256}
	for _, r := range x.Provides {
		op, version := r.Operator()
		p.Provides = append(p.Provides, solve.Provide{Name: r.Name, Op: op, Version: version})
		p.Parallel = p.Parallel || strings.HasPrefix(r.Name, "installonlypkg(")
	}
	p.Parallel = p.Parallel || strings.HasPrefix(x.Name, "kernel")
	for _, f := range x.Files {
		p.Provides = append(p.Provides, solve.Provide{Name: f})
	}
	p.Read = func() solve.Relations {
		var r solve.Relations
		for _, k := range []struct {
			field string
			list  []rpm.Relation
		}{{"Requires", x.Requires}, {"Conflicts", x.Conflicts}, {"Obsoletes", x.Obsoletes}} {
			for _, e := range k.list {
				rpmRelation(&r, e, source.Entry{Field: k.field, Text: e.String()})
			}
		}
		return r
	}
	return p
}

// rpmRelation adds one relation, unless it cannot be known.
func rpmRelation(into *solve.Relations, e rpm.Relation, at source.Entry) {
	if strings.HasPrefix(e.Name, "rpmlib(") {
		return
	}
	op, version := e.Operator()
	atom := solve.Atom{Name: e.Name, Op: op, Version: version, Real: at.Field == "Obsoletes"}
	if at.Field != "Requires" && at.Field != "BuildRequires" {
		if !strings.HasPrefix(e.Name, "(") {
			into.Refuses = append(into.Refuses, solve.Refusal{Atom: atom, Text: at.Text, Field: at.Field, Line: at.Line})
		}
		return
	}
	need := solve.Need{Formula: solve.One(atom), Text: at.Text, Field: at.Field, Line: at.Line}
	if strings.HasPrefix(e.Name, "(") {
		f, ok := richFormula(at.Text)
		if !ok {
			return
		}
		need.Formula = f
	}
	for _, n := range need.Formula.Names() {
		if strings.HasPrefix(n, "rpmlib(") || strings.HasPrefix(n, "/") && !rpm.InPrimary(n) {
			return // the index does not list all files
		}
	}
	into.Needs = append(into.Needs, need)
}

// rpmEntry adds a relation of a spec.
func rpmEntry(into *solve.Relations, e source.Entry) {
	if strings.HasPrefix(e.Text, "(") {
		rpmRelation(into, rpm.Relation{Name: e.Text}, e)
		return
	}
	if r, err := rpm.ReadEntry(strings.Fields(e.Text)); err == nil {
		rpmRelation(into, r, e)
	}
}

// richFormula reads a boolean dependency: "(a >= 1 and (b or c))". ok is false
// for what is not understood.
func richFormula(text string) (f solve.Formula, ok bool) {
	words := richWords(text)
	f, rest, ok := richGroup(words)
	return f, ok && len(rest) == 0
}

// richWords are the words, with the parentheses of groups as words of their own.
func richWords(text string) []string {
	var out []string
	for _, w := range strings.Fields(text) {
		for strings.HasPrefix(w, "(") {
			out, w = append(out, "("), w[1:]
		}
		closing := 0
		for strings.HasSuffix(w, ")") && strings.Count(w, ")") > strings.Count(w, "(") {
			closing, w = closing+1, w[:len(w)-1]
		}
		if w != "" {
			out = append(out, w)
		}
		for range closing {
			out = append(out, ")")
		}
	}
	return out
}

func richGroup(w []string) (f solve.Formula, rest []string, ok bool) {
	if len(w) == 0 || w[0] != "(" {
		return f, w, false
	}
	f, w, ok = richOperand(w[1:])
	for ok && len(w) > 0 && w[0] != ")" {
		how := w[0]
		var g solve.Formula
		if g, w, ok = richOperand(w[1:]); !ok {
			return f, w, false
		}
		switch how {
		case "and":
			f = solve.Formula{How: solve.All, Of: []solve.Formula{f, g}}
		case "or":
			f = solve.Formula{How: solve.Any, Of: []solve.Formula{f, g}}
		case "with", "without":
			if !single(f) || !single(g) {
				return f, w, false
			}
			f = solve.Formula{How: map[string]solve.Connective{"with": solve.With, "without": solve.Without}[how], Of: []solve.Formula{f, g}}
		case "if":
			if g.How != solve.Is {
				return f, w, false
			}
			f = solve.Formula{How: solve.Any, Of: []solve.Formula{f, {How: solve.Not, Of: []solve.Formula{g}}}}
			if len(w) > 0 && w[0] == "else" {
				var h solve.Formula
				if h, w, ok = richOperand(w[1:]); !ok {
					return f, w, false
				}
				f = solve.Formula{How: solve.All, Of: []solve.Formula{f, {How: solve.Any, Of: []solve.Formula{h, g}}}}
			}
		default:
			return f, w, false
		}
	}
	if !ok || len(w) == 0 {
		return f, w, false
	}
	return f, w[1:], true
}

func single(f solve.Formula) bool {
	return f.How == solve.Is || f.How == solve.With || f.How == solve.Without
}

func richOperand(w []string) (f solve.Formula, rest []string, ok bool) {
	switch {
	case len(w) == 0:
		return f, w, false
	case w[0] == "(":
		return richGroup(w)
	}
	words := w[:1]
	if len(w) >= 3 && strings.ContainsAny(w[1][:1], "<=>") {
		words = w[:3]
	}
	r, err := rpm.ReadEntry(words)
	if err != nil {
		return f, w, false
	}
	op, version := r.Operator()
	return solve.One(solve.Atom{Name: r.Name, Op: op, Version: version}), w[len(words):], true
}

// rpmDeclared makes the package that a spec declares. A build finds many
// provides by itself: sonames, files, what stands in parentheses.
func rpmDeclared(d source.Declared, src, version, arch, origin string) *solve.Package {
	p := &solve.Package{Name: d.Name, Version: version, Kind: arch, Source: src, Origin: origin, Open: true, AnyVersion: d.AnyVersion}
	if len(d.Architectures) == 1 {
		p.Kind = d.Architectures[0]
	}
	if !d.Open {
		p.MayProvide = func(n string) bool { return strings.ContainsAny(n, "(/") || strings.Contains(n, ".so") }
	}
	_, release, _ := strings.Cut(version, "-")
	known := strings.NewReplacer("%{release}", release, "%{?dist}", "")
	var r solve.Relations
	for _, e := range d.Entries {
		e.Text = known.Replace(e.Text)
		if e.Field != "Provides" {
			rpmEntry(&r, e)
			continue
		}
		if v, err := rpm.ReadEntry(strings.Fields(e.Text)); err == nil {
			op, version := v.Operator()
			p.Provides = append(p.Provides, solve.Provide{Name: v.Name, Op: op, Version: version})
		}
	}
	p.Read = func() solve.Relations { return r }
	return p
}

// rpmBuild makes what a build needs a package.
func rpmBuild(d source.Declares, src string) *solve.Package {
	var r solve.Relations
	for _, e := range d.Build {
		if !strings.Contains(e.Text, "%") {
			rpmEntry(&r, e)
		}
	}
	return &solve.Package{Name: "the build of " + src, Read: func() solve.Relations { return r }}
}
