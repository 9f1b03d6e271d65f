package sandbox_test

import (
	"bytes"
	"strings"
	"testing"

	"sluice/internal/job"
	"sluice/internal/sandbox"
)

// box gives a box on Debian's install root.
func box(t *testing.T, l job.Limits) *sandbox.Box {
	t.Helper()
	s, err := debian()
	if err != nil {
		t.Fatal(err)
	}
	b := must[*sandbox.Box](t)(shared.m.New(t.Context(), sandbox.BoxOptions{Name: t.Name(), Layers: []sandbox.Layer{s.layer}, Limits: l, Repositories: s.handler}))
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

// sh runs a script and gives what it printed.
func sh(t *testing.T, b *sandbox.Box, user, script string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	err := b.Run(t.Context(), sandbox.Command{Args: []string{"sh", "-c", script}, User: user, Stdout: &out, Stderr: &out})
	return strings.TrimSpace(out.String()), err
}

func TestBox(t *testing.T) {
	b := box(t, job.Limits{})
	for _, user := range []string{sandbox.Root, sandbox.Builder} {
		out, err := sh(t, b, user, "id; hostname; env; cat /proc/self/uid_map; ls -la / /dev /proc/self/fd; cat /proc/mounts; grep Cap /proc/self/status; ls /proc; cat /proc/1/environ; readlink /proc/1/exe")
		t.Log(out, err)
	}
}
