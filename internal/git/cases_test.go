package git

import (
	"fmt"
	"strings"
)

// history is one case of the corpus: a branch, and the changes that are
// submitted to it in order.
type history struct {
	tip     string
	changes []string
	side    string // what the changes stand on, where that is on another branch
}

func numbered(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "line %d\n", i)
	}
	return b.String()
}

// changed replaces one line.
func changed(text string, line int, by string) string {
	return strings.Replace(text, fmt.Sprintf("line %d\n", line), by, 1)
}

// pair is the plain case: both sides change the same tree.
func pair(base, ours, theirs files) trio { return trio{base, base.with(ours), base.with(theirs)} }

// trio is a tree and two edits of it.
type trio struct{ base, ours, theirs files }

func (c trio) build(b *builder) history {
	root := b.commit(c.base)
	return history{tip: b.commit(c.ours, root), changes: []string{b.commit(c.theirs, root)}}
}

// together puts cases side by side, each into a folder of its own.
func together(names []string) trio {
	all := trio{files{}, files{}, files{}}
	for _, name := range names {
		c := pairs[name]
		for i, f := range []files{c.base, c.ours, c.theirs} {
			for path, content := range f {
				[]files{all.base, all.ours, all.theirs}[i][name+"/"+path] = content
			}
		}
	}
	return all
}

var (
	ten   = numbered(10)
	subA  = "@ " + strings.Repeat("a", 40)
	subB  = "@ " + strings.Repeat("b", 40)
	subC  = "@ " + strings.Repeat("c", 40)
	plain = files{"f": ten, "g": "g\n", "d/e": "e\n"}
)

