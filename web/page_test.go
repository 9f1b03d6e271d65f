package web_test

import (
	"context"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/api"
	"sluice/web"
	"sluice/web/webtest"
)

// browser is one chromium for all tests of the package; each has tabs of its own.
var browser *webtest.Browser

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "sluice-page-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		if browser, err = webtest.StartBrowser(dir); err != nil {
			fmt.Fprintln(os.Stderr, "start a browser:", err)
			return 1
		}
		defer browser.Close()
		return m.Run()
	}())
}

var (
	laptop = webtest.Look{Width: 1280, Height: 800}
	dark   = webtest.Look{Width: 1280, Height: 800, Dark: true}
	phone  = webtest.Look{Width: 390, Height: 844, Phone: true}
	night  = webtest.Look{Width: 390, Height: 844, Phone: true, Dark: true}
)

// looks are how every page is seen: light and dark, wide and narrow; with
// SLUICE_TEST_FULL each with each.
func looks() map[string]webtest.Look {
	if os.Getenv("SLUICE_TEST_FULL") == "" {
		return map[string]webtest.Look{"laptop": laptop, "night": night}
	}
	return map[string]webtest.Look{"laptop": laptop, "dark": dark, "phone": phone, "night": night}
}

// fixture is a service with a world of its own.
type fixture struct {
	*webtest.Service
	t     *testing.T
	world *webtest.World
	url   string
}

func serve(t *testing.T, w *webtest.World) *fixture {
	t.Helper()
	s := webtest.New(web.Files, w)
	srv := httptest.NewServer(s.Handler())
	t.Cleanup(func() {
		s.Down(true) // ends the streams, for which Close would wait
		srv.CloseClientConnections()
		srv.Close()
	})
	return &fixture{s, t, w, srv.URL}
}

// tab is a tab that fails the test.
type tab struct {
	*webtest.Tab
	t *testing.T
}

func (f *fixture) open(path string, look webtest.Look) tab {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), time.Minute)
	defer cancel()
	opened, err := browser.Open(ctx, f.url+path, look)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { _ = opened.Close(context.Background()) })
	return tab{opened, f.t}
}

func (p tab) shows(texts ...string) {
	p.t.Helper()
	for _, text := range texts {
		if err := p.Shows(p.t.Context(), text); err != nil {
			p.t.Fatal(err)
		}
	}
}

func (p tab) until(condition string) {
	p.t.Helper()
	if err := p.Until(p.t.Context(), condition); err != nil {
		p.t.Fatal(err)
	}
}

func (p tab) run(expression string) {
	p.t.Helper()
	if err := p.Eval(p.t.Context(), expression, nil); err != nil {
		p.t.Fatal(err)
	}
}

func (p tab) number(expression string) float64 {
	p.t.Helper()
	var n float64
	if err := p.Eval(p.t.Context(), expression, &n); err != nil {
		p.t.Fatal(err)
	}
	return n
}

// picture keeps what the tab shows where SLUICE_PAGE_PICTURES says, else in the
// test's own folder.
func (p tab) picture(name string) {
	p.t.Helper()
	dir := os.Getenv("SLUICE_PAGE_PICTURES")
	if dir == "" {
		dir = p.t.TempDir()
	}
	png, err := p.Picture(p.t.Context(), false)
	if err != nil {
		p.t.Fatal(err)
	}
	if len(png) < 5000 {
		p.t.Errorf("the picture of %s has %d bytes: it shows nothing", name, len(png))
	}
	if err := os.WriteFile(filepath.Join(dir, name+".png"), png, 0o600); err != nil {
		p.t.Fatal(err)
	}
}

// job gives the n-th job of the newest buildset of a change.
func (f *fixture) job(number, n int) api.JobSummary {
	f.t.Helper()
	for _, c := range f.world.Changes {
		if c.Change.Number == number {
			return c.History[0].Buildsets[0].Jobs[n]
		}
	}
	f.t.Fatalf("there is no change %d", number)
	return api.JobSummary{}
}

func jobPath(j api.JobSummary) string { return fmt.Sprintf("/job/%d", j.ID) }

// unreadable lists texts that stand out too little from what is behind them
// (WCAG 2: 4.5 to 1).
const unreadable = `(() => {
	const light = (c) => { const [r, g, b] = c.map((v) => (v /= 255) <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4); return .2126 * r + .7152 * g + .0722 * b };
	const parse = (s) => s.match(/[\d.]+/g).map(Number);
	const behind = (e) => { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor); if (c.length < 4 || c[3] > .9) return c.slice(0, 3) } return [255, 255, 255] };
	const bad = [];
	for (const e of document.querySelectorAll("body *")) {
		if (![...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()) || !e.checkVisibility() || e.closest(".away, .skip, .disabled")) continue;
		const a = light(parse(getComputedStyle(e).color).slice(0, 3)), b = light(behind(e));
		const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
		if (ratio < 4.5) bad.push(ratio.toFixed(2) + " " + e.className + ": " + e.textContent.slice(0, 40));
	}
	return bad;
})()`

