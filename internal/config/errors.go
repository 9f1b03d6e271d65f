package config

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Pos is a place in a file; lines and columns count from 1.
type Pos struct {
	File         string
	Line, Column int
}

// String is "FILE:LINE:COLUMN".
func (p Pos) String() string { return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column) }

// Problem is one thing that is wrong in a file.
type Problem struct {
	Pos     Pos
	Message string // one line: what is wrong, and what to write instead
	// Source is the line that it was found in, with secrets as ***; Caret is
	// the column in Source, from 1, that is meant.
	Source string
	Caret  int
}

// String gives "file:line:column: message", the source line, and a caret below.
func (p Problem) String() string {
	if p.Source == "" {
		return p.Pos.String() + ": " + p.Message
	}
	var below strings.Builder
	for i, r := range []rune(p.Source) {
		if i >= p.Caret-1 {
			break
		}
		if r == '\t' {
			below.WriteRune('\t')
		} else {
			below.WriteByte(' ')
		}
	}
	return fmt.Sprintf("%s: %s\n%s\n%s^", p.Pos, p.Message, p.Source, below.String())
}

// Error is everything that is wrong in a file, in the order of its lines.
// Load, Parse, ParsePackage, CheckFiles and Merge return it.
type Error struct {
	Problems []Problem
	// More counts the problems beyond those that are listed.
	More int
}

// maxProblems is how many problems of one file are listed.
const maxProblems = 50

// Error lists the problems, one below the other.
func (e *Error) Error() string {
	texts := make([]string, 0, len(e.Problems)+1)
	for _, p := range e.Problems {
		texts = append(texts, p.String())
	}
	if e.More > 0 {
		texts = append(texts, fmt.Sprintf("and %d more", e.More))
	}
	return strings.Join(texts, "\n")
}

// Warning is something that works and should not stay so.
type Warning = Problem

// source is a file as it was read: its lines, where each value stands, and
// which texts must not be shown.
type source struct {
	name     string
	lines    []string
	at       map[string]Pos // by path, "dists[0].primary"
	hidden   []string       // texts of secrets
	problems []Problem
	warnings []Warning
	more     int
}

func newSource(name, text string) *source {
	return &source{name: name, lines: strings.Split(text, "\n"), at: map[string]Pos{}}
}

// pos finds where the value at a path stands; one that is not written stands
// where the nearest thing around it does.
func (s *source) pos(path string) Pos {
	for path != "" {
		if pos, ok := s.at[path]; ok {
			return pos
		}
		path = path[:max(0, strings.LastIndexAny(path, ".["))]
	}
	return Pos{s.name, 1, 1}
}

// fail notes a problem at a path.
func (s *source) fail(path, format string, args ...any) {
	s.failAt(s.pos(path), format, args...)
}

func (s *source) failAt(pos Pos, format string, args ...any) {
	if len(s.problems) == maxProblems {
		s.more++
		return
	}
	s.problems = append(s.problems, s.problem(pos, fmt.Sprintf(format, args...)))
}

func (s *source) warn(path, format string, args ...any) {
	if len(s.warnings) < maxProblems {
		s.warnings = append(s.warnings, s.problem(s.pos(path), fmt.Sprintf(format, args...)))
	}
}

func (s *source) problem(pos Pos, message string) Problem {
	const longest = 500 // characters; the text may quote a foreign file
	message = strings.Join(strings.Fields(message), " ")
	if text := []rune(message); len(text) > longest {
		message = string(text[:longest]) + "…"
	}
	p := Problem{Pos: pos, Message: message}
	if pos.Line >= 1 && pos.Line <= len(s.lines) {
		p.Source, p.Caret = s.lines[pos.Line-1], pos.Column
	}
	return p
}

// err returns what was found as an *Error, or nil.
func (s *source) err() error {
	if len(s.problems) == 0 {
		return nil
	}
	return &Error{Problems: s.finish(s.problems), More: s.more}
}

// finish sorts problems and makes them fit to be shown.
func (s *source) finish(problems []Problem) []Problem {
	slices.SortStableFunc(problems, func(a, b Problem) int {
		if a.Pos.Line != b.Pos.Line {
			return a.Pos.Line - b.Pos.Line
		}
		return a.Pos.Column - b.Pos.Column
	})
	shown := make([]Problem, 0, len(problems))
	for _, p := range problems {
		p.Source, p.Caret = s.mask(p.Source, p.Caret)
		p.Source, p.Caret = clip(p.Source, p.Caret)
		if !slices.Contains(shown, p) {
			shown = append(shown, p)
		}
	}
	return shown
}

// secretKey finds texts that can be secrets in a file that cannot be read as YAML.
var secretKey = regexp.MustCompile(`(?i)\b(?:value|token|secret|webhook_secret|password|database|proxy)["']?\s*:\s*([^{\s].*)`)

// mask replaces secrets in a line, and moves the caret with the text behind them.
func (s *source) mask(line string, caret int) (string, int) {
	for _, secret := range s.hidden {
		line, caret = maskText(line, caret, secret)
	}
	if m := secretKey.FindStringSubmatch(line); m != nil {
		text, _, _ := strings.Cut(m[1], "}")
		line, caret = maskText(line, caret, strings.TrimRight(text, " "))
	}
	return line, caret
}

func maskText(line string, caret int, secret string) (string, int) {
	before, after, found := strings.Cut(line, secret)
	if !found || secret == "" || secret == stars {
		return line, caret
	}
	start, length := len([]rune(before))+1, len([]rune(secret))
	if caret >= start+length {
		caret += len(stars) - length
	} else if caret > start {
		caret = start
	}
	masked, _ := maskText(after, 0, secret)
	return before + stars + masked, caret
}

// clip cuts a long line down to what is around the caret.
func clip(line string, caret int) (string, int) {
	const width = 120
	text := []rune(line)
	if len(text) <= width {
		return line, caret
	}
	start := max(0, min(caret-width/2, len(text)-width))
	out, ahead := string(text[start:start+width]), ""
	if start > 0 {
		ahead = "…"
	}
	if start+width < len(text) {
		out += "…"
	}
	return ahead + out, caret - start + len([]rune(ahead))
}

// nearest returns the word that text was most likely meant to be, or "".
func nearest(text string, words []string) string {
	best, least := "", max(1, len([]rune(text))/3)+1
	for _, word := range words {
		if strings.EqualFold(word, text) {
			return word
		}
		if d := distance(strings.ToLower(text), strings.ToLower(word)); d < least && d < len([]rune(word)) {
			best, least = word, d
		}
	}
	return best
}

// instead says what to write: the nearest word, or all of them.
func instead(text string, words []string) string {
	if word := nearest(text, words); word != "" {
		return fmt.Sprintf("did you mean %q?", word)
	}
	switch len(words) {
	case 0:
		return "there is none"
	case 1:
		return fmt.Sprintf("it can only be %q", words[0])
	}
	if len(words) > 24 {
		words = append(slices.Clone(words[:24]), "…")
	}
	return "it can be " + enumerate(words, "or")
}

// enumerate writes "a, b and c".
func enumerate(words []string, last string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " " + last + " " + words[len(words)-1]
}

// distance is Damerau and Levenshtein's (optimal string alignment): how many
// letters to put in, take out, replace or swap with their neighbour.
func distance(from, to string) int {
	a, b := []rune(from), []rune(to)
	if len(a) > 64 || len(b) > 64 {
		return 64
	}
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}