// pairs are merged by us and by a real Gerrit.
var pairs = map[string]trio{
	"different-files":      pair(plain, files{"f": "new\n"}, files{"g": "new\n"}),
	"different-lines":      pair(plain, files{"f": changed(ten, 1, "ours\n")}, files{"f": changed(ten, 8, "theirs\n")}),
	"same-line":            pair(plain, files{"f": changed(ten, 5, "ours\n")}, files{"f": changed(ten, 5, "theirs\n")}),
	"same-edit":            pair(plain, files{"f": changed(ten, 5, "both\n")}, files{"f": changed(ten, 5, "both\n")}),
	"same-edit-and-more":   pair(plain, files{"f": changed(ten, 5, "both\n")}, files{"f": changed(changed(ten, 5, "both\n"), 9, "x\n")}),
	"adjacent-lines":       pair(plain, files{"f": changed(ten, 4, "ours\n")}, files{"f": changed(ten, 5, "theirs\n")}),
	"one-line-between":     pair(plain, files{"f": changed(ten, 4, "ours\n")}, files{"f": changed(ten, 6, "theirs\n")}),
	"both-append":          pair(plain, files{"f": ten + "ours\n"}, files{"f": ten + "theirs\n"}),
	"insert-beside-delete": pair(plain, files{"f": changed(ten, 4, "")}, files{"f": changed(ten, 5, "new\nline 5\n")}),
	"add-same":             pair(plain, files{"n": "new\n"}, files{"n": "new\n"}),
	"add-different":        pair(plain, files{"n": "ours\n"}, files{"n": "theirs\n"}),
	"add-same-other-mode":  pair(plain, files{"n": "new\n"}, files{"n": "+x new\n"}),
	"delete-modify":        pair(plain, files{"f": gone}, files{"f": changed(ten, 5, "x\n")}),
	"modify-delete":        pair(plain, files{"f": changed(ten, 5, "x\n")}, files{"f": gone}),
	"delete-mode":          pair(plain, files{"f": gone}, files{"f": "+x " + ten}),
	"delete-both":          pair(plain, files{"d/e": gone}, files{"d/e": gone, "g": "x\n"}),
	"empty-modify":         pair(plain, files{"f": ""}, files{"f": changed(ten, 5, "x\n")}),
	"empty-both":           pair(plain, files{"f": ""}, files{"f": "", "g": "x\n"}),
	"mode-and-edit":        pair(plain, files{"f": "+x " + ten}, files{"f": changed(ten, 5, "x\n")}),
	"mode-and-binary":      pair(plain.with(files{"f": "a\x00b"}), files{"f": "+x a\x00b"}, files{"f": "c\x00d"}),
	"mode-both":            pair(plain, files{"f": "+x " + ten}, files{"f": "+x " + changed(ten, 5, "x\n")}),
	"link-moved-here":      pair(plain.with(files{"l": "-> f"}), files{"l": "-> g"}, files{"g": "x\n"}),
	"link-moved-both":      pair(plain.with(files{"l": "-> f"}), files{"l": "-> g"}, files{"l": "-> d"}),
	"link-and-file":        pair(plain, files{"f": "-> g"}, files{"f": changed(ten, 5, "x\n")}),
	"file-to-folder":       pair(plain, files{"f": gone, "f/x": "x\n"}, files{"f": changed(ten, 5, "x\n")}),
	"file-to-folder-clean": pair(plain, files{"f": gone, "f/x": "x\n"}, files{"g": "x\n"}),
	"folder-to-file":       pair(plain, files{"d/e": gone, "d": "d\n"}, files{"d/n": "n\n"}),
	"folder-to-file-clean": pair(plain, files{"g": "x\n"}, files{"d/e": gone, "d": "d\n"}),
	"folder-gone-or-file":  pair(plain, files{"d/e": gone}, files{"d/e": gone, "d": "d\n"}),
	"folder-and-file-new":  pair(plain, files{"n/x": "x\n"}, files{"n": "n\n"}),
	"rename-and-edit":      pair(plain, files{"f": gone, "r": ten}, files{"f": changed(ten, 5, "x\n")}),
	"rename-folder-and-add": pair(plain.with(files{"d/e": ten, "d/g": "g\n"}), files{"d/e": gone, "d/g": gone, "n/e": ten, "n/g": "g\n"},
		files{"d/new": "new\n"}),
	"union-attribute": pair(plain.with(files{".gitattributes": "* merge=union\n"}), files{"f": "ours\n" + ten}, files{"f": "theirs\n" + ten}),
	"binary-attribute": pair(plain.with(files{".gitattributes": "* -merge\n"}), files{"f": changed(ten, 1, "ours\n")},
		files{"f": changed(ten, 8, "theirs\n")}),
	"submodule-here":       pair(plain.with(files{"s": subA}), files{"s": subB}, files{"g": "x\n"}),
	"submodule-both":       pair(plain.with(files{"s": subA}), files{"s": subB}, files{"s": subC}),
	"submodule-both-same":  pair(plain.with(files{"s": subA}), files{"s": subB}, files{"s": subB}),
	"submodule-or-file":    pair(plain.with(files{"s": subA}), files{"s": subB}, files{"s": "file\n"}),
	"submodule-deleted":    pair(plain.with(files{"s": subA}), files{"s": gone}, files{"s": subB}),
	"binary-both":          pair(plain.with(files{"f": "a\x00b\n" + ten}), files{"f": "x\n" + "a\x00b\n" + ten}, files{"f": "a\x00b\n" + ten + "y\n"}),
	"carriage-returns":     pair(plain.with(files{"f": strings.ReplaceAll(ten, "\n", "\r\n")}), files{"f": "x\r\n" + strings.ReplaceAll(ten, "\n", "\r\n")}, files{"f": strings.ReplaceAll(ten, "\n", "\r\n") + "y\r\n"}),
	"carriage-return-lone": pair(plain.with(files{"f": "a\rb\n" + ten}), files{"f": "x\na\rb\n" + ten}, files{"f": "a\rb\n" + ten + "y\n"}),
	"line-ends-converted":  pair(plain, files{"f": strings.ReplaceAll(ten, "\n", "\r\n")}, files{"f": changed(ten, 5, "x\n")}),
	"no-feed-at-end":       pair(plain.with(files{"f": ten + "end"}), files{"f": "x\n" + ten + "end"}, files{"f": changed(ten, 8, "y\n") + "end"}),
	"feed-added-at-end":    pair(plain.with(files{"f": ten + "end"}), files{"f": "x\n" + ten + "end"}, files{"f": ten + "end\n"}),
	"feed-taken-at-end":    pair(plain, files{"f": changed(ten, 0, "x\n")}, files{"f": strings.TrimSuffix(ten, "\n")}),
	"last-line-deleted":    pair(plain.with(files{"f": ten + "end"}), files{"f": changed(ten, 0, "x\n") + "end"}, files{"f": ten}),
	"blank-lines":          pair(plain.with(files{"f": "\n\n" + ten + "\n\n"}), files{"f": "\n" + ten + "\n\n"}, files{"f": "\n\n" + ten + "\n"}),
	"frequent-lines": pair(plain.with(files{"f": "a\n" + strings.Repeat("same\n", 100) + "b\n"}),
		files{"f": "A\n" + strings.Repeat("same\n", 60) + "new\n" + strings.Repeat("same\n", 40) + "b\n"},
		files{"f": "a\n" + strings.Repeat("same\n", 90) + "more\n" + strings.Repeat("same\n", 10) + "B\n"}),
	"odd-names":    pair(plain.with(files{"\xff\xfe": ten, "new\nline": ten}), files{"\xff\xfe": "x\n" + ten}, files{"\xff\xfe": ten + "y\n", "new\nline": "z\n"}),
	"made-already": pair(plain, files{"g": "x\n", "n": "n\n"}, files{"g": "x\n"}),
}

