package webtest

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// flags make chromium a quiet headless browser that asks nobody for anything.
var flags = []string{
	"--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
	"--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--hide-scrollbars", "--remote-debugging-pipe",
	"--proxy-server=direct://", "--disable-background-timer-throttling", "--disable-renderer-backgrounding", "--force-color-profile=srgb", "about:blank",
}

// Browser is a running chromium, told what to do over its debugging pipe: a
// message is JSON that ends with a zero byte.
type Browser struct {
	cmd *exec.Cmd
	to  *os.File

	mu     sync.Mutex // guards what is below, and writing
	next   int
	waits  map[int]chan message
	tabs   map[string]*Tab // by session
	closed error
}

type message struct {
	ID      int             `json:"id,omitempty"`
	Session string          `json:"sessionId,omitempty"`
	Method  string          `json:"method,omitempty"`
	Params  json.RawMessage `json:"params,omitempty"`
	Result  json.RawMessage `json:"result,omitempty"`
	Error   *struct {
		Message string `json:"message"`
	} `json:"error,omitempty"`
}

// StartBrowser starts chromium with a profile in dir, which has to be empty.
func StartBrowser(dir string) (*Browser, error) {
	program, err := exec.LookPath("chromium")
	if err != nil {
		return nil, fmt.Errorf("%w: scripts/install.sh test installs it", err)
	}
	theirIn, ourOut, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	ourIn, theirOut, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	b := &Browser{to: ourOut, waits: map[int]chan message{}, tabs: map[string]*Tab{}}
	b.cmd = exec.Command(program, append([]string{"--user-data-dir=" + dir}, flags...)...)
	b.cmd.ExtraFiles = []*os.File{theirIn, theirOut}
	b.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := b.cmd.Start(); err != nil {
		return nil, err
	}
	_, _ = theirIn.Close(), theirOut.Close()
	go b.read(ourIn)
	return b, nil
}

// Close ends the browser and every process of it.
func (b *Browser) Close() {
	_ = syscall.Kill(-b.cmd.Process.Pid, syscall.SIGKILL)
	_ = b.cmd.Wait()
	_ = b.to.Close()
}

func (b *Browser) read(from io.ReadCloser) {
	defer from.Close()
	r := bufio.NewReaderSize(from, 1<<20)
	for {
		data, err := r.ReadBytes(0)
		if err != nil {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.closed = errors.New("the browser has ended")
			for _, c := range b.waits {
				close(c)
			}
			b.waits = nil
			return
		}
		var m message
		if json.Unmarshal(data[:len(data)-1], &m) != nil {
			continue
		}
		b.mu.Lock()
		if c := b.waits[m.ID]; c != nil && m.ID != 0 {
			delete(b.waits, m.ID)
			c <- m
		} else if t := b.tabs[m.Session]; t != nil {
			t.heard(m)
		}
		b.mu.Unlock()
	}
}

// do sends a command and decodes its answer into result, unless that is nil.
func (b *Browser) do(ctx context.Context, session, method string, params, result any) error {
	p, err := json.Marshal(params)
	if err != nil {
		return err
	}
	answer := make(chan message, 1)
	b.mu.Lock()
	if b.closed != nil {
		b.mu.Unlock()
		return b.closed
	}
	b.next++
	b.waits[b.next] = answer
	data, _ := json.Marshal(message{ID: b.next, Session: session, Method: method, Params: p})
	_, err = b.to.Write(append(data, 0))
	b.mu.Unlock()
	if err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return fmt.Errorf("%s: %w", method, ctx.Err())
	case m, ok := <-answer:
		switch {
		case !ok:
			return fmt.Errorf("%s: the browser has ended", method)
		case m.Error != nil:
			return fmt.Errorf("%s: %s", method, m.Error.Message)
		case result != nil:
			return json.Unmarshal(m.Result, result)
		}
		return nil
	}
}

// Tab is one page in the browser.
type Tab struct {
	b       *Browser
	session string
	target  string
	said    []string // errors of its console; guarded by Browser.mu
}

// Look is how a tab appears.
type Look struct {
	Width, Height int
	Dark, Phone   bool
}

