package source

import (
	"path"
	"regexp"
	"strings"
)

// rpm reads the spec: the one that is named, or the only one of the folder.
func (r *reader) rpm(folder, named string) *Packaging {
	name := named
	if name == "" {
		if name = r.onlySpec(folder); name == "" {
			return nil
		}
	}
	text := r.read(name)
	if text == nil {
		if r.err == nil {
			r.fail(".sluice.yaml", 0, "spec: %s is not there", name)
		}
		return nil
	}
	s := readSpec(string(text))
	for _, tag := range []string{"Name", "Version", "Release"} {
		v := s.tags[strings.ToLower(tag)]
		if v.text == "" {
			r.fail(name, 0, "the spec has no %s tag", tag)
			return nil
		}
		if strings.Contains(v.text, "%") || strings.ContainsAny(v.text, " \t") {
			r.fail(name, v.line, "%s: %s cannot be read without running the spec; write it plainly, or with %%global above it", tag, v.text)
			return nil
		}
	}
	version := s.tags["version"].text + "-" + s.tags["release"].text
	if e := s.tags["epoch"].text; e != "" && e != "0" {
		version = e + ":" + version
	}
	return &Packaging{
		Name: s.tags["name"].text, Version: version, Binaries: s.binaries, Asks: s.asks, Path: name,
		Exclusive: strings.Fields(strings.ReplaceAll(s.tags["exclusivearch"].text, ",", " ")),
		Declares:  readSpecDeclares(name, string(text)),
	}
}

func (r *reader) onlySpec(folder string) string {
	if r.err != nil {
		return ""
	}
	var specs []string
	for _, dir := range []string{folder, path.Join(folder, "rpm"), path.Join(folder, "packaging")} {
		names, err := r.tree.List(r.ctx, dir)
		if err != nil {
			r.err = err
			return ""
		}
		for _, n := range names {
			if strings.HasSuffix(n, ".spec") {
				specs = append(specs, path.Join(dir, n))
			}
		}
		if len(specs) > 0 {
			break
		}
	}
	if len(specs) > 1 {
		r.fail(specs[1], 0, "there are %d spec files in %s; name one with `spec:` in .sluice.yaml", len(specs), place(path.Dir(specs[0])))
	}
	if len(specs) != 1 {
		return ""
	}
	return specs[0]
}

type tag struct {
	text string
	line int
}

type spec struct {
	tags     map[string]tag
	binaries []string
	asks     []string
	macros   map[string]string
}

var (
	tagLine    = regexp.MustCompile(`^([A-Za-z]+[0-9]*)(?:\([^)]*\))?\s*:\s*(.*?)\s*$`)
	macroLine  = regexp.MustCompile(`^%(?:global|define)\s+([A-Za-z_][A-Za-z0-9_]*)\s+(.*?)\s*$`)
	macroUse   = regexp.MustCompile(`%\{(\??!?\??)([A-Za-z_][A-Za-z0-9_]*)(?::([^{}]*))?\}|%([A-Za-z_][A-Za-z0-9_]*)`)
	packageUse = regexp.MustCompile(`^%package\s+(?:(-n)\s+)?(\S+)`)
	filesUse   = regexp.MustCompile(`^%files(?:\s|$)`)
	section    = regexp.MustCompile(`^%(description|prep|build|install|check|clean|files|changelog|pre|post|preun|postun|pretrans|posttrans|trigger\w*|verifyscript|generate_buildrequires)\b`)
)

// readSpec reads the preamble of a spec and of its subpackages.
func readSpec(text string) spec {
	s := spec{tags: map[string]tag{}, macros: map[string]string{"nil": ""}}
	preamble, main, mainFiles := true, true, false
	var subpackages []string
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimRight(line, "\r")
		if m := macroLine.FindStringSubmatch(line); m != nil {
			s.macros[m[1]] = s.expand(m[2])
			continue
		}
		if m := packageUse.FindStringSubmatch(line); m != nil {
			preamble, main = true, false
			name := s.expand(m[2])
			if m[1] == "" {
				name = s.tags["name"].text + "-" + name
			}
			subpackages = append(subpackages, name)
			continue
		}
		if filesUse.MatchString(line) && !regexp.MustCompile(`^%files\s+(-n\s+)?[^-\s]`).MatchString(line) {
			mainFiles = true
		}
		if section.MatchString(line) {
			preamble = false
		}
		if preamble {
			s.preamble(line, i+1, main)
		}
	}
	if mainFiles {
		s.binaries = append(s.binaries, s.tags["name"].text)
	}
	s.binaries = append(s.binaries, subpackages...)
	return s
}

func (s *spec) preamble(line string, number int, main bool) {
	m := tagLine.FindStringSubmatch(line)
	if m == nil {
		return
	}
	name, value := strings.ToLower(m[1]), s.expand(m[2])
	if name == "buildrequires" || name == "buildprereq" {
		s.asks = append(s.asks, requirementNames(value)...)
	}
	if _, known := s.tags[name]; main && !known {
		s.tags[name] = tag{value, number}
		s.macros[name] = value
	}
}

// requirementNames gives the names of "a >= 1, (b or c), d".
func requirementNames(text string) []string {
	var names []string
	words := strings.FieldsFunc(text, func(r rune) bool { return r == ' ' || r == '\t' || r == ',' })
	for i := 0; i < len(words); i++ {
		switch words[i] {
		case "<", "<=", "=", "==", ">=", ">":
			i++
		case "and", "or", "if", "with", "without", "else", "unless":
		default:
			if n := strings.TrimLeft(words[i], "("); n != "" {
				names = append(names, strings.TrimSuffix(n, unmatched(n)))
			}
		}
	}
	return names
}

// unmatched gives the closing parentheses at the end of a name that it did not open.
func unmatched(n string) string {
	extra := strings.Count(n, ")") - strings.Count(n, "(")
	if extra <= 0 {
		return ""
	}
	return strings.Repeat(")", extra)
}

// expand replaces the macros that are known; %{?x} of an unknown x is nothing.
// %{?dist} is the target's and is left out.
func (s *spec) expand(text string) string {
	for range 8 {
		next := macroUse.ReplaceAllStringFunc(text, func(use string) string {
			m := macroUse.FindStringSubmatch(use)
			name := first(m[2], m[4])
			value, known := s.macros[name]
			known = known && name != "dist"
			switch {
			case m[1] == "" && known:
				return value
			case m[1] == "?" && m[3] != "" && known:
				return m[3]
			case m[1] == "?" && known:
				return value
			case m[1] == "?" || name == "dist":
				return ""
			case strings.Contains(m[1], "!") && !known:
				return m[3]
			case strings.Contains(m[1], "!"):
				return ""
			}
			return use
		})
		if next == text || len(next) > 4096 {
			break
		}
		text = next
	}
	return text
}
