package stage

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"sluice/internal/job"
)

// A finder names what is wrong in one line of a tool's output. The class
// says how near to the cause it is: a compiler's message explains make's, and
// make's explains that of dpkg-buildpackage. What people are shown first is
// the earliest finding of the best class.
type class int

const (
	cause   class = iota // the thing itself: file, line, missing dependency
	tool                 // a tool that says why it gave up
	summary              // a tool that says that another one gave up
)

// rule is a finder for a single line.
type rule struct {
	class class
	has   string // a part of every line that matches: looked for first, as it is fast
	re    *regexp.Regexp
	// Names of groups: file, line, msg. Without msg, the whole line is the message.
	name string
	fix  func(s *scanner, m map[string]string) // may adjust the groups; sets "drop" to refuse
}

// hit is a finding with its class, still collecting the lines behind it.
type hit struct {
	job.Finding
	class class
	after int // lines of the excerpt still to come
}

// scanned is what the finders saw.
type scanned struct {
	Findings []job.Finding
	// Outside, when set, is the reason outside the change (G12): a full disk,
	// or (Fetch) a repository out of reach.
	Outside string
	Fetch   string
	Last    string // the last line that is not empty
	Line    int    // its number
	Excerpt []string
}

// scanner feeds each line to the finders. It holds a bounded amount of the
// log, whatever its length.
type scanner struct {
	sources sourceMap
	dirs    []string // of make's "Entering directory"
	before  []string // the last lines
	hits    []*hit
	multi   multiLine
	out     scanned
}

// Bounds of an excerpt and of what is kept.
const (
	linesBefore = 11
	linesAfter  = 8
	maxHits     = 200
)

func newScanner() *scanner { return &scanner{} }

// begin forgets what was seen, but not the source map.
func (s *scanner) begin() {
	*s = scanner{sources: s.sources}
}

var escapes = regexp.MustCompile("\x1b\\[[0-9;?]*[A-Za-z]|\x1b\\][^\a]*\a|[\x00-\x08\x0b-\x1f\x7f]")

// tidy takes colours, control characters and overwritten parts out of a line.
func tidy(line string) string {
	line = strings.TrimRight(line, "\r\n")
	if i := strings.LastIndexByte(line, '\r'); i >= 0 {
		line = line[i+1:]
	}
	if strings.ContainsFunc(line, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
		line = escapes.ReplaceAllString(line, "")
	}
	return strings.ToValidUTF8(line, "\uFFFD")
}

// feed takes the next line; n is its number in the log.
func (s *scanner) feed(n int, raw string) {
	line := tidy(raw)
	for _, h := range s.hits {
		if h.after > 0 {
			h.after--
			h.Excerpt = append(h.Excerpt, line)
		}
	}
	if strings.TrimSpace(line) != "" && !strings.Contains(line, ": Leaving directory '") {
		s.out.Last, s.out.Line = strings.TrimSpace(line), n
	}
	s.track(line)
	s.outside(line)
	s.multi.feed(s, n, line)
	for i := range rules {
		r := &rules[i]
		if !strings.Contains(line, r.has) {
			continue
		}
		if m := r.re.FindStringSubmatch(line); m != nil && s.match(n, line, r, m) {
			break
		}
	}
	s.multi.remember(line)
	if s.before = append(s.before, line); len(s.before) > linesBefore {
		s.before = s.before[1:]
	}
}

// match makes a finding from a rule's groups; false lets the next rule try.
func (s *scanner) match(n int, line string, r *rule, m []string) bool {
	g := map[string]string{"msg": strings.TrimSpace(line)}
	for i, name := range r.re.SubexpNames() {
		if name != "" && m[i] != "" {
			g[name] = m[i]
		}
	}
	if r.fix != nil {
		r.fix(s, g)
	}
	if g["drop"] != "" {
		return false
	}
	c := r.class
	if g["class"] == "tool" {
		c = tool
	}
	s.add(c, job.Finding{Severity: "error", File: s.path(g["file"]), Line: atoi(g["line"]), Message: g["msg"], LogLine: n, Rule: r.name}, line)
	return true
}

