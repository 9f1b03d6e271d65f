package web_test

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"sluice/api"
	"sluice/web/webtest"
)

// TestNoticeUpdatesThePage: a notice is enough; nothing is loaded anew, and what
// did not change stays the same element.
func TestNoticeUpdatesThePage(t *testing.T) {
	f := serve(t, webtest.Busy(time.Now()))
	p := f.open("/", laptop)
	p.shows("testing, 2 of 10 done", "Recently")
	p.run(`window.moved = 0; new PerformanceObserver((l) => l.getEntries().forEach((e) => window.moved += e.value)).observe({ type: "layout-shift", buffered: true })`)
	p.run(`window.mark = document.querySelector("#item-17 .card")`)
	f.Change(func(w *webtest.World) {
		it := &w.Queues[0].Items[5]
		it.Done = 9
		it.Buildset.Jobs[2].State = "passed"
	}, "queue main")
	p.shows("testing, 9 of 10 done")
	p.until(`window.mark === document.querySelector("#item-17 .card") && document.querySelectorAll("#item-17 .chip.run").length === 0`)

	if moved := p.number(`window.moved`); moved > 0.02 {
		t.Errorf("what was shown has moved about by %.3f (cumulative layout shift)", moved)
	}

	f.Change(func(w *webtest.World) { w.Queues[0].Items = w.Queues[0].Items[1:] }, "queue main")
	p.until(`!document.body.innerText.includes("Read gzip headers with an extra field")`)

	// A notice of a job or a buildset is enough, too, and one of another queue is not read for.
	f.Change(func(w *webtest.World) { w.Queues[0].Items[4].Done = 10 }, fmt.Sprintf("job %d", f.world.Queues[0].Items[4].Buildset.Jobs[0].ID))
	p.shows("testing, 10 of 10 done")
}

// TestManyNotices: a storm of notices is a few readings.
func TestManyNotices(t *testing.T) {
	f := serve(t, webtest.Busy(time.Now()))
	p := f.open("/queue/main", laptop)
	p.shows("testing, 2 of 10 done")
	before := f.Asked("/api/v1/queues/main")
	var notices []string
	for range 500 {
		notices = append(notices, "queue main")
	}
	f.Change(func(w *webtest.World) { w.Queues[0].Items[5].Done = 8 }, notices...)
	p.shows("testing, 8 of 10 done")
	f.Change(func(w *webtest.World) { w.Queues[0].Items[5].Done = 9 }, notices...)
	p.shows("testing, 9 of 10 done")
	if n := f.Asked("/api/v1/queues/main") - before; n > 6 {
		t.Errorf("1000 notices made the page read the queue %d times", n)
	}
}

// TestReconnecting: a service that is away is said, what was shown stays, and
// the page finds back by itself.
func TestReconnecting(t *testing.T) {
	f := serve(t, webtest.Busy(time.Now()))
	p := f.open("/", laptop)
	p.shows("testing, 2 of 10 done", "live")
	f.Down(true)
	p.shows("reconnecting", "testing, 2 of 10 done")
	f.Change(func(w *webtest.World) { w.Queues[0].Items[5].Done = 7 })
	f.Down(false)
	p.shows("live", "testing, 7 of 10 done")
	p.until(`!document.querySelector(".trouble")`)
}

// TestPolling: without notices the page asks every few seconds.
func TestPolling(t *testing.T) {
	f := serve(t, webtest.Busy(time.Now()))
	f.Mute(true)
	p := f.open("/", laptop)
	p.shows("reconnecting", "testing, 2 of 10 done")
	f.Change(func(w *webtest.World) { w.Queues[0].Items[5].Done = 6 })
	p.shows("testing, 6 of 10 done")
}

// TestLiveLog: a log is shown as it is written and followed; when the job has
// ended the page says so.
func TestLiveLog(t *testing.T) {
	f := serve(t, webtest.Busy(time.Now()))
	j := f.job(webtest.FailedChange, 6)
	if j.State != "running" {
		t.Fatalf("%s is %s", j.Name, j.State)
	}
	p := f.open(jobPath(j), laptop)
	p.shows("40 lines", "Following")
	p.until(`scrollY + innerHeight >= document.documentElement.scrollHeight - 2`)
	write := func(text string, ended bool) {
		f.Change(func(w *webtest.World) {
			l := w.Logs[j.ID]
			l.Text, l.Ended = append(l.Text, text...), ended
			if ended {
				w.Jobs[j.ID].Job.State = "passed"
				w.Jobs[j.ID].Job.EndedAt = new(time.Now())
			}
		}, fmt.Sprintf("log %d", j.ID), fmt.Sprintf("job %d", j.ID))
	}
	for i := range 50 {
		write(fmt.Sprintf("a new line %d\n", i), false)
	}
	write("half a li", false)
	p.shows("a new line 49", "half a li", "91 lines")
	p.until(`scrollY + innerHeight >= document.documentElement.scrollHeight - 2`)
	p.run(`scrollBy(0, -300)`) // somebody reads further up: the page holds still
	p.until(`document.querySelector(".tools button").textContent === "Follow"`)
	write("ne\nthe last words\n", true)
	p.shows("half a line", "92 lines", "To the end")
	p.until(`document.querySelector(".pagehead .badge").textContent === "passed"`)
	if p.number(`document.documentElement.scrollHeight - scrollY - innerHeight`) < 200 {
		t.Error("the page followed although its reader had scrolled up")
	}
}

