package git

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// randomText draws lines from a small alphabet, so that they repeat.
func randomText(t *rapid.T, label string) []byte {
	words := rapid.IntRange(1, 12).Draw(t, label+" words")
	lines := rapid.SliceOfN(rapid.IntRange(0, words), 0, 40).Draw(t, label)
	var b bytes.Buffer
	for _, l := range lines {
		fmt.Fprintf(&b, "%s\n", strings.Repeat("x", l))
	}
	if rapid.Bool().Draw(t, label+" without a feed") {
		b.WriteString("end")
	}
	return b.Bytes()
}

// edited changes some lines of a text.
func edited(t *rapid.T, label string, text []byte) []byte {
	lines := bytes.SplitAfter(text, []byte{'\n'})
	for i := range rapid.IntRange(0, 4).Draw(t, label+" edits") {
		at := rapid.IntRange(0, len(lines)-1).Draw(t, fmt.Sprint(label, " place ", i))
		switch rapid.IntRange(0, 2).Draw(t, fmt.Sprint(label, " kind ", i)) {
		case 0:
			lines[at] = []byte(fmt.Sprintf("%s %d\n", label, i))
		case 1:
			lines[at] = nil
		case 2:
			lines[at] = append([]byte(fmt.Sprintf("x\n%s\n", strings.Repeat("x", i))), lines[at]...)
		}
	}
	return bytes.Join(lines, nil)
}

func patch(a, b []int32, spans []span) []int32 {
	var out []int32
	at := 0
	for _, s := range spans {
		out = append(out, a[at:s.a0]...)
		out = append(out, b[s.b0:s.b1]...)
		at = s.a1
	}
	return append(out, a[at:]...)
}

// A difference, applied to the old text, is the new text; its spans are in
// order, apart, and not empty.
func TestDiffIsAPatch(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := lineNumbers{}
		x := randomText(t, "a")
		y := randomText(t, "b")
		if rapid.Bool().Draw(t, "related") {
			y = edited(t, "b", x)
		}
		a, b := n.text(x).ids, n.text(y).ids
		for name, spans := range map[string][]span{
			"histogram": diffLines(context.Background(), a, b),
			"myers":     myers(context.Background(), a, b, span{0, len(a), 0, len(b)}),
		} {
			for i, s := range spans {
				if s.empty() || s.a0 > s.a1 || s.b0 > s.b1 || i > 0 && (s.a0 < spans[i-1].a1 || s.b0 < spans[i-1].b1) {
					t.Fatalf("%s: spans %v", name, spans)
				}
			}
			if got := patch(a, b, spans); fmt.Sprint(got) != fmt.Sprint(b) {
				t.Fatalf("%s: %v to %v by %v gave %v", name, a, b, spans, got)
			}
		}
	})
}

// Where one line repeats beyond counting, Myers' algorithm takes over.
func TestDiffOfFrequentLines(t *testing.T) {
	n := lineNumbers{}
	x := strings.Repeat("same\n", 200)
	a := n.text([]byte("first\n" + x + "last\n")).ids
	b := n.text([]byte("other\n" + x[:5*150] + "new\n" + x[5*150:] + "end\n")).ids
	spans := diffLines(context.Background(), a, b)
	if got := patch(a, b, spans); fmt.Sprint(got) != fmt.Sprint(b) {
		t.Fatalf("%v", spans)
	}
	if len(spans) < 3 {
		t.Errorf("%d spans: the common lines were not found", len(spans))
	}
}

// The laws of a three-way merge.
func TestMergeTextLaws(t *testing.T) {
	merge := func(b, o, t []byte) ([]byte, bool) {
		m := mergeText(context.Background(), b, o, t)
		return m.bytes(), m.conflict
	}
	rapid.Check(t, func(t *rapid.T) {
		base := randomText(t, "base")
		ours, theirs := edited(t, "ours", base), edited(t, "theirs", base)
		// But for a feed at the end, where JGit has a way of its own, and which equal ids settle before.
		trim := func(b []byte) []byte { return bytes.TrimSuffix(b, []byte("\n")) }
		if got, conflict := merge(base, ours, ours); conflict || !bytes.Equal(trim(got), trim(ours)) {
			t.Fatalf("both alike: %q %v, want %q", got, conflict, ours)
		}
		x, cx := merge(base, ours, theirs)
		y, cy := merge(base, theirs, ours)
		if cx != cy || !cx && !bytes.Equal(x, y) {
			t.Fatalf("not symmetric: %q %v, %q %v", x, cx, y, cy)
		}
		if again, _ := merge(base, ours, theirs); !bytes.Equal(again, x) {
			t.Fatalf("not deterministic: %q, then %q", x, again)
		}
		if cx && !bytes.Contains(x, []byte("<<<<<<< OURS\n")) {
			t.Fatalf("a conflict without a marker: %q", x)
		}
	})
}

// One side untouched: the other wins, to the byte. (Callers never ask: equal ids settle it before.)
func TestMergeTextOneSided(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		base := randomText(t, "base")
		theirs := edited(t, "theirs", base)
		if len(base) == 0 || len(theirs) == 0 {
			return
		}
		m := mergeText(context.Background(), base, base, theirs)
		if m.conflict || !bytes.Equal(bytes.TrimSuffix(m.bytes(), []byte("\n")), bytes.TrimSuffix(theirs, []byte("\n"))) {
			t.Fatalf("got %q %v, want %q", m.bytes(), m.conflict, theirs)
		}
	})
}

func TestIsBinary(t *testing.T) {
	for text, want := range map[string]bool{
		"": false, "a\n": false, "a\r\nb\r\n": false, "a\rb": true, "a\r": true, "\x00": true, "a\r\n\r": true, "\r\n": false,
		"\r\r\n": true,
	} {
		if got := isBinary([]byte(text)); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}

// A merge that is called off ends, however long it would have taken.
func TestMergeTextCalledOff(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	hostile := func(n int) []byte { return bytes.Repeat([]byte("x\ny\n"), n) }
	mergeText(ctx, hostile(200_000), append([]byte("a\n"), hostile(150_001)...), append([]byte("b\n"), hostile(100_003)...))
}
