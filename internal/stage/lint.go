package stage

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"regexp"
	"strings"

	"sluice/internal/job"
	"sluice/internal/sandbox"
)

// Lint (R33, R34): lintian or rpmlint, inside a box, on what the build made.
// Real packages have old sins, so only what the released version did not have
// counts: an error fails the job, a warning is reported.

//go:embed rpmlint.toml
var rpmlintConfig []byte

const lintDir = "/srv/lint"

// linter gives a box that has the program, and the packages in lintDir.
func (a *attempt) linter(ctx context.Context, program string) (*sandbox.Box, []string, error) {
	layers, err := a.ready(ctx)
	if err != nil {
		return nil, nil, err
	}
	a.log.Step("install " + program)
	fetcher, err := a.box(ctx, "fetch", layers)
	if err != nil {
		return nil, nil, err
	}
	defer fetcher.Close()
	if _, err := a.quiet(ctx, fetcher, sandbox.Command{Args: []string{"sh", "-c", "command -v " + program}}); err != nil {
		if layers, err = a.withPackages(ctx, layers, fetcher, request{Names: []string{program}}); err != nil {
			if v, ok := asVerdict(err); ok {
				err = outside("%s cannot be installed from the target's repositories (%s): add it to the root's recipe, or a repository that has it", program, v.Cause)
			}
			return nil, nil, err
		}
	}
	b, err := a.box(ctx, "lint", layers)
	if err != nil {
		return nil, nil, err
	}
	var names []string
	for _, f := range a.spec.Packages {
		if !plainFile(f.Name) {
			continue
		}
		if err := a.fetch(ctx, b, f, lintDir+"/"+f.Name); err != nil {
			b.Close()
			return nil, nil, err
		}
		names = append(names, f.Name)
	}
	if len(names) == 0 {
		b.Close()
		return nil, nil, outside("the job names no packages to lint")
	}
	return b, names, nil
}

func (a *attempt) lintDEB(ctx context.Context) error {
	b, names, err := a.linter(ctx, "lintian")
	if err != nil {
		return err
	}
	defer b.Close()
	a.log.Step("lintian")
	args := []string{"lintian", "--exp-output", "format=json", "--fail-on", "none", "--allow-root", "--no-cfg", "--"}
	var lint []string
	for _, n := range names {
		if strings.HasSuffix(n, ".dsc") || strings.HasSuffix(n, ".deb") || strings.HasSuffix(n, ".udeb") {
			lint = append(lint, n)
		}
	}
	out, err := a.output(ctx, b, sandbox.Command{User: sandbox.Builder, Dir: lintDir, Args: append(args, lint...),
		Env: map[string]string{"LC_ALL": "C.UTF-8", "HOME": "/home/" + sandbox.Builder}})
	if err != nil {
		return err
	}
	if err := a.store(ctx, "lintian.json", job.Report, strings.NewReader(out)); err != nil {
		return err
	}
	found, err := parseLintian([]byte(out))
	if err != nil {
		return a.fail("lintian", "", 0, "lintian's report cannot be read: %v", err)
	}
	for i := range found {
		if found[i].File != "" {
			found[i].File = path.Join(a.packaging(), found[i].File)
		}
	}
	return a.newOnly(found)
}

// parseLintian reads lintian's JSON report: groups of files with their hints.
func parseLintian(data []byte) ([]job.Finding, error) {
	var report struct {
		Groups []struct {
			Files []struct {
				Path  string `json:"path"`
				Hints []struct {
					Tag        string `json:"tag"`
					Note       string `json:"note"`
					Visibility string `json:"visibility"`
					Override   any    `json:"override"`
					Pointer    struct {
						Item struct {
							Name string `json:"name"`
						} `json:"item"`
						Line int `json:"line_position"`
					} `json:"pointer"`
				} `json:"hints"`
			} `json:"input_files"`
		} `json:"groups"`
	}
	if err := json.Unmarshal(data, &report); err != nil {
		return nil, err
	}
	var out []job.Finding
	for _, g := range report.Groups {
		for _, f := range g.Files {
			for _, h := range f.Hints {
				if h.Override != nil || h.Visibility != "error" && h.Visibility != "warning" {
					continue
				}
				name, _, _ := strings.Cut(f.Path[strings.LastIndexByte(f.Path, '/')+1:], "_")
				if strings.HasSuffix(f.Path, ".dsc") || strings.HasSuffix(f.Path, ".changes") {
					name += " source"
				}
				message := strings.TrimSpace(name + ": " + h.Tag + " " + h.Note)
				finding := job.Finding{Severity: h.Visibility, Rule: "lintian:" + h.Tag}
				if item := h.Pointer.Item.Name; strings.HasPrefix(item, "debian/") {
					finding.File, finding.Line = item, h.Pointer.Line
				} else if item != "" {
					message += " [" + item + "]"
				}
				finding.Message = cutText(tidy(message), 500)
				out = append(out, finding)
			}
		}
	}
	return out, nil
}

