package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// Bounds of what is read. A package file is foreign input: the file is
// measured before the parser sees it, and aliases are counted each time that
// they are used, so a small file cannot grow.
const (
	maxSite    = 4 << 20  // bytes
	maxPackage = 32 << 10 // bytes; the parser takes a square of it at worst, half a second
	maxDepth   = 24       // levels of nesting; the site file needs 8
	maxNodes   = 100_000  // values after aliases are followed
)

// kind is what a node is in YAML.
type kind int

const (
	nullNode kind = iota
	boolNode
	intNode
	floatNode
	stringNode
	listNode
	mapNode
)

// String is the kind in a person's words.
func (k kind) String() string {
	return [...]string{"nothing", "true or false", "a whole number", "a number", "text", "a list", "a map"}[k]
}

// node is one value of a file, with its place. A scalar keeps its text to the
// letter, so that "9.10" does not become 9.1.
type node struct {
	kind  kind
	text  string
	pos   Pos
	pairs []pair
	items []*node
}

// String names a node in a sentence: `"updates"`, "a list".
func (n *node) String() string {
	if n.kind == nullNode || n.kind == listNode || n.kind == mapNode || len(n.text) > 80 || strings.Contains(n.text, "\n") {
		return n.kind.String()
	}
	return strconv.Quote(n.text)
}

type pair struct {
	key   string
	pos   Pos
	value *node
}

// read parses a file into nodes, nil if the file is empty. Problems go to the source.
func (s *source) read(text string, limit int) *node {
	text, ok := s.clean(text, limit)
	if !ok {
		return nil
	}
	file := s.parse(text)
	if file == nil {
		return nil
	}
	bodies := make([]ast.Node, 0, 1)
	for _, doc := range file.Docs {
		if doc.Body != nil && doc.Body.Type() != ast.CommentGroupType && doc.Body.Type() != ast.CommentType {
			bodies = append(bodies, doc.Body)
		}
	}
	if len(bodies) == 0 {
		return nil
	}
	if len(bodies) > 1 {
		s.failAt(s.tokenPos(bodies[1].GetToken()), "a second document; the file holds one: remove the line ---")
		return nil
	}
	c := &converter{source: s, anchors: map[string]*node{}}
	n := c.convert(bodies[0], 0)
	if c.nodes > maxNodes {
		return nil
	}
	return n
}

// clean refuses what no configuration holds, before the parser meets it.
func (s *source) clean(text string, limit int) (string, bool) {
	if len(text) > limit {
		s.lines = nil
		s.failAt(Pos{s.name, 1, 1}, "the file is larger than %s", Size(limit))
		return "", false
	}
	text = strings.TrimPrefix(text, "\ufeff")
	text = strings.ReplaceAll(text, "\r\n", "\n")
	line, column := 1, 1
	for i, r := range text {
		if r == '\t' && column == 1 && !blank(text[i:]) {
			s.lines = strings.Split(text, "\n")
			s.failAt(Pos{s.name, line, column}, "this line begins with a tab; YAML is indented with spaces")
			return "", false
		}
		bad := r == utf8.RuneError && !strings.HasPrefix(text[i:], "\uFFFD")
		if bad || r == '\r' || (r != '\n' && r != '\t' && unicode.IsControl(r)) || unicode.Is(unicode.Bidi_Control, r) || r == '\u2028' || r == '\u2029' {
			s.lines = nil
			s.failAt(Pos{s.name, line, column}, "a byte that is not text (%U); write the file in UTF-8 without control characters", r)
			return "", false
		}
		column++
		if r == '\n' {
			line, column = line+1, 1
		}
	}
	s.lines = strings.Split(text, "\n")
	return text, true
}

// blank reports whether a line holds nothing, or a comment.
func blank(rest string) bool {
	line, _, _ := strings.Cut(rest, "\n")
	line = strings.TrimSpace(line)
	return line == "" || line[0] == '#'
}

