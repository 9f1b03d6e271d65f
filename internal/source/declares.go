package source

import (
	"path"
	"slices"
	"strings"

	"sluice/internal/deb"
)

// Declares is what packaging says of dependencies before anything is built.
// What depends on the build or on macros that are not known here is left out,
// and where that may add something, the package is Open.
type Declares struct {
	File     string  // debian/control or the spec
	Build    []Entry // what the build needs and refuses
	Packages []Declared
	// Loose: the build may make packages that are not named here.
	Loose bool
}

// Entry is one relation as the packaging writes it.
type Entry struct {
	Field string // "Build-Depends", "Requires"
	Text  string // "libfoo (>= 2) [amd64]"; RPM: macros expanded, but for %{release} and %{dist}
	Line  int
}

// Declared is one binary package.
type Declared struct {
	Name          string
	Line          int      // where it is declared
	Architectures []string // DEB: "any", "all", "linux-any"; RPM: none, or "noarch"
	Entries       []Entry
	// Open: the build adds names that it provides.
	Open bool
	// AnyVersion: its version may be another than the source package's.
	AnyVersion bool
	// Maybe: whether it is built at all depends on a condition.
	Maybe bool
}

var (
	debBuildFields  = []string{"Build-Depends", "Build-Depends-Arch", "Build-Depends-Indep", "Build-Conflicts", "Build-Conflicts-Arch", "Build-Conflicts-Indep"}
	debBinaryFields = []string{"Pre-Depends", "Depends", "Conflicts", "Breaks", "Provides"}
)

// debDeclares reads a debian/control. Rules that call gencontrol by themselves
// can change versions and relations: then only names are believed.
func (r *reader) debDeclares(folder string, c deb.Control) Declares {
	d := Declares{File: path.Join(folder, "debian/control")}
	for _, f := range debBuildFields {
		d.Build = append(d.Build, entries(c.Source.Entries(f))...)
	}
	rules := strings.ToLower(string(r.read(path.Join(folder, "debian/rules"))))
	loose := strings.Contains(rules, "gencontrol")
	d.Loose = strings.Contains(rules, "debian/control") // which it writes anew
	for _, b := range c.Binaries {
		if kind := b.Control.Get("Package-Type") + b.Control.Get("XC-Package-Type"); kind != "" && kind != "deb" {
			continue // for the installer
		}
		p := Declared{Name: b.Name, Line: b.Control.Line("Package"), Architectures: b.Architectures, Open: loose, AnyVersion: loose, Maybe: b.Control.Has("Build-Profiles")}
		for _, f := range debBinaryFields {
			if loose && f != "Provides" {
				continue
			}
			p.Entries = append(p.Entries, entries(b.Control.Entries(f))...)
		}
		d.Packages = append(d.Packages, p)
	}
	return d
}

func entries(in []deb.Entry) []Entry {
	out := make([]Entry, len(in))
	for i, e := range in {
		out[i] = Entry(e)
	}
	return out
}

// specDeclares reads the relations of a spec line by line. What stands under a
// condition, in a macro's body or behind a macro that is not known is left out.
type specDeclares struct {
	Declares
	macros  map[string]string // those that are sure
	unsure  map[string]bool
	current int // of Packages; -1: none yet
	depth   int // of %if
	braces  int // of a macro call over several lines
	more    bool
	body    bool // of a section that is no preamble
	prose   bool // of a %description, where macros that make packages stand
}

var rpmFields = map[string]string{
	"requires": "Requires", "provides": "Provides", "conflicts": "Conflicts", "obsoletes": "Obsoletes",
	"buildrequires": "BuildRequires", "buildprereq": "BuildRequires", "prereq": "Requires", "buildconflicts": "BuildConflicts",
}

func readSpecDeclares(file, text string) Declares {
	s := specDeclares{Declares: Declares{File: file}, macros: map[string]string{"nil": "", "_isa": ""}, unsure: map[string]bool{"release": true, "dist": true}}
	s.Packages = []Declared{{Line: 1}}
	withFiles := map[string]bool{}
	for i, line := range strings.Split(text, "\n") {
		s.line(strings.TrimRight(line, "\r"), i+1, withFiles)
	}
	main := s.macros["name"]
	s.Packages[0].Name = main
	s.Loose = s.Loose || slices.ContainsFunc(s.Packages, func(p Declared) bool { return strings.Contains(p.Name, "%") })
	s.Packages = slices.DeleteFunc(s.Packages, func(p Declared) bool { return !withFiles[p.Name] && p.Name == main || strings.Contains(p.Name, "%") })
	for i := range s.Packages {
		s.Packages[i].Maybe = s.Packages[i].Maybe || !withFiles[s.Packages[i].Name]
	}
	return s.Declares
}

