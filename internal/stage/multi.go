package stage

import (
	"regexp"
	"strings"

	"sluice/internal/job"
)

// multiLine finds what takes more than one line to say. Each part is a small
// state machine over the lines.
type multiLine struct {
	unmet    string // package whose unmet dependencies are being listed
	inUnmet  bool
	trace    *traceback
	cmake    *pending
	rust     *pending
	dpkg     *pending
	listing  string // a heading of rpm's, "Failed build dependencies" or "Installed (but unpackaged)"
	previous string // the line before, without apt's and dpkg's own progress
}

// pending is a message that waits for its second half.
type pending struct {
	file string
	line int
	text string
	n    int // log line
	raw  string
}

// traceback is a Python traceback being read.
type traceback struct {
	n    int
	raw  string
	file string
	line int
	ours bool // file is in the source tree
}

var (
	unmetLine  = regexp.MustCompile(`^ (\S+) : (.+)$`)
	moreUnmet  = regexp.MustCompile(`^ {8,}((?:Pre)?-?(?:Depends|Breaks|Conflicts|Recommends|PreDepends): .+)$`)
	frameLine  = regexp.MustCompile(`^\s+File "([^"]+)", line (\d+)`)
	raiseLine  = regexp.MustCompile(`^\s{0,2}((?:[A-Za-z_][\w.]*)?(?:Error|Exception|Interrupt|Exit|Warning|Failure|NotFound|[A-Z]\w+): .*|[A-Za-z_][\w.]*(?:Error|Exception)|(?:subprocess|socket)\.\w+.*)$`)
	cmakeLine  = regexp.MustCompile(`^CMake Error(?: at (\S+?):(\d+))?(?: \(([^)]*)\))?:?(.*)$`)
	rustLine   = regexp.MustCompile(`^error(?:\[(E\d+)\])?: (.+)$`)
	rustWhere  = regexp.MustCompile(`^\s*--> ([^\s:]+):(\d+)(?::\d+)?$`)
	dpkgFailed = regexp.MustCompile(`^dpkg: error processing (?:package|archive) (\S+) \(--([a-z-]+)\):$`)
	dpkgScript = regexp.MustCompile(`^ (?:installed |new |old )?(?:\S+ package )?(.* script subprocess .*)$`)
	neededBy   = regexp.MustCompile(`^\s+(.+ is needed by .+)$`)
	progress   = regexp.MustCompile(`^(?:Setting up|Unpacking|Preparing to unpack|Selecting|Processing triggers|Removing|Purging|\(Reading database|Get:|Hit:|Fetched|dpkg: |update-alternatives|==> )`)
)

func (m *multiLine) feed(s *scanner, n int, line string) {
	m.apt(s, n, line)
	m.python(s, n, line)
	m.twoLines(s, n, line)
	m.maintainerScript(s, n, line)
	m.rpm(s, n, line)
}

// remember keeps a line as the one before the next.
func (m *multiLine) remember(line string) {
	if t := strings.TrimSpace(line); t != "" && !progress.MatchString(line) {
		m.previous = t
	}
}

// apt reads the list under "have unmet dependencies".
func (m *multiLine) apt(s *scanner, n int, line string) {
	if strings.HasSuffix(line, "have unmet dependencies:") || strings.HasSuffix(line, "have unmet dependencies.") {
		m.inUnmet, m.unmet = true, ""
		return
	}
	if !m.inUnmet {
		return
	}
	what := ""
	if g := unmetLine.FindStringSubmatch(line); g != nil {
		m.unmet, what = g[1], g[2]
	} else if g := moreUnmet.FindStringSubmatch(line); g != nil && m.unmet != "" {
		what = g[1]
	} else {
		m.inUnmet = false
		return
	}
	// What cannot be had at all explains what "is not going to be" installed.
	c := cause
	if strings.Contains(what, "is not going to be installed") {
		c = tool
	}
	s.add(c, job.Finding{Severity: "error", Message: m.unmet + " : " + what, LogLine: n, Rule: "dependency"}, line)
}

