package git

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sort"
	"strings"
	"unicode/utf8"
)

// treeMerge merges three trees as JGit does: no renames, no attributes.
type treeMerge struct {
	objects *objects
	content bool // merge by lines what both sides changed (ResolveMerger); else refuse (SimpleTwoWayInCore)
	// virtual: this makes the common ancestor of a criss-cross history. Nothing
	// is refused: clashes go into the result, with markers or as JGit chooses.
	virtual bool
	// refuseBinary: the exception to that, in JGit before 6.10.1.
	refuseBinary bool
	conflicts    []string
	// renamed are files that were merged by lines and whose path is not UTF-8.
	// JGit writes such a path anew, as if it had been Latin-1.
	renamed map[string]entry
}

// merge returns the id of the merged tree; conflicts says what is in the way.
func (m *treeMerge) merge(base, ours, theirs string) (string, error) {
	tree := func(id string) entry { return entry{ModeTree, id} }
	e, err := m.folder("", tree(base), tree(ours), tree(theirs))
	if err != nil {
		return "", err
	}
	sort.Strings(m.conflicts)
	for _, name := range slices.Sorted(maps.Keys(m.renamed)) {
		if e, err = m.put(e, name, m.renamed[name]); err != nil {
			return "", err
		}
	}
	if e.mode == 0 {
		return m.objects.add("tree", nil), nil
	}
	return e.id, nil
}

// put adds a file to a tree.
func (m *treeMerge) put(tree entry, name string, file entry) (entry, error) {
	entries, err := m.objects.tree(tree)
	if err != nil {
		return entry{}, err
	}
	n := maps.Clone(entries)
	if n == nil {
		n = map[string]entry{}
	}
	if dir, rest, ok := strings.Cut(name, "/"); ok {
		if file, err = m.put(n[dir], rest, file); err != nil {
			return entry{}, err
		}
		name = dir
	}
	n[name] = file
	return entry{ModeTree, m.objects.add("tree", formatTree(n))}, nil
}

func (m *treeMerge) refuse(name string) entry {
	m.conflicts = append(m.conflicts, name)
	return entry{}
}

// one merges what stands at one path in the three trees.
func (m *treeMerge) one(name string, b, o, t entry) (entry, error) {
	if strings.Count(name, "/") > 2000 {
		return entry{}, fmt.Errorf("merge %.80q: folders nested over 2000 deep: %w", name, ErrTooLarge)
	}
	if m.content {
		return m.resolve(name, b, o, t)
	}
	switch {
	case o == t, b == t:
		return o, nil
	case b == o:
		return t, nil
	}
	if b.isFile() || o.isFile() || t.isFile() {
		m.refuse(name)
	}
	if b.isTree() || o.isTree() || t.isTree() {
		return m.folder(name, b, o, t)
	}
	return entry{}, nil
}

// folder merges what stands below a path. An empty result is no folder at all.
func (m *treeMerge) folder(name string, b, o, t entry) (entry, error) {
	var trees [3]map[string]entry
	names := map[string]bool{}
	for i, e := range []entry{b, o, t} {
		entries, err := m.objects.tree(e)
		if err != nil {
			return entry{}, err
		}
		trees[i] = entries
		for n := range entries {
			names[n] = true
		}
	}
	result := make(map[string]entry, len(names))
	for n := range names {
		full := n
		if name != "" {
			full = name + "/" + n
		}
		e, err := m.one(full, trees[0][n], trees[1][n], trees[2][n])
		if err != nil {
			return entry{}, err
		}
		if e.mode != 0 && e.id != emptyTree {
			result[n] = e
		}
	}
	if len(result) == 0 {
		return entry{}, nil
	}
	return entry{ModeTree, m.objects.add("tree", formatTree(result))}, nil
}

