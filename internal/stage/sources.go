package stage

import (
	"bytes"
	"context"
	"errors"
	"path"
	"strings"

	"sluice/internal/sandbox"
)

// sources is the present map from what tools print to the source tree.
func (a *attempt) sources() sourceMap {
	a.log.mu.Lock()
	defer a.log.mu.Unlock()
	return a.log.scan.sources
}

// mapSources tells the finders where in the box the source tree is: base is
// the directory, prefix its place in the tree, alias names further files.
func (a *attempt) mapSources(base, prefix string, alias map[string]string) {
	if prefix == "." {
		prefix = ""
	}
	a.log.mu.Lock()
	defer a.log.mu.Unlock()
	a.log.scan.sources = sourceMap{base: base, prefix: prefix, alias: alias}
	if a.tree != nil {
		a.log.scan.sources.files = a.tree.files
	}
}

// prefixed is the path in the tree of a file of its packaging folder.
func (m sourceMap) prefixed(name string) string { return path.Join(m.prefix, name) }

// lineOf is the first line of a file of the tree that holds word as a word
// of its own, or 0.
func (a *attempt) lineOf(file, word string) int {
	if a.tree == nil {
		return 0
	}
	part := func(r rune) bool {
		return r == '-' || r == '+' || r == '.' || r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
	}
	n := 0
	for line := range bytes.Lines(a.tree.text[file]) {
		n++
		text := string(line)
		for off := 0; ; {
			i := strings.Index(text[off:], word)
			if i < 0 {
				break
			}
			start, end := off+i, off+i+len(word)
			if (start == 0 || !part(rune(text[start-1]))) && (end >= len(text) || !part(rune(text[end]))) {
				return n
			}
			off = end
		}
	}
	return 0
}

// tee runs a command, gives its stdout, and logs those lines that keep wants.
// Nothing of it is lost to the finders.
func (a *attempt) tee(ctx context.Context, b *sandbox.Box, c sandbox.Command, keep func(line string) bool) (string, error) {
	a.log.begin()
	out := &limited{max: maxOutput}
	c.Stdout, c.Stderr = out, a.log
	err := b.Run(ctx, c)
	for line := range strings.Lines(out.String()) {
		if keep(line) {
			a.log.Write([]byte(line))
		}
	}
	if err == nil && out.over {
		err = errors.New(c.Args[0] + " printed too much")
	}
	return out.String(), a.explain(ctx, c, err)
}