// parse runs the YAML parser, which must not bring the service down: nesting
// is measured first, and a panic is a problem of the file.
func (s *source) parse(text string) (file *ast.File) {
	defer func() {
		if broken := recover(); broken != nil {
			s.failAt(Pos{s.name, 1, 1}, "this is not YAML (%v)", broken)
			file = nil
		}
	}()
	tokens := lexer.Tokenize(text)
	if tk := tooDeep(tokens); tk != nil {
		s.failAt(s.tokenPos(tk), "nested deeper than %d levels", maxDepth)
		return nil
	}
	file, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err == nil {
		return file
	}
	if e, ok := err.(yaml.Error); ok && e.GetToken() != nil && e.GetToken().Position != nil {
		s.failAt(s.tokenPos(e.GetToken()), "this is not YAML: %s", e.GetMessage())
		return nil
	}
	message, _, _ := strings.Cut(err.Error(), "\n")
	s.failAt(Pos{s.name, 1, 1}, "this is not YAML: %s", message)
	return nil
}

// tooDeep finds the token at which flow nesting, or lists begun on one line,
// or indentation go beyond the bound.
func tooDeep(tokens token.Tokens) *token.Token {
	flow, line, begun := 0, 0, 0
	var indents []int
	for _, tk := range tokens {
		if tk.Position.Line != line {
			line, begun = tk.Position.Line, 0
			if flow == 0 {
				for len(indents) > 0 && indents[len(indents)-1] >= tk.Position.Column {
					indents = indents[:len(indents)-1]
				}
				indents = append(indents, tk.Position.Column)
			}
		}
		switch tk.Type {
		case token.SequenceStartType, token.MappingStartType:
			flow++
		case token.SequenceEndType, token.MappingEndType:
			flow = max(0, flow-1)
		case token.SequenceEntryType, token.MappingKeyType, token.TagType, token.AnchorType:
			begun++
		}
		if flow > maxDepth || begun > maxDepth || len(indents) > maxDepth {
			return tk
		}
	}
	return nil
}

func (s *source) tokenPos(tk *token.Token) Pos {
	if tk == nil || tk.Position == nil {
		return Pos{s.name, 1, 1}
	}
	line := min(max(1, tk.Position.Line), max(1, len(s.lines)))
	return Pos{s.name, line, max(1, tk.Position.Column)}
}

// converter turns the parser's tree into nodes, following aliases.
type converter struct {
	*source
	anchors map[string]*node
	nodes   int
}

// convert returns nil where a problem was noted.
func (c *converter) convert(n ast.Node, depth int) *node {
	if c.nodes++; c.nodes > maxNodes || depth > maxDepth {
		if c.nodes <= maxNodes {
			c.failAt(c.tokenPos(n.GetToken()), "nested deeper than %d levels", maxDepth)
		} else if c.nodes == maxNodes+1 {
			c.failAt(c.tokenPos(n.GetToken()), "the file holds more than %d values", maxNodes)
		}
		return nil
	}
	scalar := func(k kind) *node {
		return &node{kind: k, text: n.GetToken().Value, pos: c.tokenPos(n.GetToken())}
	}
	switch n := n.(type) {
	case *ast.NullNode:
		return scalar(nullNode)
	case *ast.BoolNode:
		return scalar(boolNode)
	case *ast.IntegerNode:
		return scalar(intNode)
	case *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return scalar(floatNode)
	case *ast.StringNode:
		return &node{kind: stringNode, text: n.Value, pos: c.tokenPos(n.GetToken())}
	case *ast.LiteralNode:
		return &node{kind: stringNode, text: n.Value.Value, pos: c.tokenPos(n.Start)}
	case *ast.SequenceNode:
		return c.list(n, depth)
	case *ast.MappingNode:
		return c.mapping(n, n.Values, depth)
	case *ast.MappingValueNode:
		return c.mapping(n, []*ast.MappingValueNode{n}, depth)
	case *ast.AnchorNode:
		value := c.convert(n.Value, depth+1)
		if value != nil {
			c.anchors[n.Name.GetToken().Value] = value
		}
		return value
	case *ast.AliasNode:
		return c.alias(n, depth)
	}
	c.failAt(c.tokenPos(n.GetToken()), "%s is not used in this file; write the value plainly", strings.ToLower(n.Type().String()))
	return nil
}