// add keeps a finding, unless the same was found before.
func (s *scanner) add(c class, f job.Finding, line string) {
	if path.IsAbs(f.File) { // a file of the system, not of the source tree
		f.Message = fmt.Sprintf("%s:%d: %s", f.File, f.Line, f.Message)
		f.File, f.Line = "", 0
	}
	f.Message = cutText(strings.Join(strings.Fields(f.Message), " "), 500)
	same := func(h *hit) bool { return h.File == f.File && h.Line == f.Line && h.Message == f.Message }
	if f.Message == "" || slices.ContainsFunc(s.hits, same) || len(s.hits) >= maxHits {
		return
	}
	f.Excerpt = append(slices.Clone(s.before), line)
	s.hits = append(s.hits, &hit{Finding: f, class: c, after: linesAfter})
}

// track follows make's directories, so that a relative path can be mapped.
func (s *scanner) track(line string) {
	const entering, leaving = ": Entering directory '", ": Leaving directory '"
	if i := strings.Index(line, entering); i >= 0 {
		s.dirs = append(s.dirs, strings.TrimSuffix(line[i+len(entering):], "'"))
		if len(s.dirs) > 100 {
			s.dirs = s.dirs[1:]
		}
	} else if strings.Contains(line, leaving) && len(s.dirs) > 0 {
		s.dirs = s.dirs[:len(s.dirs)-1]
	}
}

// path is the path in the source tree of what a tool named.
func (s *scanner) path(p string) string {
	if p == "" {
		return ""
	}
	dir := ""
	if len(s.dirs) > 0 {
		dir = s.dirs[len(s.dirs)-1]
	}
	return s.sources.find(p, dir)
}

// result gives the findings, the nearest to the cause first.
func (s *scanner) result() scanned {
	s.multi.end(s)
	hits := slices.Clone(s.hits)
	slices.SortStableFunc(hits, func(a, b *hit) int { return int(a.class) - int(b.class) })
	out := s.out
	for i, h := range hits {
		if i == 20 {
			break
		}
		if h.class == summary && i > 0 {
			break // it says no more than that what stands before it failed
		}
		f := h.Finding
		f.Excerpt = slices.Clone(f.Excerpt)
		out.Findings = append(out.Findings, f)
	}
	out.Excerpt = slices.Clone(s.before)
	return out
}

// sourceMap maps the paths that tools print to paths in the source tree.
type sourceMap struct {
	base   string          // the directory in the box where the tree (or its part) is built
	prefix string          // where that directory is in the tree; "" for its root
	files  map[string]bool // the tree's files; nil: unknown
	alias  map[string]string
}

// find gives the path in the tree; a path that is not in it stays as it was.
func (m sourceMap) find(p, dir string) string {
	if to, ok := m.alias[path.Clean(p)]; ok {
		return to
	}
	var tries []string
	if path.IsAbs(p) {
		rel, ok := strings.CutPrefix(path.Clean(p), m.base+"/")
		if !ok || m.base == "" {
			return p
		}
		tries = []string{rel}
	} else {
		if rel, ok := strings.CutPrefix(path.Clean(dir), m.base+"/"); ok && m.base != "" {
			tries = append(tries, path.Join(rel, p))
		}
		tries = append(tries, path.Clean(p))
	}
	bare := strings.TrimLeft(path.Clean(p), "./")
	if !path.IsAbs(p) && strings.HasPrefix(path.Clean(p), "../") {
		tries = append(tries, bare)
	}
	for _, t := range tries {
		if full := path.Join(m.prefix, t); m.files[full] {
			return full
		}
	}
	if found := m.bySuffix(bare); found != "" && !path.IsAbs(p) {
		return found
	}
	return path.Join(m.prefix, tries[0])
}

// bySuffix is the one file of the tree whose path ends in rel, or "".
func (m sourceMap) bySuffix(rel string) string {
	found := ""
	for f := range m.files {
		if strings.HasSuffix(f, "/"+rel) {
			if found != "" {
				return ""
			}
			found = f
		}
	}
	return found
}

func atoi(s string) int {
	n := 0
	for _, r := range s {
		if r < '0' || r > '9' || n > 1e8 {
			return 0
		}
		n = n*10 + int(r-'0')
	}
	return n
}

// cutText shortens s to at most n bytes at a character's border.
func cutText(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}
