package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"sluice/api"
	"sluice/internal/trial"
)

// judge holds the run to what has to be true of it. All that is wrong is told,
// not only the first.
func (d *demo) judge(ctx context.Context, story []*change) error {
	j := &judge{d: d, story: story, history: map[*change][]api.Buildset{}}
	if err := j.read(ctx); err != nil {
		return err
	}
	return errors.Join(j.outcomes(), j.comments(ctx), j.stacked(), j.innocents(), j.systest(ctx), j.published(ctx))
}

type judge struct {
	d       *demo
	story   []*change
	history map[*change][]api.Buildset // the gate's, oldest first
}

// read reads each change's buildsets in the gate.
func (j *judge) read(ctx context.Context) error {
	for _, c := range j.story {
		full, err := get[api.Change](ctx, j.d.service, "changes/main/%d", c.number)
		if err != nil {
			return err
		}
		for _, item := range full.History {
			if item.Pipeline != "gate" {
				continue
			}
			for _, b := range slices.Backward(item.Buildsets) {
				one, err := get[api.Buildset](ctx, j.d.service, "buildsets/%d", b.ID)
				if err != nil {
					return err
				}
				j.history[c] = append(j.history[c], one)
			}
		}
	}
	return nil
}

// outcomes: each change has the outcome that it has to have, in the service and in Gerrit.
func (j *judge) outcomes() error {
	var errs []error
	for _, c := range j.story {
		if c.told.result != c.expect {
			errs = append(errs, fmt.Errorf("%s (%s): %s, and has to be %s: %s", c, c.subject, c.told.result, c.expect, c.told.finding))
		}
	}
	return errors.Join(errs...)
}

// comments: the gate's comment in Gerrit on each change that fails says the
// exact finding, and Gerrit has merged just what has landed.
func (j *judge) comments(ctx context.Context) error {
	var errs []error
	found := 0
	for _, c := range j.story {
		info, err := j.d.gerrit.change(ctx, c.number)
		if err != nil {
			return err
		}
		if status := map[bool]string{true: "MERGED", false: "NEW"}[c.expect == lands]; info.Status != status {
			errs = append(errs, fmt.Errorf("%s is %s in Gerrit, and has to be %s", c, info.Status, status))
		}
		if c.expect == lands {
			continue
		}
		text := ""
		for _, m := range info.Messages {
			if m.Author.Username == "gate" && strings.Contains(m.Message, "Gate failed") {
				text = m.Message
			}
		}
		if err := c.foundIn(text); err != nil {
			errs = append(errs, fmt.Errorf("%s: the gate's comment in Gerrit %w:\n%s", c, err, text))
			continue
		}
		found++
	}
	if len(errs) == 0 {
		say("judged: each outcome is as it has to be, and the comments on %d failing changes in Gerrit say the exact finding", found)
	}
	return errors.Join(errs...)
}

// foundIn looks for the finding that a comment has to have, in one line of it.
func (c *change) foundIn(text string) error {
	place := c.file
	if c.line > 0 {
		place = fmt.Sprintf("%s:%d:", c.file, c.line)
	}
	if c.expect == conflicts {
		if !strings.Contains(text, "\n    "+c.file+"\n") {
			return fmt.Errorf("does not name %s", c.file)
		}
		return nil
	}
	for line := range strings.Lines(text) {
		all := strings.HasPrefix(strings.TrimSpace(line), place)
		for _, word := range c.words {
			all = all && strings.Contains(line, word)
		}
		if all {
			return nil
		}
	}
	return fmt.Errorf("has no line that begins with %q and says %q", place, c.words)
}

// stacked: at least three buildsets that each stood on two changes or more
// were under test at one moment.
func (j *judge) stacked() error {
	type span struct{ from, to time.Time }
	var spans []span
	for _, all := range j.history {
		for _, b := range all {
			if len(b.Stack) < 2 {
				continue
			}
			s := span{b.Buildset.CreatedAt, b.Buildset.CreatedAt}
			for _, job := range b.Buildset.Jobs {
				if job.EndedAt != nil && job.EndedAt.After(s.to) {
					s.to = *job.EndedAt
				}
			}
			if b.Buildset.EndedAt != nil && b.Buildset.EndedAt.Before(s.to) {
				s.to = *b.Buildset.EndedAt
			}
			spans = append(spans, s)
		}
	}
	most := 0
	for _, at := range spans {
		n := 0
		for _, s := range spans {
			if !s.from.After(at.from) && s.to.After(at.from) {
				n++
			}
		}
		most = max(most, n)
	}
	if most < 3 {
		return fmt.Errorf("at most %d buildsets that stood on two changes or more were under test at once, and 3 have to be", most)
	}
	say("judged: %d buildsets, each stacked on two changes or more, were under test at once", most)
	return nil
}

// innocents: a failure in the middle of the queue moved those behind it, and
// no package that does not hold the failing change was built again.
func (j *judge) innocents() error {
	moved := 0
	var errs []error
	for _, c := range j.story {
		if c.expect != lands {
			continue
		}
		hit := false
		for _, f := range j.story {
			if f.expect != fails {
				continue
			}
			under := func(b api.Buildset) bool {
				return slices.ContainsFunc(b.Stack, func(r api.ChangeRef) bool { return r.Number == f.number })
			}
			if f.pkg != c.pkg && slices.ContainsFunc(j.history[c], under) {
				hit = true
			}
			if f.pkg == c.pkg {
				hit = false // its tree held the failing change
				break
			}
		}
		if !hit {
			continue
		}
		moved++
		for target, n := range builds(j.history[c]) {
			if n > 1 {
				errs = append(errs, fmt.Errorf("%s was built %d times for %s, though what it holds did not change", c, n, target))
			}
		}
	}
	if moved == 0 {
		errs = append(errs, errors.New("no change stood behind one that failed"))
	}
	if len(errs) == 0 {
		say("judged: %d changes stood behind one that failed, and none of their packages was built again", moved)
	}
	return errors.Join(errs...)
}

