package upstream

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// hostPlaces reads this machine's own apt sources, one-line and deb822, and
// gives those of its own distribution: the suites that begin with its codename.
// Other vendors' repositories on the machine are no part of a base system.
func hostPlaces(aptDir, osRelease string) ([]place, error) {
	codename, err := hostCodename(osRelease)
	if err != nil {
		return nil, err
	}
	var lines []line
	files, _ := filepath.Glob(filepath.Join(aptDir, "sources.list.d", "*"))
	for _, f := range append([]string{filepath.Join(aptDir, "sources.list")}, files...) {
		text, err := os.ReadFile(f)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		switch filepath.Ext(f) {
		case ".list":
			lines = append(lines, oneLine(string(text))...)
		case ".sources":
			lines = append(lines, deb822(string(text))...)
		}
	}
	var places []place
	for _, l := range lines {
		if !strings.HasPrefix(l.suite, codename) || !strings.HasPrefix(l.uri, "http") || !slices.Contains(l.components, "main") {
			continue
		}
		address := strings.TrimSuffix(l.uri, "/") + "/"
		i := slices.IndexFunc(places, func(p place) bool { return p.address == address && slices.Equal(p.components, l.components) })
		if i < 0 {
			places = append(places, place{address: address, components: l.components})
			i = len(places) - 1
		}
		if !slices.Contains(places[i].suites, l.suite) {
			places[i].suites = append(places[i].suites, l.suite)
		}
	}
	if len(places) == 0 {
		return nil, fmt.Errorf("this machine has no apt sources of its own distribution (%s) in %s", codename, aptDir)
	}
	return places, nil
}

// line is one source: an address, a suite and its components.
type line struct {
	uri, suite string
	components []string
}

func hostCodename(file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if name, ok := strings.CutPrefix(s.Text(), "VERSION_CODENAME="); ok {
			return strings.Trim(name, `"`), nil
		}
	}
	return "", fmt.Errorf("%s says no VERSION_CODENAME", file)
}

func oneLine(text string) []line {
	var out []line
	for l := range strings.SplitSeq(text, "\n") {
		l, _, _ = strings.Cut(l, "#")
		if i, j := strings.Index(l, "["), strings.Index(l, "]"); i >= 0 && j > i {
			l = l[:i] + l[j+1:]
		}
		if f := strings.Fields(l); len(f) >= 4 && f[0] == "deb" {
			out = append(out, line{f[1], f[2], f[3:]})
		}
	}
	return out
}

func deb822(text string) []line {
	var out []line
	for stanza := range strings.SplitSeq(text, "\n\n") {
		fields := map[string]string{}
		last := ""
		for l := range strings.SplitSeq(stanza, "\n") {
			switch {
			case strings.HasPrefix(l, "#") || l == "":
			case l[0] == ' ' || l[0] == '\t':
				fields[last] += " " + strings.TrimSpace(l)
			default:
				k, v, _ := strings.Cut(l, ":")
				last = strings.ToLower(k)
				fields[last] = strings.TrimSpace(v)
			}
		}
		if fields["enabled"] == "no" || !slices.Contains(strings.Fields(fields["types"]), "deb") {
			continue
		}
		for _, uri := range strings.Fields(fields["uris"]) {
			for _, suite := range strings.Fields(fields["suites"]) {
				out = append(out, line{uri, suite, strings.Fields(fields["components"])})
			}
		}
	}
	return out
}
