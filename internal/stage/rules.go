package stage

import (
	"regexp"
	"strings"
)

func re(s string) *regexp.Regexp { return regexp.MustCompile(s) }

// rules are tried in order; the first that matches a line is it.
var rules = []rule{
	// Compilers, and what writes as they do (autoconf, bison, rpm's scripts).
	{cause, "rror: ", re(`^(?:\s*In file included from )?(?P<file>[^\s:()'"]+\.?[^\s:()'"]*):(?P<line>\d+):(?:\d+:)? (?:fatal )?error: (?P<msg>.+)$`), "compile", nil},
	{cause, "ERROR: ", re(`^(?P<file>\S*meson\.build):(?P<line>\d+):\d+: ERROR: (?P<msg>.+)$`), "meson", nil},
	{cause, ".go:", re(`^(?:vet: )?(?P<file>\S+\.go):(?P<line>\d+):\d+: (?P<msg>.+)$`), "compile", nil},
	{cause, ": error ", re(`^(?P<file>\S+\.[a-z]+)\((?P<line>\d+)(?:,\d+)?\): error (?P<msg>.+)$`), "compile", nil},
	{cause, "Assertion", re(`(?P<file>[^\s:]+\.[a-z+]+):(?P<line>\d+): (?P<msg>.*Assertion .* failed.*)$`), "assert", nil},
	{cause, "Error", re(`^(?P<file>\S+\.py):(?P<line>\d+): (?P<msg>\w*(?:Error|Exception)\b.*)$`), "python", nil},
	// Linkers.
	{cause, "undefined reference", re("^(?:\\S*ld: )?(?:(?P<file>[^\\s:]+\\.[a-zA-Z+]+):)?(?:(?P<line>\\d+):|\\(\\.[^)]*\\):)? ?(?:.*: )?(?P<msg>undefined reference to .+)$"), "link", nil},
	{cause, "multiple definition", re(`(?P<msg>multiple definition of [^;]+)`), "link", nil},
	{cause, "cannot find -l", re(`(?P<msg>cannot find -l\S+)`), "link", func(_ *scanner, m map[string]string) {
		m["msg"] = "the linker " + strings.TrimSuffix(m["msg"], ":")
	}},
	{summary, "collect2", re(`^collect2: error: `), "link", nil},
	// configure, make, patch, shells.
	{cause, "configure: error:", re(`^configure: error: (?P<msg>.+)$`), "configure", nil},
	{cause, " *** ", re(`^(?P<file>[^\s:*]+):(?P<line>\d+): \*\*\* (?P<msg>.+?)\.?\s+Stop\.$`), "make", nil},
	{cause, "No rule to make target", re(`make(?:\[\d+\])?: \*\*\* (?P<msg>No rule to make target .+?)\.?\s+Stop\.$`), "make", nil},
	{tool, "make", re(`^make(?:\[\d+\])?: (?P<msg>[^\s:*]+: (?:No such file or directory|Permission denied|Command not found))$`), "make", nil},
	{summary, "*** [", re(`make(?:\[\d+\])?: \*\*\* \[(?:(?P<file>[^\s:\]]+):(?P<line>\d+): )?(?P<target>[^\]]+)\] (?P<how>.+)$`), "make", fixMake},
	{cause, "FAILED -- saving rejects", re(`hunks? FAILED -- saving rejects to file (?P<file>\S+)\.rej`), "patch", func(_ *scanner, m map[string]string) {
		m["msg"] = "a patch does not apply: " + m["msg"]
	}},
	{tool, "not found", re(`^(?P<file>[^\s:]+): (?:line )?(?P<line>\d+): (?P<msg>\S+: (?:command )?not found)$`), "shell", fixShell},
	{tool, "rror: ", re(`^(?P<file>[^\s:]+): (?:line )?(?P<line>\d+): (?P<msg>[Ss]yntax error: .+)$`), "shell", fixShell},
	{tool, "syntax error", re(`^(?P<file>[^\s:]+): line (?P<line>\d+): (?P<msg>syntax error.+)$`), "shell", fixShell},
	{tool, "FAIL", re(`^(?P<msg>(?:FAIL|ERROR): \S+.*)$`), "test", nil},
	{tool, "not ok ", re(`^\s*(?P<msg>not ok \d+.*)$`), "test", func(_ *scanner, m map[string]string) {
		if strings.Contains(m["msg"], "# TO"+"DO") || strings.Contains(m["msg"], "# SKIP") {
			m["drop"] = "expected"
		}
	}},
	{cause, "Can't locate", re(`^(?P<msg>Can't locate \S+ in @INC).* at (?P<file>\S+) line (?P<line>\d+)\.$`), "perl", nil},
	// dpkg and debhelper.
	{cause, "(l", re(`^(?:\S+: )?error: +(?P<file>[^\s()]+)\(l(?P<line>\d+)\): (?P<msg>.+)$`), "changelog", nil},
	{tool, "(l", re(`^\S+: warning: +(?P<file>[^\s()]+)\(l(?P<line>\d+)\): (?P<msg>.+)$`), "changelog", nil},
	{cause, "syntax error in ", re(`error: syntax error in (?P<file>\S+) at line (?P<line>\d+): (?P<msg>.+)$`), "control", nil},
	{cause, "parse error in", re(`^(?:\S+: )?error: parsing file '(?P<file>[^']+)' near line (?P<line>\d+).*: *(?P<msg>.+)$`), "control", nil},
	{cause, "Unmet build dependencies", re(`(?P<msg>Unmet build dependencies: .+)$`), "build-depends", nil},
	{cause, "dpkg-shlibdeps: error: ", re(`^dpkg-shlibdeps: error: (?P<msg>(?:no dependency information|cannot find library) .+)$`), "shlibs", nil},
	{cause, "trying to overwrite", re(`^\s*(?P<msg>trying to overwrite .+)$`), "file-conflict", nil},
	{summary, "dpkg-buildpackage: error: ", re(`^dpkg-buildpackage: error: .*(?:subprocess|gave error exit status|returned exit status).*$`), "dpkg", nil},
	{summary, "subprocess returned exit status", re(`^dpkg-[a-z]+: error: .+subprocess returned exit status`), "dpkg", nil},
	{summary, "returned exit code", re(`^dh_[a-z_]+: error: .*returned exit code`), "debhelper", nil},
	{summary, "missing files, aborting", re(`^dh_[a-z_]+: error: missing files, aborting`), "debhelper", nil},
	{tool, "Cannot find", re(`^(?P<msg>dh_[a-z_]+: (?:warning|error): .*Cannot find \(any matches for\).*)$`), "debhelper", nil},
	{tool, ": error: ", re(`^(?P<msg>dh(?:_[a-z_]+)?: error: .+)$`), "debhelper", nil},
	{tool, ": error: ", re(`^(?P<msg>dpkg-[a-z]+: error: .+)$`), "dpkg", nil},
	// rpm.
	{cause, "error: ", re(`^error: (?:(?P<file>[^\s:]+): )?line (?P<line>\d+): (?P<msg>.+)$`), "spec", func(s *scanner, m map[string]string) {
		if m["file"] == "" {
			m["file"] = s.sources.alias["spec"]
		}
	}},
	{summary, "error: Bad exit status", re(`^error: Bad exit status from \S+ \((?P<section>%\w+)\)`), "rpmbuild", fixSection},
	{cause, "File not found", re(`^(?:\s+|error: )(?P<msg>File not found: .+)$`), "rpmbuild", fixBuildRoot},
	{cause, "scriptlet failed", re(`(?P<msg>%\S+ scriptlet failed.*)$`), "scriptlet", fixScriptlet},
	{cause, "POST", re(`^(?P<msg>Error in (?:PRE|POST)\w+ scriptlet in rpm package .+)$`), "scriptlet", nil},
	{summary, "Failed build dependencies", re(`^error: Failed build dependencies:`), "build-requires", nil},
	{tool, "error: ", re(`^error: (?P<msg>.+)$`), "rpm", nil},
	// apt and dnf.
	{cause, "E: ", re(`^E: (?P<msg>(?:Unable to locate package|Package .* has no installation candidate|Version .* was not found|Couldn't find any package).*)$`), "apt", nil},
	{summary, "E: ", re(`^E: (?P<msg>(?:Unable to correct problems|Sub-process|Unmet dependencies|Some index files failed|Build-dependencies for .* could not be satisfied).*)$`), "apt", nil},
	{tool, "E: ", re(`^E: (?P<msg>.+)$`), "apt", nil},
	{cause, "nothing provides", re(`(?P<msg>nothing provides .+ needed by \S+)`), "dnf", nil},
	{cause, "No matching package to install", re(`(?P<msg>No matching package to install: '.+')`), "dnf", nil},
	{cause, "No match for argument", re(`(?P<msg>No match for argument: .+)$`), "dnf", nil},
	{tool, "Unable to find a match", re(`(?P<msg>Unable to find a match: .+)$`), "dnf", nil},
	{cause, " conflicts ", re(`^\s*(?P<msg>file \S+ (?:from install of \S+ conflicts with|conflicts between attempted installs of) .+)$`), "file-conflict", nil},
	{tool, "Problem", re(`^ *Problem(?: \d+)?: (?P<msg>.+)$`), "dnf", nil},
	{summary, "Error: ", re(`^Error: +(?P<msg>Transaction (?:test )?(?:error|failed).*)$`), "dnf", nil},
	{tool, "Error: ", re(`^Error: (?P<msg>.+)$`), "dnf", nil},
	{tool, "Segmentation fault", re(`(?P<msg>.*Segmentation fault.*)`), "signal", nil},
}

