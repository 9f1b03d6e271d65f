package main

import (
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// installing runs a line of shell with what install.sh says and does beside its
// list of packages.
func installing(t *testing.T, line string) (words string, err error) {
	t.Helper()
	const parts = `sed -n '/^say()/p; /^die()/p; /^# quietly /,/^# Nothing /p' ../install.sh`
	out, err := exec.CommandContext(t.Context(), "bash", "-c", "set -euo pipefail; source <("+parts+"); EVERY=0.1; "+line).CombinedOutput()
	return string(out), err
}

// Whoever waits for an installation is told how far it is; what fails, why.
func TestInstallingIsNotSilent(t *testing.T) {
	// It lasts until what is said of it has come.
	words, err := installing(t, `said=$(mktemp); trap 'rm "$said"' EXIT
		quietly "installing many" bash -c 'printf "first\nUnpacking second\n\n"; until grep -q second "$0"; do sleep 0.05; done' "$said" 2>"$said"
		cat "$said"; echo after`)
	if err != nil || !regexp.MustCompile(`(?m)^install: installing many: \d+ s; Unpacking second$`).MatchString(words) || !strings.HasSuffix(words, "\nafter\n") {
		t.Errorf("%v:\n%s", err, words)
	}
	words, err = installing(t, `quietly "installing many" true; echo after`)
	if err != nil || words != "after\n" {
		t.Errorf("what is done at once: %v:\n%s", err, words)
	}
	words, err = installing(t, `quietly "installing many" bash -c 'echo no such package; exit 3'; echo after`)
	if err == nil || !strings.Contains(words, "no such package\n") || !strings.Contains(words, "error: failed: bash") || strings.Contains(words, "after") {
		t.Errorf("what fails: %v:\n%s", err, words)
	}
}
