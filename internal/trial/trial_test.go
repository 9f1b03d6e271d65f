package trial_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"sluice/internal/config"
	"sluice/internal/trial"
)

// The site file of the demo and of the long story is one that the service takes.
func TestTheSiteIsValid(t *testing.T) {
	text := trial.Site("http://127.0.0.1:8080", "/data", trial.Gerrit{URL: "http://127.0.0.1:1", SSH: "127.0.0.1:2", User: "gate",
		TokenFile: "/token", KeyFile: "/key", KnownHostsFile: "/known_hosts"}) + trial.RealDists("/distro", "packages/*")
	site, _, err := config.Parse("site.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	var targets []string
	for _, x := range site.Targets {
		targets = append(targets, x.Name())
	}
	if strings.Join(targets, " ") != strings.Join(trial.Targets, " ") {
		t.Errorf("targets are %v", targets)
	}
}

// A program ends in order, or by force; its words are kept.
func TestProcess(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	p, err := trial.StartLogged(exec.Command("sh", "-c", "echo first; echo last; exec sleep infinity"), log)
	if err != nil {
		t.Fatal(err)
	}
	for said := ""; !strings.Contains(said, "last"); {
		text, err := os.ReadFile(log)
		if err != nil {
			t.Fatal(err)
		}
		said = string(text)
	}
	if err := p.Stop(); err != nil {
		t.Error(err)
	}
	if got := trial.Tail(log, 1); got != "last" {
		t.Errorf("its last words are %q", got)
	}
	if p, err = trial.Start(exec.Command("sleep", "infinity")); err != nil {
		t.Fatal(err)
	}
	p.Kill()
	if p.Err == nil {
		t.Error("a program that was killed has ended well")
	}
	if _, err := trial.Start(exec.Command("/nowhere")); err == nil {
		t.Error("a program that is not there was started")
	}
}