// histories are the cases that are more than two edits of a tree.
var histories = map[string]func(*builder) history{
	"fast-forward": func(b *builder) history {
		root := b.commit(plain)
		return history{tip: root, changes: []string{b.commit(plain.with(files{"g": "x\n"}), root)}}
	},
	"empty": func(b *builder) history {
		root := b.commit(plain)
		return history{tip: b.commit(plain.with(files{"g": "x\n"}), root), changes: []string{b.commit(plain, root)}}
	},
	"empty-fast-forward": func(b *builder) history {
		root := b.commit(plain)
		return history{tip: root, changes: []string{b.commit(plain, root)}}
	},
	"chain": func(b *builder) history {
		root := b.commit(plain)
		one := b.commit(plain.with(files{"f": changed(ten, 8, "one\n")}), root)
		two := b.commit(plain.with(files{"f": changed(changed(ten, 8, "one\n"), 9, "two\n")}), one)
		return history{tip: b.commit(plain.with(files{"f": changed(ten, 0, "x\n")}), root), changes: []string{one, two}}
	},
	"merge-commit": func(b *builder) history {
		root := b.commit(plain)
		side := b.commit(plain.with(files{"n": "n\n"}), root)
		main := b.commit(plain.with(files{"g": "x\n"}), root)
		tip := b.commit(plain.with(files{"g": "x\n", "f": changed(ten, 1, "tip\n")}), main)
		return history{tip: tip, side: side, changes: []string{b.commit(plain.with(files{"g": "x\n", "n": "n\n"}), main, side)}}
	},
	"merge-commit-forward": func(b *builder) history {
		root := b.commit(plain)
		side := b.commit(plain.with(files{"n": "n\n"}), root)
		main := b.commit(plain.with(files{"g": "x\n"}), root)
		return history{tip: main, side: side, changes: []string{b.commit(plain.with(files{"g": "x\n", "n": "n\n"}), main, side)}}
	},
	"criss-cross":          crissCross(files{"f": changed(ten, 1, "x\n")}, files{"f": changed(ten, 8, "y\n")}, nil, files{"f": changed(changed(ten, 1, "x\n"), 8, "y\n")}),
	"criss-cross-conflict": crissCross(files{"f": changed(ten, 5, "x\n")}, files{"f": changed(ten, 5, "y\n")}, files{"f": changed(ten, 5, "x\n")}, files{"f": changed(ten, 5, "y\n")}),
	"criss-cross-resolved": crissCross(files{"f": changed(ten, 5, "x\n")}, files{"f": changed(ten, 5, "y\n")}, files{"f": changed(ten, 5, "z\n")}, files{"f": changed(ten, 5, "z\n")}),
	"criss-cross-delete":   crissCross(files{"f": gone}, files{"f": changed(ten, 5, "y\n")}, files{"f": gone}, files{"f": gone, "n": "n\n"}),
	"criss-cross-link":     crissCross(files{"f": "-> x"}, files{"f": "-> y"}, files{"f": "-> x"}, files{"f": "-> x"}),
	"criss-cross-module":   crissCross(files{"f": subA}, files{"f": subB}, files{"f": subA}, files{"f": subA, "n": "n\n"}),
	"criss-cross-folder":   crissCross(files{"n": "n\n"}, files{"n/x": "n\n"}, files{"n": "n\n"}, files{"n": "n\n", "g": "x\n"}),
	"criss-cross-mode":     crissCross(files{"n": "n\n"}, files{"n": "+x n\n"}, files{"n": "n\n"}, files{"n": "n\n", "g": "x\n"}),
	"criss-cross-binary":   crissCross(files{"f": "a\x00b"}, files{"f": "c\x00d"}, files{"f": "a\x00b"}, files{"f": "a\x00b", "n": "n\n"}),
	"criss-cross-twice": func(b *builder) history {
		h := crissCross(files{"f": changed(ten, 1, "x\n")}, files{"f": changed(ten, 8, "y\n")}, nil, files{"f": changed(changed(ten, 1, "x\n"), 8, "y\n")})(b)
		// A second criss-cross on top of the first.
		f := changed(changed(ten, 1, "x\n"), 8, "y\n")
		left := b.commit(plain.with(files{"f": f, "l": "l\n"}), h.tip)
		right := b.commit(plain.with(files{"f": f, "r": "r\n"}), h.side)
		both := plain.with(files{"f": f, "l": "l\n", "r": "r\n"})
		side := b.commit(both, right, left)
		tip := b.commit(both.with(files{"f": changed(f, 4, "tip\n")}), left, right)
		return history{tip: tip, side: side, changes: []string{b.commit(both.with(files{"l": "L\n"}), side)}}
	},
}

// crissCross: two lines of history, each merged into the other, so that there
// are two best common ancestors.
func crissCross(left, right, merged1, merged2 files) func(*builder) history {
	return func(b *builder) history {
		root := b.commit(plain)
		l, r := b.commit(plain.with(left), root), b.commit(plain.with(right), root)
		both := plain.with(left).with(right)
		for _, clash := range []string{"n", "f"} { // a name is either a file or a folder
			if _, ok := both[clash]; ok {
				for path := range both {
					if strings.HasPrefix(path, clash+"/") {
						delete(both, path)
					}
				}
			}
		}
		if merged1 == nil {
			merged1 = merged2
		}
		side := b.commit(both.with(merged2), r, l)
		tip := b.commit(both.with(merged1).with(files{"d/e": "tip\n"}), l, r)
		return history{tip: tip, side: side, changes: []string{b.commit(both.with(merged2).with(files{"d/new": "change\n"}), side)}}
	}
}
