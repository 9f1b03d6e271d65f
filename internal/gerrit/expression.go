package gerrit

import (
	"errors"
	"regexp"
	"strconv"
	"strings"
)

// truth of an expression: no < unknown < yes, so that And is min, Or is max and
// Not is the negative.
type truth int

const (
	no      truth = -1
	unknown truth = 0
	yes     truth = 1
)

type op int

const (
	opAtom op = iota
	opNot
	opAnd
	opOr
)

// node is a parsed submit requirement expression.
type node struct {
	op   op
	atom string // of opAtom
	kids []*node
}

// maxDepth bounds the nesting of an expression: deeper ones are not understood.
const maxDepth = 100

var errExpression = errors.New("not an expression that this program understands")

// parseExpression reads Gerrit's query language: atoms, AND, OR, NOT, -, ( ), and
// AND where there is nothing between two atoms.
func parseExpression(text string) (*node, error) {
	p := parser{rest: text}
	n, err := p.or(0)
	if err != nil {
		return nil, err
	}
	if p.peek() != "" {
		return nil, errExpression
	}
	return n, nil
}

type parser struct{ rest string }

// peek is the next token, "" at the end: "(", ")", "-", "AND", "OR", "NOT" or an atom.
func (p *parser) peek() string {
	p.rest = strings.TrimLeft(p.rest, " \t\r\n")
	if p.rest == "" {
		return ""
	}
	if strings.ContainsRune("()-", rune(p.rest[0])) {
		return p.rest[:1]
	}
	var until byte // the end of a quoted part
	for i := 0; i < len(p.rest); i++ {
		switch b := p.rest[i]; {
		case until != 0:
			if b == until {
				until = 0
			}
		case b == '"':
			until = '"'
		case b == '{':
			until = '}'
		case strings.IndexByte(" \t\r\n()", b) >= 0:
			return p.rest[:i]
		}
	}
	return p.rest
}

func (p *parser) next() string {
	t := p.peek()
	p.rest = p.rest[len(t):]
	return t
}

func (p *parser) or(depth int) (*node, error) {
	if depth > maxDepth {
		return nil, errExpression
	}
	n := &node{op: opOr}
	for {
		kid, err := p.and(depth)
		if err != nil {
			return nil, err
		}
		n.kids = append(n.kids, kid)
		if p.peek() != "OR" {
			return single(n), nil
		}
		p.next()
	}
}

func (p *parser) and(depth int) (*node, error) {
	n := &node{op: opAnd}
	for {
		kid, err := p.not(depth)
		if err != nil {
			return nil, err
		}
		n.kids = append(n.kids, kid)
		switch p.peek() {
		case "", ")", "OR":
			return single(n), nil
		case "AND":
			p.next()
		}
	}
}

func (p *parser) not(depth int) (*node, error) {
	if depth > maxDepth {
		return nil, errExpression
	}
	switch t := p.next(); t {
	case "", ")", "AND", "OR":
		return nil, errExpression
	case "-", "NOT":
		kid, err := p.not(depth + 1)
		return &node{op: opNot, kids: []*node{kid}}, err
	case "(":
		n, err := p.or(depth + 1)
		if err == nil && p.next() != ")" {
			err = errExpression
		}
		return n, err
	default:
		return &node{atom: t}, nil
	}
}

func single(n *node) *node {
	if len(n.kids) == 1 {
		return n.kids[0]
	}
	return n
}

// labelAtom is "label:NAME OP VALUE,ARGS": label:Code-Review>=1,user=non_uploader.
type labelAtom struct{ label, op, value, args string }

var labelForm = regexp.MustCompile(`^label:([A-Za-z0-9_-]*?[A-Za-z0-9_])(>=|<=|=|>|<|)([+-]?[0-9]+|(?i:MAX|MIN|ANY))(?:,(.*))?$`)

func parseLabelAtom(text string) (labelAtom, bool) {
	m := labelForm.FindStringSubmatch(strings.NewReplacer(`"`, "", "{", "", "}", "").Replace(text))
	if m == nil || (m[2] == "" && !strings.ContainsAny(m[3][:1], "+-")) {
		return labelAtom{}, false
	}
	return labelAtom{m[1], orDefault(m[2], "="), strings.ToUpper(m[3]), m[4]}, true
}

// plain says whether the atom asks for a value only. A vote of a gate is never
// the uploader's or a contributor's, so that those arguments do not matter to it.
func (a labelAtom) plain() bool {
	switch strings.ToLower(strings.TrimSpace(a.args)) {
	case "", "non_uploader", "user=non_uploader", "non_contributor", "user=non_contributor":
		return true
	}
	return false
}

// number is the vote that the atom compares with.
func (a labelAtom) number(l *Label) (int, bool) {
	switch a.value {
	case "MAX":
		return l.Max, true
	case "MIN":
		return l.Min, true
	case "ANY":
		return 0, false
	}
	v, err := strconv.Atoi(a.value)
	return v, err == nil
}

// matches says whether a vote is one that the atom looks for.
func (a labelAtom) matches(l *Label, vote int) bool {
	if a.value == "ANY" {
		return vote != 0
	}
	v, ok := a.number(l)
	if !ok {
		return false
	}
	switch a.op {
	case ">=":
		return vote >= v
	case "<=":
		return vote <= v
	case ">":
		return vote > v
	case "<":
		return vote < v
	}
	return vote == v
}