// resolve follows JGit's ResolveMerger, whose order of questions matters.
func (m *treeMerge) resolve(name string, b, o, t entry) (entry, error) {
	switch {
	case o.isFile() && t.isFile() && o.id == t.id:
		if mode, ok := mergeModes(b.mode, o.mode, t.mode); ok {
			return entry{mode, o.id}, nil
		}
		if m.virtual {
			return entry{}, nil
		}
		return m.refuse(name), nil
	case o == t, b == t:
		return o, nil
	case b == o:
		return t, nil
	}
	if b.isTree() || o.isTree() || t.isTree() {
		if o.isFile() != t.isFile() { // a file here, a folder (or nothing left of one) there
			if m.virtual {
				return entry{}, nil
			}
			return m.refuse(name), nil
		}
		if !o.isFile() {
			return m.folder(name, b, o, t)
		}
	}
	if o.isFile() && t.isFile() {
		return m.bothFiles(name, b, o, t)
	}
	return m.oneDeleted(name, b, o, t)
}

// bothFiles: both sides changed (or added) the file, each in its way.
func (m *treeMerge) bothFiles(name string, b, o, t entry) (entry, error) {
	switch {
	case anySubmodule(b, o, t):
		if m.virtual {
			return o, nil
		}
		return m.refuse(name), nil
	case o.mode == ModeSymlink || t.mode == ModeSymlink:
		if !m.virtual {
			return m.refuse(name), nil
		}
		if t.mode != ModeSymlink {
			return t, nil
		}
		return o, nil
	case b.isTree(): // Gerrit fails here with an internal error: it does not merge either
		return m.refuse(name), nil
	}
	merged, binary, err := m.texts(b, o, t)
	switch {
	case err != nil:
		return entry{}, fmt.Errorf("merge %q: %w", name, err)
	case binary && m.virtual && !m.refuseBinary:
		return o, nil
	case binary || merged.conflict && !m.virtual:
		return m.refuse(name), nil
	}
	return m.store(name, merged.bytes(), b, o, t), nil
}

// oneDeleted: one side deleted the file, or neither has it.
func (m *treeMerge) oneDeleted(name string, b, o, t entry) (entry, error) {
	edited := o.mode != 0 && o.id != b.id || t.mode != 0 && t.id != b.id
	if !edited { // a change of mode alone does not keep a file
		return entry{}, nil
	}
	switch {
	case !m.virtual:
		return m.refuse(name), nil
	case anySubmodule(b, o, t):
		return o, nil
	case o.mode == ModeSymlink || t.mode == ModeSymlink:
		if o.mode != 0 {
			return o, nil
		}
		return t, nil
	}
	merged, binary, err := m.texts(b, o, t)
	if err != nil {
		return entry{}, fmt.Errorf("merge %q: %w", name, err)
	}
	if binary {
		return m.store(name, nil, b, o, t), nil
	}
	return m.store(name, merged.bytes(), b, o, t), nil
}

func anySubmodule(es ...entry) bool {
	for _, e := range es {
		if e.mode == ModeSubmodule {
			return true
		}
	}
	return false
}

func (m *treeMerge) store(name string, data []byte, b, o, t entry) entry {
	mode, ok := mergeModes(b.mode, o.mode, t.mode)
	if !ok {
		mode = ModeFile
	}
	e := entry{mode, m.objects.add("blob", data)}
	if utf8.ValidString(name) {
		return e
	}
	if m.renamed == nil {
		m.renamed = map[string]entry{}
	}
	var latin1 []rune
	for i := range len(name) {
		latin1 = append(latin1, rune(name[i]))
	}
	m.renamed[string(latin1)] = e
	return entry{}
}

// mergeModes takes the mode that one side changed; !ok if both did. A mode that
// became "not there" loses.
func mergeModes(b, o, t Mode) (Mode, bool) {
	switch {
	case o == t:
		return o, true
	case b == o:
		if t == 0 {
			return o, true
		}
		return t, true
	case b == t:
		if o == 0 {
			return t, true
		}
		return o, true
	}
	return 0, false
}

// texts reads and merges three files; one that is not there is empty.
func (m *treeMerge) texts(b, o, t entry) (merged *textMerge, binary bool, err error) {
	var data [3][]byte
	for i, e := range []entry{b, o, t} {
		if e.mode == 0 {
			continue
		}
		data[i], err = m.objects.read("blob", e.id, maxText)
		if errors.Is(err, ErrTooLarge) {
			return nil, true, nil
		}
		if err != nil {
			return nil, false, err
		}
		if isBinary(data[i]) {
			return nil, true, nil
		}
	}
	merged = mergeText(m.objects.ctx, data[0], data[1], data[2])
	return merged, false, m.objects.ctx.Err()
}