// fixMake leaves out what make ignores, and says which target failed.
func fixMake(s *scanner, m map[string]string) {
	if strings.HasSuffix(m["how"], "(ignored)") {
		m["drop"] = "ignored"
	}
	m["msg"] = "make: target " + m["target"] + ": " + m["how"] + s.lineBefore()
}

// fixSection says what a section of the spec that failed printed last.
func fixSection(s *scanner, m map[string]string) {
	m["msg"] = m["section"] + " failed" + s.lineBefore()
	if file := s.sources.alias["spec"]; file != "" {
		m["file"] = file
	}
}

// fixBuildRoot leaves out where the files are collected.
func fixBuildRoot(_ *scanner, m map[string]string) {
	m["msg"] = buildRoot.ReplaceAllString(m["msg"], "")
}

var buildRoot = re(`/\S*/BUILDROOT/[^/\s]+`)

// lineBefore is the last thing that was printed before a summary.
func (s *scanner) lineBefore() string {
	if p := s.multi.previous; p != "" && len(s.hits) == 0 {
		return "; before that: " + cutText(p, 200)
	}
	return ""
}

// dnfProgress is what dnf prints of itself, with how far it is.
var dnfProgress = re(`^\s*[A-Z][A-Za-z ]+\s*: .*\s\d+/\d+\s*$`)

