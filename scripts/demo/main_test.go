package main

import (
	"errors"
	"os"
	"strings"
	"testing"
)

// Nothing of what is over is left to be found: no process id, no address.
func TestTheEndLeavesNothing(t *testing.T) {
	t.Setenv("DEMO_DIR", t.TempDir())
	p, err := openPlace(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	d := &demo{place: p, service: &service{url: "http://127.0.0.1:1"}, gerrit: nil}
	if err := os.WriteFile(p.path("serve.pid"), []byte("0"), 0o644); err != nil {
		t.Fatal(err)
	}
	d.end()
	if _, err := os.Stat(p.path("serve.pid")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the process id is still there: %v", err)
	}
	if words := strings.Join(d.lastWords(false), " "); strings.Contains(words, "http") || !strings.Contains(words, p.dir) {
		t.Errorf("of a demo that has ended it says: %s", words)
	}
	d.gerrit = &gerrit{url: "http://127.0.0.1:2"}
	if words := strings.Join(d.lastWords(true), " "); !strings.Contains(words, d.service.url) || !strings.Contains(words, "Ctrl-C") {
		t.Errorf("of a demo that stays it says: %s", words)
	}
}
