package gerrit_test

import (
	"context"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"sluice/internal/gerrit"
	"sluice/internal/testenv"
)

// What docs/operations.md tells people to run signs an event, and what it tells
// them to write for Gerrit's plugin is an address that is let in.
func TestWebhookAsDocumented(t *testing.T) {
	doc, err := os.ReadFile(filepath.Join(testenv.ModuleRoot(t), "docs/operations.md"))
	if err != nil {
		t.Fatal(err)
	}
	shell := regexp.MustCompile("(?s)```sh\n([^`]*X-Sluice-Signature[^`]*)```").FindSubmatch(doc)
	address := regexp.MustCompile(`(?m)^  url = https://sluice.example.com(/hooks/gerrit/main\?secret=)`).FindSubmatch(doc)
	if shell == nil || address == nil {
		t.Fatal("docs/operations.md says neither how an event is signed, nor what Gerrit's plugin is told")
	}
	events := 0
	server := httptest.NewServer(&gerrit.Webhook{Secret: "s3cret", OnEvent: func(context.Context, gerrit.Event) error {
		events++
		return nil
	}})
	defer server.Close()
	dir := t.TempDir()
	for name, text := range map[string]string{"webhook-secret": "s3cret\n", "event.json": string(recorded(t)[1])} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	signed := strings.NewReplacer("/etc/sluice/", "", "https://sluice.example.com", server.URL, "curl -sS", "curl -sS --fail-with-body").Replace(string(shell[1]))
	plugin := "curl -sS --fail-with-body --data-binary @event.json '" + server.URL + string(address[1]) + "s3cret'"
	for _, line := range []string{signed, plugin} {
		cmd := exec.Command("bash", "-euc", line)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s\n%v: %s", line, err, out)
		}
	}
	if events != 2 {
		t.Errorf("%d events came", events)
	}
}
