package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"time"

	"sluice/api"
)

// importPackages lets the packages' first versions go through the gate, as any
// change does. Later runs find them there.
func (d *demo) importPackages(ctx context.Context) error {
	var first []*change
	for _, p := range packages {
		c := &change{pkg: p.name, subject: "Import " + p.name + " from Debian", body: "The unpacked source, its patches applied.", expect: lands}
		if p.spec {
			c.body += "\nThe spec is ours."
		}
		t, err := d.gerrit.checkout(ctx, c.project(), "")
		if err != nil {
			return err
		}
		if _, err := os.Stat(t.dir + "/debian"); err == nil {
			continue // an earlier run's
		}
		if out, err := exec.CommandContext(ctx, "cp", "-a", d.place.path("sources", p.name)+"/.", t.dir).CombinedOutput(); err != nil {
			return fmt.Errorf("copy %s: %w: %s", p.name, err, out)
		}
		if err := addOurs(t, p); err != nil {
			return err
		}
		if err := d.gerrit.propose(ctx, t, c); err != nil {
			return err
		}
		first = append(first, c)
	}
	if len(first) == 0 {
		return nil
	}
	say("the packages' first versions go through the gate")
	if err := d.approveAll(ctx, first); err != nil {
		return err
	}
	if err := d.watch(ctx, first); err != nil {
		return err
	}
	for _, c := range first {
		if c.told.result != lands {
			return fmt.Errorf("the import of %s %s: %s", c.pkg, c.told.result, c.told.finding)
		}
	}
	return nil
}

// addOurs adds to Debian's source what is ours: the spec, the package file, tests.
func addOurs(t tree, p source) error {
	if p.spec {
		if err := t.write(p.name+".spec", bring("specs/"+p.name+".spec")); err != nil {
			return err
		}
	}
	if p.file != "" {
		if err := t.write(".sluice.yaml", p.file); err != nil {
			return err
		}
	}
	for name, text := range p.more {
		if err := t.write(name, text); err != nil {
			return err
		}
	}
	return nil
}

// play pushes all changes of the story, has them approved at once, and follows
// them until each has an outcome.
func (d *demo) play(ctx context.Context, story []*change) error {
	for _, c := range story {
		on := ""
		if c.on != nil {
			on = c.on.commit
		}
		t, err := d.gerrit.checkout(ctx, c.project(), on)
		if err != nil {
			return err
		}
		if err := c.edit(t, c); err != nil {
			return fmt.Errorf("edit %s (%s): %w", c.pkg, c.subject, err)
		}
		if err := d.gerrit.propose(ctx, t, c); err != nil {
			return err
		}
		more := ""
		switch {
		case c.on != nil:
			more = fmt.Sprintf(", on top of %d", c.on.number)
		case c.dependsOn != nil:
			more = fmt.Sprintf(", Depends-On %d", c.dependsOn.number)
		}
		say("Mai Maintainer proposes %s: %s%s", c, c.subject, more)
	}
	if err := d.approveAll(ctx, story); err != nil {
		return err
	}
	return d.watch(ctx, story)
}

func (d *demo) approveAll(ctx context.Context, all []*change) error {
	for _, c := range all {
		if err := d.gerrit.approve(ctx, c.number); err != nil {
			return err
		}
		if err := d.noticed(ctx, c); err != nil {
			return err
		}
	}
	say("Rae Reviewer approves %d changes at once", len(all))
	return nil
}

// noticed waits until the service has read the approval: changes enter the gate
// in the order in which it saw that they are ready, and the story has an order.
func (d *demo) noticed(ctx context.Context, c *change) error {
	for began := time.Now(); time.Since(began) < patience; {
		is, err := get[api.Change](ctx, d.service, "changes/main/%d", c.number)
		if err == nil && (is.Ready || is.Change.Status != api.Open) {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
	return fmt.Errorf("%s was approved, and the service did not notice within %s", c, patience)
}

// patience is how long nothing may happen before the demo gives up. Machines
// that are busy with other work take their time.
const patience = 10 * time.Minute