// nameless lists what can be reached by keyboard and has no name to be read aloud.
const nameless = `[...document.querySelectorAll("a[href], button, input, [tabindex='0']")]
	.filter((e) => e.checkVisibility() && !(e.textContent.trim() || e.ariaLabel || e.title)).map((e) => e.outerHTML.slice(0, 120))`

func TestEveryPage(t *testing.T) {
	f := serve(t, webtest.Busy(time.Now()))
	failed := f.job(webtest.FailedChange, 0)
	pages := []struct {
		name, path string
		texts      []string
	}{
		{"queues", "/", []string{
			"Read gzip headers with an extra field", "failing, 6 of 11 done", "src/hello.c:7", "those behind pass it by", "passed, waits for #1042 ahead",
			"testing, 9 of 15 done", "stands behind #1044", "merges in about", "The window ends here: 6 are tested at once, 2 wait below.", "waiting outside the window",
			"2 changes are being checked", "Follow 2026c", "nothing provides libonig.so.105()(64bit)", "live",
		}},
		{"queue", "/queue/main", []string{"8 items, 6 within the window", "Greet the world by its name"}},
		{"check", "/queue/check%2Fmain~1051", []string{"check/main~1051", "Follow 2026c"}},
		{"changes", "/changes", []string{"Ship the socket unit switched off", "merged", "check"}},
		{"change", "/change/main/1043", []string{
			"Greet the world by its name", "unknown type name ‘strng’; did you mean ‘struct’?", "line 212 of the log", "Where it is, and why",
			"#1042 is ahead and unmerged", "juno/el-9", "38 s",
		}},
		{"change-tested", "/change/main/1045", []string{"Test repositories", "http://sluice.example.com/test/"}},
		{"change-needs", "/change/main/1048", []string{"Depends on", "Close idle connections", "I5f0c9d33", "not found"}},
		{"buildset", fmt.Sprintf("/buildset/%d", f.world.Queues[0].Items[3].Buildset.ID), []string{"Under test", "memcached", "Packages and base", "2.10-3+juno4"}},
		{"job", jobPath(failed) + "#L212", []string{"build hello juno/debian-12 amd64", "build dependencies 6.1 s", "1 more finding", "3 packages read", "240 lines"}},
		{"job-top", fmt.Sprintf("/job/%d", f.job(webtest.QueuedChange, 0).ID), []string{"build libevent juno/debian-12 amd64", "2 artifacts", "What it is given", "1 attempt"}},
		{"repositories", "/repositories", []string{"juno/debian-12", "juno/el-9", "10 packages"}},
		{"repository", "/repository/juno/debian-12/updates", []string{"curl -fsSo /etc/apt/sources.list.d/sluice.sources http://sluice.example.com/repo/juno/debian-12/updates/sluice.sources", "apt-get update", "zlib1g-dev", "1.3-2+juno1", "merged 1041 hello"}},
		{"workers", "/workers", []string{"build-2", "silent", "heard"}},
	}
	for _, page := range pages {
		for look, l := range looks() {
			t.Run(page.name+"/"+look, func(t *testing.T) {
				p := (&fixture{f.Service, t, f.world, f.url}).open(page.path, l)
				p.shows(page.texts...)
				var found []string
				for _, what := range []string{unreadable, nameless} {
					if err := p.Eval(t.Context(), what, &found); err != nil || len(found) > 0 {
						t.Errorf("%v %q", err, found)
					}
				}
				if over := p.number(`document.documentElement.scrollWidth - document.documentElement.clientWidth`); over > 0 {
					t.Errorf("the page is %v px wider than the window", over)
				}
				p.picture(page.name + "-" + look)
				if errs := p.Errors(); len(errs) > 0 {
					t.Errorf("the console says: %s", strings.Join(errs, "\n"))
				}
			})
		}
	}
}