// TestReaderScrollsAsTheLogGrows: who scrolls up in the very moment in which the
// page has followed the log is heeded; the browser tells of both as one scroll.
func TestReaderScrollsAsTheLogGrows(t *testing.T) {
	f := serve(t, webtest.Busy(time.Now()))
	j := f.job(webtest.FailedChange, 6)
	p := f.open(jobPath(j), laptop)
	p.shows("40 lines", "Following")
	p.until(`scrollY + innerHeight >= document.documentElement.scrollHeight - 2`)
	p.run(`new MutationObserver((_, o) => { if (document.body.textContent.includes("90 lines")) { o.disconnect(); scrollBy(0, -300) } }).observe(document.body, { subtree: true, childList: true, characterData: true })`)
	f.Change(func(w *webtest.World) {
		l := w.Logs[j.ID]
		for i := range 50 {
			l.Text = fmt.Appendf(l.Text, "a new line %d\n", i)
		}
	}, fmt.Sprintf("log %d", j.ID))
	p.shows("90 lines")
	p.until(`document.querySelector(".tools button").textContent === "Follow"`)
}

// TestHugeLog: of a log of 40 MB only what is near the window is in the page;
// its lines have addresses, and words are found in it.
func TestHugeLog(t *testing.T) {
	f := serve(t, webtest.Busy(time.Now()))
	j := f.job(webtest.FailedChange, 0)
	var b bytes.Buffer
	for n := 1; n <= 600_000; n++ {
		fmt.Fprintf(&b, "line %d of a build that says everything that it does\r\n", n)
	}
	b.WriteString("\x1b[31;1mthe needle\x1b[0m is here " + string(bytes.Repeat([]byte("x"), 10_000)) + "\nlast\n")
	f.Change(func(w *webtest.World) {
		w.Logs[j.ID] = &webtest.Log{Text: b.Bytes(), Ended: true}
		w.Jobs[j.ID].Findings = []api.Finding{}
	})
	p := f.open(jobPath(j)+"#L400000-L400002", laptop)
	p.shows("600,002 lines")
	p.until(`document.querySelectorAll(".l.sel").length === 3 && document.querySelector(".l.sel").textContent === "400000line 400000 of a build that says everything that it does"`)
	p.until(`(() => { const b = document.querySelector(".l.sel").getBoundingClientRect(); return b.top > 60 && b.bottom < innerHeight })()`)
	if n := p.number(`document.querySelectorAll(".l").length`); n > 1200 {
		t.Errorf("%v lines are in the page", n)
	}
	p.run(`{ const i = document.querySelector(".tools input"); i.value = "NEEDLE"; i.dispatchEvent(new KeyboardEvent("keydown", { key: "Enter", bubbles: true })) }`)
	p.until(`location.hash === "#L600001" && document.querySelector(".l.sel span").textContent.startsWith("the needle is here xxx")`)
	p.shows("more bytes")
	p.run(`{ const i = document.querySelector(".tools input"); i.value = "nowhere"; i.dispatchEvent(new KeyboardEvent("keydown", { key: "Enter", bubbles: true })) }`)
	p.shows("not in it")
}

// TestCutLog: a log whose stream breaks is taken up where it broke.
func TestCutLog(t *testing.T) {
	f := serve(t, webtest.Busy(time.Now()))
	j := f.job(webtest.FailedChange, 6)
	p := f.open(jobPath(j), laptop)
	p.shows("40 lines")
	f.CutLogs()
	f.Change(func(w *webtest.World) {
		l := w.Logs[j.ID]
		l.Text, l.Ended = append(l.Text, "after the cut\n"...), true
	})
	p.shows("41 lines", "after the cut")
}

func TestFilters(t *testing.T) {
	f := serve(t, webtest.Busy(time.Now()))
	p := f.open("/repository/juno/debian-12/updates", laptop)
	p.shows("memcached")
	p.run(`{ const i = document.querySelector("input[type=search]"); i.value = "zlib"; i.dispatchEvent(new Event("input", { bubbles: true })) }`)
	p.until(`document.querySelectorAll("tbody tr").length === 2`)
	p = f.open("/changes", laptop)
	p.shows("Log to the journal", "Follow 2026c")
	p.run(`[...document.querySelectorAll("button")].find((b) => b.textContent === "Closed").click()`)
	p.until(`document.body.innerText.includes("Log to the journal") && !document.body.innerText.includes("Follow 2026c")`)
}