// builds counts the builds that really ran, by target.
func builds(all []api.Buildset) map[string]int {
	n := map[string]int{}
	for _, b := range all {
		for _, job := range b.Buildset.Jobs {
			if job.Stage == "build" && !job.Reused && job.StartedAt != nil {
				n[job.Target]++
			}
		}
	}
	return n
}

// systest: in the system test of what landed, the version under test answered
// the request of the other node.
func (j *judge) systest(ctx context.Context) error {
	for _, c := range j.story {
		if !c.systest || c.told.result != lands {
			continue
		}
		all := j.history[c]
		last := all[len(all)-1]
		for _, target := range trial.Targets {
			if err := j.answered(ctx, last, target); err != nil {
				return fmt.Errorf("%s: %w", c, err)
			}
		}
	}
	return nil
}

// answered looks into the log for what the scenario says of the version that
// is now in the repository.
func (j *judge) answered(ctx context.Context, b api.Buildset, target string) error {
	r, err := get[api.Repository](ctx, j.d.service, "repositories/%s/updates", target)
	if err != nil {
		return err
	}
	version := landedVersion(r, "mini-httpd")
	for _, job := range b.Buildset.Jobs {
		if job.Stage != "systest" || job.Target != target {
			continue
		}
		body, err := j.d.service.open(ctx, fmt.Sprintf("%s/api/v1/jobs/%d/log", j.d.service.url, job.ID))
		if err != nil {
			return err
		}
		defer body.Close()
		log, err := io.ReadAll(body)
		if err != nil {
			return err
		}
		if !strings.Contains(string(log), "the client was answered by mini-httpd "+version+"\n") {
			return fmt.Errorf("in the system test on %s the client was not answered by version %s", target, version)
		}
		say("judged: in the system test on %s the server's %s answered the client", target, version)
		return nil
	}
	return fmt.Errorf("no system test ran on %s", target)
}

// published: what is in the released repositories is what was tested: equal
// files for DEB, equal payloads for RPM, which are signed.
func (j *judge) published(ctx context.Context) error {
	for _, target := range trial.Targets {
		r, err := get[api.Repository](ctx, j.d.service, "repositories/%s/updates", target)
		if err != nil {
			return err
		}
		n := 0
		for _, p := range r.Packages {
			if p.Kind != "package" {
				continue
			}
			tested, err := j.tested(ctx, p, target)
			if err != nil {
				return err
			}
			if err := j.equal(ctx, p, tested, string(r.Repository.Format)); err != nil {
				return err
			}
			n++
		}
		if n == 0 {
			return fmt.Errorf("%s has no packages", r.Repository.Name)
		}
		say("judged: all %d binary packages in %s have the payload digest that was tested", n, r.Repository.Name)
	}
	return nil
}

// tested finds the file that the buildset's tests had.
func (j *judge) tested(ctx context.Context, p api.Package, target string) (api.Artifact, error) {
	b, err := get[api.Buildset](ctx, j.d.service, "buildsets/%d", p.Buildset)
	if err != nil {
		return api.Artifact{}, err
	}
	for _, s := range b.Buildset.Jobs {
		if s.Stage != "build" || s.Target != target {
			continue
		}
		job, err := get[api.Job](ctx, j.d.service, "jobs/%d", s.ID)
		if err != nil {
			return api.Artifact{}, err
		}
		for _, a := range job.Artifacts {
			if a.Name == filepath.Base(p.File) {
				return a, nil
			}
		}
	}
	return api.Artifact{}, fmt.Errorf("%s %s: buildset %d, which tested it, has no such file", p.Name, p.Version, p.Buildset)
}

func (j *judge) equal(ctx context.Context, p api.Package, tested api.Artifact, format string) error {
	a, err := j.payload(ctx, p.Address, format)
	if err != nil {
		return err
	}
	b, err := j.payload(ctx, tested.Address, format)
	if err != nil {
		return err
	}
	if a != b {
		return fmt.Errorf("%s %s: published payload %s, tested payload %s", p.Name, p.Version, a, b)
	}
	return nil
}

// payload downloads a package and gives the digest of what it installs: of the
// whole file for DEB; the payload's, and that of the header without signatures, for RPM.
func (j *judge) payload(ctx context.Context, address, format string) (string, error) {
	body, err := j.d.service.open(ctx, address)
	if err != nil {
		return "", err
	}
	defer body.Close()
	file, err := os.Create(j.d.place.path("package"))
	if err != nil {
		return "", err
	}
	defer file.Close()
	sum := sha256.New()
	if _, err := io.Copy(io.MultiWriter(file, sum), body); err != nil {
		return "", err
	}
	if format == "deb" {
		return hex.EncodeToString(sum.Sum(nil)), nil
	}
	out, err := j.d.procs.output(ctx, nil, "rpm", "-qp", "--nosignature", "--qf", "%{PAYLOADDIGEST} %{SHA256HEADER}", file.Name())
	if err != nil {
		return "", fmt.Errorf("rpm -qp %s: %w: %s", address, err, out)
	}
	return string(out), nil
}

// printTable ends the story: change → outcome → first finding.
func printTable(story []*change) {
	fmt.Println()
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "CHANGE\tPACKAGE\tSUBJECT\tOUTCOME\tFIRST FINDING")
	for _, c := range story {
		fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\n", c.number, c.pkg, c.subject, c.told.result, c.told.finding)
	}
	w.Flush()
	fmt.Println()
}
