package main

import (
	"bytes"
	"compress/gzip"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// built bundles the page from the committed sources.
func built(t *testing.T) map[string][]byte {
	t.Helper()
	files, err := Build("..")
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// TestDistIsFresh: the committed files are what the committed sources make.
func TestDistIsFresh(t *testing.T) {
	files := built(t)
	for name, data := range files {
		committed, err := os.ReadFile(filepath.Join("../dist", name))
		if err != nil {
			t.Errorf("%v: run `go run ./web/build`", err)
		} else if !bytes.Equal(committed, data) {
			t.Errorf("web/dist/%s is stale: run `go run ./web/build` and commit what it changes", name)
		}
	}
	entries, err := os.ReadDir("../dist")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if files[e.Name()] == nil {
			t.Errorf("web/dist/%s is made from nothing: run `go run ./web/build`", e.Name())
		}
	}
}

// TestNothingFromOutside: the bundle needs no node_modules, and names no other
// place than the service.
func TestNothingFromOutside(t *testing.T) {
	for name := range libraries {
		if _, err := os.Stat(filepath.Join("../vendor", libraries[name])); err != nil {
			t.Error(err)
		}
	}
	for name, data := range built(t) {
		text := strings.ReplaceAll(string(data), "http://www.w3.org/", "") // names of XML languages
		for _, bad := range []string{"http://", "https://", "eval(", "new Function"} {
			if strings.Contains(text, bad) {
				t.Errorf("dist/%s holds %q", name, bad)
			}
		}
	}
	html := string(built(t)["index.html"])
	for _, bad := range []string{"<style", "style=", "onclick", "<script>"} {
		if strings.Contains(html, bad) {
			t.Errorf("index.html holds %q, which the Content-Security-Policy forbids", bad)
		}
	}
}

// TestSize: the whole page, as a browser fetches it, is below 60 kB.
func TestSize(t *testing.T) {
	total := 0
	for _, data := range built(t) {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		_, _ = z.Write(data)
		_ = z.Close()
		total += b.Len()
	}
	t.Logf("%d bytes", total)
	if total > 60_000 {
		t.Errorf("the page is %d bytes compressed; at most 60000 are allowed", total)
	}
}

// TestBuildNamesTheMistake: an error in a source says where it is.
func TestBuildNamesTheMistake(t *testing.T) {
	dir := t.TempDir()
	if err := os.CopyFS(filepath.Join(dir, "vendor"), os.DirFS("../vendor")); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(filepath.Join(dir, "src"), os.DirFS("../src")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "src/words.ts"), []byte("export const a = ;\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Build(dir)
	if err == nil || !strings.Contains(err.Error(), "src/words.ts:1:17") {
		t.Errorf("got %v, want an error at src/words.ts:1:17", err)
	}
}