// TestLinesOfJobs: a package has one line for each target, with what is done for
// all packages at once; where a target has several, that has a line of its own.
func TestLinesOfJobs(t *testing.T) {
	p := serve(t, webtest.Busy(time.Now())).open("/", laptop)
	p.shows("Read gzip headers with an extra field")
	var lines []string
	if err := p.Eval(t.Context(), `[...document.querySelectorAll(".chipline")].map((l) => l.querySelector(".of").textContent + ": " + [...l.querySelectorAll(".chip")].map((c) => c.firstElementChild.nextSibling.textContent).join(" "))`, &lines); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"juno/debian-12: build lint publish install upgrade", "libevent juno/debian-12: build lint install upgrade",
		"memcached juno/debian-12: build lint install upgrade systest", "all packages juno/debian-12: publish",
	} {
		if !slices.Contains(lines, want) {
			t.Errorf("there is no line %q in %q", want, lines)
		}
	}
	level := `[...document.querySelectorAll(".chipline")].every((l) => { const text = (e) => { const r = document.createRange(); r.selectNodeContents(e); return r.getBoundingClientRect() };
		return Math.abs(text(l.querySelector(".of")).bottom - text(l.querySelector(".chip").firstElementChild.nextSibling).bottom) < 2 })`
	p.until(level)
}

// TestLanes: the items of a queue with lanes stand lane by lane, each spine its
// own; in a queue's page and among all queues.
func TestLanes(t *testing.T) {
	f := serve(t, webtest.Lanes(time.Now()))
	for look, l := range looks() {
		p := f.open("/queue/main", l)
		p.shows("7 items in 3 lanes, 6 within the lanes’ windows", "libevent, memcached and 1 more", "zlib, curl", "In a lane of its own", "Restricted",
			"stands behind #1060", "stands behind #1061", "The window ends here: 2 are tested at once, 1 waits below.")
		var order []string
		if err := p.Eval(t.Context(), `[...document.querySelectorAll(".lane")].map((l) => l.querySelector("h3").textContent + ": " + [...l.querySelectorAll(".node")].map((n) => n.textContent).join(" "))`, &order); err != nil {
			t.Fatal(err)
		}
		if want := []string{"libevent, memcached and 1 more: 1 3 6", "zlib, curl: 2 5", "In a lane of its own: 4", "Restricted: 7"}; !slices.Equal(order, want) {
			t.Errorf("%s: lanes and places %q, want %q", look, order, want)
		}
		if over := p.number(`document.documentElement.scrollWidth - document.documentElement.clientWidth`); over > 0 {
			t.Errorf("%s: the page is %v px wider than the window", look, over)
		}
		var found []string
		if err := p.Eval(t.Context(), unreadable, &found); err != nil || len(found) > 0 {
			t.Errorf("%v %q", err, found)
		}
		p.picture("lanes-" + look)
	}
	f.open("/", laptop).shows("7 items in 3 lanes", "zlib, curl")
}

// TestFirstSteps: where nothing has happened the page says what to do.
func TestFirstSteps(t *testing.T) {
	f := serve(t, webtest.Quiet(time.Now()))
	for look, l := range map[string]webtest.Look{"laptop": laptop, "phone": phone} {
		p := f.open("/", l)
		p.shows("No change has been seen yet", "Push a change to Gerrit main", "connection refused", "Gerrit main not heard", "sluice worker")
		p.picture("first-" + look)
	}
	f.open("/repository/juno/debian-12/updates", laptop).shows("Nothing is published yet")
	f.open("/workers", laptop).shows("No worker is there.")
}

func TestNothingThere(t *testing.T) {
	f := serve(t, webtest.Quiet(time.Now()))
	f.open("/nowhere", laptop).shows("There is nothing here")
	f.open("/change/main/9999", laptop).shows("no such thing", "It is not there, or it is not shown.")
	f.open("/queue/nothing", laptop).shows("no such thing")
}

// TestOneClickToTheError: from a queue to a change, whose first finding stands
// at the top, to that line of the log; all without loading anything anew; and back.
func TestOneClickToTheError(t *testing.T) {
	f := serve(t, webtest.Busy(time.Now()))
	p := f.open("/", laptop)
	p.shows("Greet the world by its name")
	p.run(`window.mark = 1; [...document.querySelectorAll("a")].find((a) => a.textContent === "Greet the world by its name").click()`)
	p.until(`location.pathname === "/change/main/1043" && document.querySelector("main .finding .says").getBoundingClientRect().top < 250`)
	p.run(`[...document.querySelectorAll("a")].find((a) => a.textContent === "line 212 of the log").click()`)
	p.until(`location.hash === "#L212" && document.querySelector(".l.sel.hit").textContent.includes("unknown type name")`)
	p.until(`(() => { const b = document.querySelector(".l.sel").getBoundingClientRect(); return b.top > 100 && b.bottom < innerHeight })()`)
	p.run(`history.back()`)
	p.until(`location.pathname === "/change/main/1043" && document.title.startsWith("1043 Greet")`)
	p.run(`history.back()`)
	p.shows("8 items, 6 within the window")
	if p.number(`window.mark`) != 1 {
		t.Error("the page was loaded anew")
	}
}