// python reads tracebacks: the last frame in the source tree is the place.
func (m *multiLine) python(s *scanner, n int, line string) {
	if strings.HasPrefix(strings.TrimSpace(line), "Traceback (most recent call last)") {
		m.trace = &traceback{n: n, raw: line}
		return
	}
	if m.trace == nil {
		if g := frameLine.FindStringSubmatch(line); g == nil {
			return
		}
		m.trace = &traceback{n: n, raw: line} // a SyntaxError has no heading
	}
	if g := frameLine.FindStringSubmatch(line); g != nil {
		file := s.path(g[1])
		ours := s.sources.files[file]
		if ours || !m.trace.ours {
			m.trace.file, m.trace.line, m.trace.ours = file, atoi(g[2]), ours
		}
		return
	}
	if g := raiseLine.FindStringSubmatch(line); g != nil && m.trace.file != "" {
		s.add(cause, job.Finding{Severity: "error", File: m.trace.file, Line: m.trace.line, Message: g[1], LogLine: n, Rule: "python"}, line)
		m.trace = nil
	} else if strings.TrimSpace(line) == "" || n-m.trace.n > 200 {
		m.trace = nil
	}
}

// twoLines reads messages of CMake and Rust.
func (m *multiLine) twoLines(s *scanner, n int, line string) {
	if p := m.cmake; p != nil && strings.TrimSpace(line) != "" {
		m.cmake = nil
		s.add(cause, job.Finding{Severity: "error", File: s.path(p.file), Line: p.line, Message: strings.TrimSpace(p.text + " " + strings.TrimSpace(line)), LogLine: p.n, Rule: "cmake"}, line)
	}
	if strings.HasPrefix(line, "CMake Error") {
		if g := cmakeLine.FindStringSubmatch(line); g != nil {
			m.cmake = &pending{file: g[1], line: atoi(g[2]), text: strings.TrimSpace(g[4]), n: n, raw: line}
		}
		return
	}
	if p := m.rust; p != nil {
		if g := rustWhere.FindStringSubmatch(line); g != nil {
			s.add(cause, job.Finding{Severity: "error", File: s.path(g[1]), Line: atoi(g[2]), Message: p.text, LogLine: p.n, Rule: "compile"}, p.raw)
		}
		m.rust = nil
	}
	if g := rustLine.FindStringSubmatch(line); g != nil {
		m.rust = &pending{text: g[2], n: n, raw: line}
	}
}

// maintainerScript reads how dpkg says that a package's script failed: the
// script's own last words are the line before.
func (m *multiLine) maintainerScript(s *scanner, n int, line string) {
	if g := dpkgFailed.FindStringSubmatch(line); g != nil {
		m.dpkg = &pending{text: g[1], n: n, raw: line, file: m.previous}
		return
	}
	p := m.dpkg
	if p == nil {
		return
	}
	m.dpkg = nil
	what := strings.TrimSpace(line)
	if strings.Contains(what, "trying to overwrite") {
		return // a rule has it
	}
	if strings.HasPrefix(what, "dependency problems") {
		s.add(tool, job.Finding{Severity: "error", Message: p.text + ": " + what, LogLine: n, Rule: "dpkg"}, line)
		return
	}
	if g := dpkgScript.FindStringSubmatch(line); g != nil && p.file != "" {
		what = g[1] + ": " + p.file
	}
	s.add(cause, job.Finding{Severity: "error", Message: p.text + ": " + what, LogLine: p.n, Rule: "maintainer-script"}, p.raw)
}

// rpm reads its indented lists.
func (m *multiLine) rpm(s *scanner, n int, line string) {
	switch {
	case strings.HasPrefix(line, "error: Failed build dependencies:"):
		m.listing = "needed"
	case strings.HasPrefix(strings.TrimSpace(line), "error: Installed (but unpackaged) file(s) found:"),
		strings.HasPrefix(strings.TrimSpace(line), "Installed (but unpackaged) file(s) found:"):
		m.listing = "unpackaged"
	case m.listing == "":
	case strings.TrimLeft(line, " \t") == line || strings.TrimSpace(line) == "":
		m.listing = ""
	case m.listing == "needed":
		if g := neededBy.FindStringSubmatch(line); g != nil {
			s.add(cause, job.Finding{Severity: "error", Message: g[1], LogLine: n, Rule: "build-requires"}, line)
		}
	case strings.HasPrefix(strings.TrimSpace(line), "/"):
		s.add(cause, job.Finding{Severity: "error", File: s.sources.alias["spec"], Message: "installed, but in no %files list: " + strings.TrimSpace(line), LogLine: n, Rule: "unpackaged"}, line)
	}
}

// end gives up on what is still open.
func (m *multiLine) end(s *scanner) {
	if p := m.cmake; p != nil && p.text != "" {
		s.add(cause, job.Finding{Severity: "error", File: s.path(p.file), Line: p.line, Message: p.text, LogLine: p.n, Rule: "cmake"}, p.raw)
	}
	m.cmake = nil
}
