package config

import (
	"net"
	"net/url"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"unicode"
)

// checks are the shapes that a text can be held to, by the name in the tag
// "check". Each returns the text in its tidy form, or a complaint that says
// what to write. An empty text is "not given" and passes where that makes sense.
var checks = map[string]func(string) (tidy, complaint string){
	"file":     checkFile,
	"inside":   checkInside,
	"url":      checkURL,
	"hostport": checkHostPort,
	"glob":     checkGlob,
	"name":     byPattern("name", "a name is of a-z, 0-9 and . + _ -, and begins with a letter or a digit"),
	"word":     byPattern("word", "a word is of letters, digits and . + _ : @ -"),
	"host":     byPattern("host", "a host name is of a-z, 0-9 and -"),
	"package":  byPattern("package", "a package's name is of letters, digits and . + _ - :"),
	"target":   byPattern("target", "a target is RELEASE/DIST: juno/el-9"),
	"line":     checkLine,
}

// patterns are the regular expressions of those checks that have one; the
// schema shows them too.
var patterns = map[string]string{
	"name":    `^[a-z0-9][a-z0-9.+_-]{0,62}$`,
	"word":    `^[A-Za-z0-9][A-Za-z0-9.+_:@-]{0,62}$`,
	"host":    `^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`,
	"package": `^[A-Za-z0-9@][A-Za-z0-9.+_:@~=-]{0,254}$`,
	"target":  `^[a-z0-9][a-z0-9.+_-]{0,62}/[a-z0-9][a-z0-9.+_-]{0,62}$`,
}

// envName is the shape of an environment variable's name.
var envName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

func byPattern(name, complaint string) func(string) (string, string) {
	re := regexp.MustCompile(patterns[name])
	return func(text string) (string, string) {
		if re.MatchString(text) {
			return text, ""
		}
		if lower := strings.ToLower(text); re.MatchString(lower) {
			return "", `write it in lower case: "` + lower + `"`
		}
		return "", complaint
	}
}

// checkFile wants a path on this machine. It is absolute, for nobody knows
// which folder a service is started in.
func checkFile(text string) (string, string) {
	if text == "" {
		return "", ""
	}
	if !filepath.IsAbs(text) || strings.ContainsFunc(text, unicode.IsControl) {
		return "", "it must be a path from the root of this machine: /etc/sluice/…"
	}
	return filepath.Clean(text), ""
}

// checkInside wants a path inside a project that cannot leave it.
func checkInside(text string) (string, string) {
	const complaint = "it must be a path inside the project: tests/install.sh"
	switch {
	case text == "":
		return "", ""
	case len(text) > 1024 || path.IsAbs(text) || strings.HasPrefix(text, "-") || strings.ContainsFunc(text, unicode.IsControl) || strings.Contains(text, `\`):
		return "", complaint
	}
	tidy := path.Clean(text)
	first, _, _ := strings.Cut(tidy, "/")
	if first == ".." || first == ".git" || strings.Contains("/"+text+"/", "/../") {
		return "", complaint + ", without .."
	}
	return tidy, ""
}

func checkURL(text string) (string, string) {
	if text == "" {
		return "", ""
	}
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "":
		return "", "it must be an address: http://host:port/path or https://…"
	case u.User != nil:
		return "", "an address holds no user or password here"
	case u.RawQuery != "" || u.Fragment != "" || strings.ContainsFunc(text, unicode.IsSpace):
		return "", "an address ends before any ? or # here"
	}
	if port := u.Port(); port != "" && !isPort(port) {
		return "", "a port is a number from 1 to 65535"
	}
	return strings.TrimRight(text, "/"), ""
}

func checkHostPort(text string) (string, string) {
	if text == "" {
		return "", ""
	}
	host, port, err := net.SplitHostPort(text)
	if err != nil || strings.ContainsFunc(host, unicode.IsSpace) {
		return "", "it must be host:port: 127.0.0.1:8080"
	}
	if !isPort(port) {
		return "", "a port is a number from 1 to 65535"
	}
	return text, ""
}

func isPort(text string) bool {
	n, err := strconv.Atoi(text)
	return err == nil && n >= 1 && n <= 65535
}

func checkGlob(text string) (string, string) {
	if text == "" || len(text) > 256 || strings.ContainsFunc(text, unicode.IsControl) {
		return "", `write a pattern: packages/*, or "**" for everything`
	}
	if strings.ContainsAny(text, "[]{}?\\") {
		return "", "a pattern knows * and ** only"
	}
	return text, ""
}

func checkLine(text string) (string, string) {
	if strings.TrimSpace(text) != text || text == "" || strings.ContainsFunc(text, unicode.IsControl) {
		return "", "it must be one line of text"
	}
	return text, ""
}

// Glob reports whether name matches a pattern of the site file: * is any
// text without a slash, ** any text.
func Glob(pattern, name string) bool {
	// Each pair of places is tried once, so the work is at most
	// len(pattern)·len(name)² whatever the pattern.
	type place struct{ p, n int }
	seen := map[place]bool{}
	var match func(p, n int) bool
	match = func(p, n int) bool {
		for ; p < len(pattern) && pattern[p] != '*'; p, n = p+1, n+1 {
			if n == len(name) || pattern[p] != name[n] {
				return false
			}
		}
		if p == len(pattern) {
			return n == len(name)
		}
		if seen[place{p, n}] {
			return false
		}
		seen[place{p, n}] = true
		deep := strings.HasPrefix(pattern[p:], "**")
		after := p + 1
		if deep {
			after++
		}
		for end := n; ; end++ {
			if match(after, end) {
				return true
			}
			if end == len(name) || !deep && name[end] == '/' {
				return false
			}
		}
	}
	return match(0, 0)
}
