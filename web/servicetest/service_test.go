// Package servicetest holds the page to the real service: its handler, its
// database, its notices.
package servicetest

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"sluice/internal/api"
	"sluice/internal/api/apitest"
	"sluice/internal/job"
	"sluice/internal/testenv"
	"sluice/web"
	"sluice/web/webtest"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// page is a tab that fails the test.
type page struct {
	*webtest.Tab
	t *testing.T
}

func (p page) shows(texts ...string) {
	p.t.Helper()
	for _, text := range texts {
		if err := p.Shows(p.t.Context(), text); err != nil {
			p.t.Fatal(err, p.Errors())
		}
	}
}

func TestPageOfTheRealService(t *testing.T) {
	w := apitest.New(t, func(o *api.Options) { o.Page = web.Files })
	s := w.Seed()
	w.Release(apitest.Deb, s.GoodBuildset.ID, s.Deb)
	browser, err := webtest.StartBrowser(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(browser.Close)
	open := func(t *testing.T, path string, look webtest.Look) page {
		t.Helper()
		tab, err := browser.Open(t.Context(), w.URL+path, look)
		if err != nil {
			t.Fatal(err)
		}
		return page{tab, t}
	}
	laptop, phone := webtest.Look{Width: 1280, Height: 800}, webtest.Look{Width: 390, Height: 844, Phone: true, Dark: true}

	for path, texts := range map[string][]string{
		"/":                                   {s.Good.Subject, "debian/hello.postinst:7", "frobnicate: not found", "A restricted change", s.Checked.Subject, "live"},
		"/queue/main":                         {s.Behind.Subject},
		"/changes":                            {s.Good.Subject, s.Checked.Subject},
		"/change/main/1":                      {s.Good.Subject, "frobnicate: not found", "line 2 of the log", "Where it is, and why", "Test repositories"},
		jobPath(s.Install.ID) + "#L2":         {"postinst: not found", "frobnicate: not found", "2 lines"},
		jobPath(s.Build.ID):                   {"built", "compile 1.0 s", "1 artifact", "1 package read"},
		buildsetPath(s.GoodBuildset.ID):       {"Under test", "2.10-1+sluice1~deb12"},
		"/repositories":                       {"juno/debian-12", "juno/el-9"},
		"/repository/juno/debian-12/updates":  {"curl -fsSo /etc/apt/sources.list.d/", "/sluice.sources", "apt-get update", "2.10-1+sluice1~deb12"},
		"/workers":                            {"anvil", "heard", "1.2.3"},
		"/change/main/3":                      {"not"},
		"/repository/juno/debian-12/nonesuch": {"no such repository"},
	} {
		t.Run(strings.ReplaceAll(path, "/", "_"), func(t *testing.T) {
			for _, look := range []webtest.Look{laptop, phone} {
				p := open(t, path, look)
				p.shows(texts...)
				var over float64
				if err := p.Eval(t.Context(), `document.documentElement.scrollWidth - document.documentElement.clientWidth`, &over); err != nil || over > 0 {
					t.Errorf("%v; the page is %v px wider than the window", err, over)
				}
				var shown string
				if err := p.Eval(t.Context(), `document.documentElement.innerHTML`, &shown); err != nil || strings.Contains(shown, s.Hidden.Subject) {
					t.Errorf("%v; or the page tells of a restricted change", err)
				}
				for _, e := range p.Errors() {
					if !strings.Contains(e, "404") {
						t.Error("the console says:", e)
					}
				}
				_ = p.Close(t.Context())
			}
		})
	}
	for _, address := range []string{"/repo/juno/debian-12/updates/sluice.sources", fmt.Sprintf("/test/%d/juno/debian-12/sluice.sources", s.GoodBuildset.ID)} {
		answer, err := http.Get(w.URL + address) // what the page tells people to fetch
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			t.Errorf("%s: %s", address, answer.Status)
		}
	}
	t.Run("live", func(t *testing.T) {
		home, log := open(t, "/", laptop), open(t, jobPath(s.Running.ID), laptop)
		home.shows(s.Checked.Subject)
		log.shows("first line", "Following")
		w.Log(s.Lease, s.LogSize, "second line\n")
		log.shows("second line", "2 lines")
		w.Finish(s.Lease, job.Result{Outcome: job.Failed, Cause: "hello does not build", Findings: []job.Finding{
			{Severity: "error", File: "hello.c", Line: 3, Message: "expected ‘;’", LogLine: 2},
		}}, nil)
		log.shows("hello.c:3 expected ‘;’", "failed", "To the end")
		if err := home.Until(t.Context(), `document.querySelector(".checks .chip.bad").textContent === "buildfailed"`); err != nil {
			t.Error(err)
		}
	})
}

func jobPath(id int64) string { return fmt.Sprintf("/job/%d", id) }

func buildsetPath(id int64) string { return fmt.Sprintf("/buildset/%d", id) }