func (a *attempt) lintRPM(ctx context.Context) error {
	b, names, err := a.linter(ctx, "rpmlint")
	if err != nil {
		return err
	}
	defer b.Close()
	a.log.Step("rpmlint")
	if err := b.WriteFile(lintDir+"/rpmlint.toml", rpmlintConfig, 0o644, sandbox.Root); err != nil {
		return err
	}
	args := []string{"rpmlint", "--config", lintDir + "/rpmlint.toml"}
	for _, n := range names {
		if strings.HasSuffix(n, ".rpm") {
			args = append(args, n)
		}
	}
	a.log.begin()
	out := &limited{max: maxOutput}
	c := sandbox.Command{User: sandbox.Builder, Dir: lintDir, Args: args, Stdout: out, Stderr: a.log,
		Env: map[string]string{"LC_ALL": "C.UTF-8", "HOME": "/home/" + sandbox.Builder}}
	err = b.Run(ctx, c)
	var exit *sandbox.ExitError
	// 64: there are errors; 66: too much badness. Both are what it found.
	if err != nil && (!errors.As(err, &exit) || exit.Code != 64 && exit.Code != 66) {
		return a.explain(ctx, c, err)
	}
	if !strings.Contains(out.String(), "rpmlint session starts") && !strings.Contains(out.String(), "packages and") {
		return a.explain(ctx, c, errors.Join(err, &sandbox.ExitError{Command: "rpmlint", Code: 1}))
	}
	if err := a.store(ctx, "rpmlint.txt", job.Report, strings.NewReader(out.String())); err != nil {
		return err
	}
	return a.newOnly(parseRpmlint(out.String()))
}

var rpmlintLine = regexp.MustCompile(`^(\S+?)(?:\.(?:src|noarch|[a-z0-9_]+))?: ?(?:(\d+):)? ?([EW]): (\S+)(?: (.*))?$`)

// parseRpmlint reads rpmlint's lines: "hello.x86_64: E: check details".
func parseRpmlint(text string) []job.Finding {
	var out []job.Finding
	for line := range strings.Lines(text) {
		g := rpmlintLine.FindStringSubmatch(tidy(line))
		if g == nil {
			continue
		}
		f := job.Finding{Severity: "warning", Rule: "rpmlint:" + g[4], Message: cutText(strings.TrimSpace(fmt.Sprintf("%s: %s %s", g[1], g[4], g[5])), 500)}
		if g[3] == "E" {
			f.Severity = "error"
		}
		if strings.HasSuffix(g[1], ".spec") {
			f.File, f.Line = g[1], atoi(g[2])
		}
		out = append(out, f)
	}
	return out
}

var numbers = regexp.MustCompile(`[0-9]+`)

// identity is what makes two findings the same: not their numbers (lines,
// versions, dates), which change with every build.
func identity(f job.Finding) string {
	return f.Rule + "\x00" + numbers.ReplaceAllString(f.Message, "0")
}

// newOnly reports what the released version did not have.
func (a *attempt) newOnly(found []job.Finding) error {
	known := map[string]int{}
	for _, f := range a.spec.Known {
		known[identity(f)]++
	}
	old, failed := 0, false
	var fresh []job.Finding
	for _, f := range found {
		if id := identity(f); known[id] > 0 {
			known[id]--
			old++
			a.log.Printf("%s (known): %s", f.Severity, f.String())
			continue
		}
		a.log.Printf("%s: %s", f.Severity, f.String())
		f.LogLine = a.log.Line()
		failed = failed || f.Severity == "error"
		fresh = append(fresh, f)
	}
	a.log.Printf("%d findings are new, %d are known from the released version", len(fresh), old)
	if failed {
		return fails(fresh...)
	}
	a.findings = append(a.findings, fresh...)
	return nil
}