// fixScriptlet adds the last thing that the scriptlet said.
func fixScriptlet(s *scanner, m map[string]string) {
	if p := s.multi.previous; p != "" && !dnfProgress.MatchString(p) {
		m["msg"] += "; before that: " + cutText(p, 200)
	}
}

// fixShell refuses /bin/sh as the file of what make's own shell said.
func fixShell(_ *scanner, m map[string]string) {
	switch m["file"] {
	case "/bin/sh", "sh", "/bin/bash", "bash":
		m["file"], m["line"] = "", ""
	}
}

// outsidePatterns are failures that no change is to blame for, whatever step
// they are seen in (G12).
var outsidePatterns = []string{"No space left on device", "Input/output error", "Read-only file system"}

// fetchPatterns are such failures where something is fetched.
var fetchPatterns = []*regexp.Regexp{
	re(`Failed to fetch .*`), re(`Could not connect to .*`), re(`Unable to connect to .*`), re(`Hash Sum mismatch`),
	re(`Curl error \(\d+\).*`), re(`Failed to download metadata for repo .*`), re(`Cannot download .*`),
	re(`The repository '.*' (?:does not have|is not signed|no longer has).*`), re(`GPG error: .*`), re(`Status code: [45]\d\d.*`),
	re(`Error downloading packages.*`), re(`repomd\.xml GPG signature verification error.*`), re(`Some index files failed to download.*`),
	re(`Connection (?:failed|refused|timed out).*`), re(`Failed to retrieve .*`), re(`Public key for .* is not installed.*`),
}

// outside notes reasons outside the change.
func (s *scanner) outside(line string) {
	if s.out.Outside == "" {
		for _, p := range outsidePatterns {
			if strings.Contains(line, p) {
				s.out.Outside = cutText(strings.TrimSpace(line), 300)
			}
		}
	}
	if s.out.Fetch == "" && strings.ContainsAny(line, ":.") {
		for _, r := range fetchPatterns {
			if m := r.FindString(line); m != "" {
				s.out.Fetch = cutText(m, 300)
				return
			}
		}
	}
}