func (s *specDeclares) line(line string, number int, withFiles map[string]bool) {
	trimmed := strings.TrimSpace(line)
	continued := s.more
	s.more = strings.HasSuffix(trimmed, `\`)
	switch word, _, _ := strings.Cut(trimmed, " "); {
	case continued:
		return
	case s.braces > 0:
		s.braces += strings.Count(line, "{") - strings.Count(line, "}")
		return
	case strings.HasPrefix(word, "%if"):
		s.depth++
		return
	case strings.HasPrefix(word, "%endif"):
		s.depth--
		return
	case strings.HasPrefix(word, "%el"), strings.HasPrefix(word, "#"):
		return
	case word == "%global" || word == "%define" || word == "%undefine":
		s.macro(line)
		return
	}
	if g := packageUse.FindStringSubmatch(line); g != nil {
		s.body = false
		s.Packages = append(s.Packages, Declared{Name: s.subpackage(g[1] != "", g[2]), Line: number, Maybe: s.depth > 0})
		s.current = len(s.Packages) - 1
		return
	}
	if filesUse.MatchString(line) {
		withFiles[s.filesOf(strings.Fields(line)[1:])] = s.depth == 0
	}
	if section.MatchString(line) {
		s.body, s.prose = true, strings.HasPrefix(line, "%description")
		return
	}
	if s.body {
		s.Loose = s.Loose || s.prose && strings.HasPrefix(line, "%")
		return
	}
	if strings.HasPrefix(trimmed, "%") { // a macro that may be anything
		s.Packages[s.current].Open, s.Loose = true, true
		s.braces = max(0, strings.Count(line, "{")-strings.Count(line, "}"))
		return
	}
	if g := tagLine.FindStringSubmatch(line); g != nil {
		s.tag(strings.ToLower(g[1]), g[2], number)
	}
}

func (s *specDeclares) subpackage(whole bool, name string) string {
	name, _ = s.expand(name)
	if !whole {
		name = s.macros["name"] + "-" + name
	}
	return name
}

// filesOf names the package of a %files line.
func (s *specDeclares) filesOf(words []string) string {
	for i := 0; i < len(words); i++ {
		switch {
		case words[i] == "-f":
			i++
		case words[i] == "-n" && i+1 < len(words):
			return s.subpackage(true, words[i+1])
		case !strings.HasPrefix(words[i], "-"):
			return s.subpackage(false, words[i])
		}
	}
	return s.macros["name"]
}

// macro learns a macro, unless it is one thing here and another there.
func (s *specDeclares) macro(line string) {
	f := strings.Fields(line)
	if len(f) < 2 {
		return
	}
	name, _, _ := strings.Cut(f[1], "(")
	g := macroLine.FindStringSubmatch(line)
	before, known := s.macros[name]
	value, sure := "", false
	if g != nil && f[0] != "%undefine" {
		value, sure = s.expand(g[2])
	}
	if !sure || s.depth > 0 || s.more || known && before != value || s.unsure[name] {
		delete(s.macros, name)
		s.unsure[name] = true
		return
	}
	s.macros[name] = value
}

func (s *specDeclares) tag(name, value string, number int) {
	p := &s.Packages[s.current]
	value, sure := s.expand(value)
	field, relation := rpmFields[name]
	switch {
	case relation && field == "Provides" && (s.depth > 0 || !sure):
		p.Open = true
	case relation && s.depth == 0:
		into := &p.Entries
		if strings.HasPrefix(field, "Build") {
			into = &s.Build
		}
		for _, text := range specEntries(value) {
			if sure || !strings.Contains(withoutRelease(text), "%") {
				*into = append(*into, Entry{Field: field, Text: text, Line: number})
			} else if field == "Provides" {
				p.Open = true
			}
		}
	case name == "buildarch" && s.depth == 0:
		p.Architectures = strings.Fields(value)
	case name == "version" || name == "release" || name == "epoch":
		if s.current > 0 || s.depth > 0 {
			p.AnyVersion = true
		}
	}
	if _, known := s.macros[name]; s.current == 0 && !relation && !known && sure && s.depth == 0 && !s.unsure[name] {
		s.macros[name] = value
	}
}

// withoutRelease leaves out the two macros that are filled in where the
// derived version is known.
func withoutRelease(text string) string {
	return strings.NewReplacer("%{release}", "", "%{?dist}", "", "%{dist}", "").Replace(text)
}

// expand replaces the macros that are known for sure; sure is false when one is left.
func (s *specDeclares) expand(text string) (_ string, sure bool) {
	for range 8 {
		next := macroUse.ReplaceAllStringFunc(text, func(use string) string {
			g := macroUse.FindStringSubmatch(use)
			name := first(g[2], g[4])
			value, known := s.macros[name]
			switch {
			case name == "release":
				return "%{release}"
			case name == "dist":
				return "%{?dist}"
			case known && g[1] == "":
				return value
			case known && g[1] == "?":
				return first(g[3], value)
			}
			return use
		})
		if next == text || len(next) > 4096 {
			break
		}
		text = next
	}
	return text, !strings.Contains(withoutRelease(text), "%")
}

// specEntries takes "a >= 1, (b or c) d" apart.
func specEntries(text string) []string {
	var out []string
	words := splitWords(text)
	for i := 0; i < len(words); i++ {
		switch words[i] {
		case "<", "<=", "=", "==", ">=", ">":
			if len(out) > 0 && i+1 < len(words) {
				out[len(out)-1] += " " + words[i] + " " + words[i+1]
				i++
			}
		default:
			out = append(out, words[i])
		}
	}
	return out
}

// splitWords splits at spaces and commas outside parentheses.
func splitWords(text string) []string {
	var out []string
	depth, start := 0, -1
	for i, r := range text + " " {
		switch {
		case r == '(':
			depth++
		case r == ')':
			depth--
		}
		gap := depth <= 0 && (r == ' ' || r == '\t' || r == ',')
		switch {
		case gap && start >= 0:
			out, start = append(out, text[start:i]), -1
		case !gap && start < 0:
			start = i
		}
	}
	if start >= 0 && start < len(text) {
		out = append(out, text[start:])
	}
	return out
}