// Open makes a tab and lets it load an address.
func (b *Browser) Open(ctx context.Context, address string, look Look) (*Tab, error) {
	var target struct {
		TargetID string `json:"targetId"`
	}
	if err := b.do(ctx, "", "Target.createTarget", map[string]any{"url": "about:blank"}, &target); err != nil {
		return nil, err
	}
	var attached struct {
		SessionID string `json:"sessionId"`
	}
	if err := b.do(ctx, "", "Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &attached); err != nil {
		return nil, err
	}
	t := &Tab{b: b, session: attached.SessionID, target: target.TargetID}
	b.mu.Lock()
	b.tabs[t.session] = t
	b.mu.Unlock()
	scheme, scale := "light", 1
	if look.Dark {
		scheme = "dark"
	}
	if look.Phone {
		scale = 2
	}
	for _, c := range []struct {
		method string
		params any
	}{
		{"Page.enable", nil}, {"Emulation.setFocusEmulationEnabled", map[string]any{"enabled": true}}, {"Runtime.enable", nil}, {"Log.enable", nil},
		{"Emulation.setDeviceMetricsOverride", map[string]any{"width": look.Width, "height": look.Height, "deviceScaleFactor": scale, "mobile": look.Phone}},
		{"Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{{"name": "prefers-color-scheme", "value": scheme}}}},
		{"Page.navigate", map[string]any{"url": address}},
	} {
		params := c.params
		if params == nil {
			params = map[string]any{}
		}
		if err := b.do(ctx, t.session, c.method, params, nil); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// heard keeps what the console says of errors.
func (t *Tab) heard(m message) {
	switch m.Method {
	case "Runtime.exceptionThrown":
		t.said = append(t.said, string(m.Params))
	case "Log.entryAdded", "Runtime.consoleAPICalled":
		var p struct {
			Type  string `json:"type"`
			Entry struct {
				Level string `json:"level"`
			} `json:"entry"`
		}
		if json.Unmarshal(m.Params, &p) == nil && (p.Type == "error" || p.Type == "warning" || p.Entry.Level == "error") {
			t.said = append(t.said, string(m.Params))
		}
	}
}

// Errors are what the console has said of errors so far.
func (t *Tab) Errors() []string {
	t.b.mu.Lock()
	defer t.b.mu.Unlock()
	return append([]string{}, t.said...)
}

// Eval runs an expression in the page and decodes its value, waiting for a promise.
func (t *Tab) Eval(ctx context.Context, expression string, value any) error {
	var answer struct {
		Result struct {
			Value json.RawMessage `json:"value"`
		} `json:"result"`
		Exception *struct {
			Exception struct {
				Description string `json:"description"`
			} `json:"exception"`
		} `json:"exceptionDetails"`
	}
	params := map[string]any{"expression": expression, "awaitPromise": true, "returnByValue": true, "userGesture": true}
	if err := t.b.do(ctx, t.session, "Runtime.evaluate", params, &answer); err != nil {
		return err
	}
	if answer.Exception != nil {
		return fmt.Errorf("in the page: %s", answer.Exception.Exception.Description)
	}
	if value == nil || answer.Result.Value == nil {
		return nil
	}
	return json.Unmarshal(answer.Result.Value, value)
}

// Until waits until a condition holds in the page. The error shows the page's text.
func (t *Tab) Until(ctx context.Context, condition string) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	err := t.Eval(ctx, `new Promise(done => { const look = () => { let ok = false; try { ok = !!(`+condition+`) } catch {} ok ? done(true) : setTimeout(look, 20) }; look() })`, nil)
	if err == nil {
		return nil
	}
	var text string
	_ = t.Eval(context.WithoutCancel(ctx), `location.href + "\n" + (document.body?.innerText ?? "")`, &text)
	return fmt.Errorf("the page never showed %s: %w; it shows:\n%s", condition, err, text)
}

// Shows waits until a text is on the page.
func (t *Tab) Shows(ctx context.Context, text string) error {
	quoted, _ := json.Marshal(text)
	return t.Until(ctx, `document.body.innerText.includes(`+string(quoted)+`)`)
}

// Picture takes a PNG of the window, or of the whole page.
func (t *Tab) Picture(ctx context.Context, whole bool) ([]byte, error) {
	var answer struct {
		Data string `json:"data"`
	}
	if err := t.b.do(ctx, t.session, "Page.captureScreenshot", map[string]any{"format": "png", "captureBeyondViewport": whole}, &answer); err != nil {
		return nil, err
	}
	return base64.StdEncoding.DecodeString(answer.Data)
}

// Close closes the tab.
func (t *Tab) Close(ctx context.Context) error {
	return t.b.do(ctx, "", "Target.closeTarget", map[string]any{"targetId": t.target}, nil)
}