func (c *converter) list(n *ast.SequenceNode, depth int) *node {
	out := &node{kind: listNode, pos: c.tokenPos(n.Start)}
	for _, item := range n.Values {
		if value := c.convert(item, depth+1); value != nil {
			out.items = append(out.items, value)
		}
	}
	return out
}

func (c *converter) mapping(n ast.Node, values []*ast.MappingValueNode, depth int) *node {
	out := &node{kind: mapNode, pos: c.tokenPos(n.GetToken())}
	if len(values) > 0 && !isFlow(n) {
		out.pos = c.tokenPos(values[0].Key.GetToken())
	}
	first := map[string]Pos{}
	var merged []pair
	for _, v := range values {
		pos := c.tokenPos(v.Key.GetToken())
		if _, ok := v.Key.(*ast.MergeKeyNode); ok {
			merged = append(merged, c.merge(v.Value, pos, depth)...)
			continue
		}
		key := c.convert(v.Key, depth+1)
		value := c.convert(v.Value, depth+1)
		if key == nil {
			continue // told already
		}
		if key.kind == listNode || key.kind == mapNode {
			c.failAt(pos, "a key is a word")
			continue
		}
		if before, twice := first[key.text]; twice {
			c.failAt(pos, "key %q is given twice; the first is on line %d", key.text, before.Line)
			continue
		}
		first[key.text] = pos
		if value != nil {
			out.pairs = append(out.pairs, pair{key.text, pos, value})
		}
	}
	for _, p := range merged {
		if _, given := first[p.key]; !given {
			first[p.key] = p.pos
			out.pairs = append(out.pairs, p)
		}
	}
	return out
}

func isFlow(n ast.Node) bool {
	m, ok := n.(*ast.MappingNode)
	return ok && m.IsFlowStyle
}

// merge reads what stands behind "<<:": a map, or a list of maps.
func (c *converter) merge(n ast.Node, pos Pos, depth int) []pair {
	value := c.convert(n, depth+1)
	if value == nil {
		return nil
	}
	from := []*node{value}
	if value.kind == listNode {
		from = value.items
	}
	var out []pair
	for _, m := range from {
		if m.kind != mapNode {
			c.failAt(pos, "<< takes a map, or a list of maps")
			return nil
		}
		out = append(out, m.pairs...)
	}
	return out
}

func (c *converter) alias(n *ast.AliasNode, depth int) *node {
	name := n.Value.GetToken().Value
	value, ok := c.anchors[name]
	if !ok {
		names := make([]string, 0, len(c.anchors))
		for name := range c.anchors {
			names = append(names, name)
		}
		slices.Sort(names)
		c.failAt(c.tokenPos(n.GetToken()), "no anchor &%s stands before this alias%s", name, maybe(nearest(name, names)))
		return nil
	}
	levels := c.count(value)
	if depth+levels > maxDepth {
		c.failAt(c.tokenPos(n.GetToken()), "nested deeper than %d levels", maxDepth)
		return nil
	}
	if c.nodes > maxNodes {
		c.failAt(c.tokenPos(n.GetToken()), "the file holds more than %d values, once its aliases are followed", maxNodes)
		c.anchors = map[string]*node{}
		return nil
	}
	return value
}

// count adds what an alias stands for to the nodes, and returns its depth.
func (c *converter) count(n *node) (levels int) {
	if c.nodes++; c.nodes > maxNodes {
		return 0
	}
	for _, item := range n.items {
		levels = max(levels, c.count(item)+1)
	}
	for _, p := range n.pairs {
		levels = max(levels, c.count(p.value)+1)
	}
	return levels
}

func maybe(word string) string {
	if word == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %q?", word)
}
