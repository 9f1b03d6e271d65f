package main

import (
	"context"
	"fmt"
	"time"

	"sluice/internal/blob"
	"sluice/internal/fsck"
	"sluice/internal/postgres"
)

// fsckCommand checks everything that is kept.
type fsckCommand struct{ atDatabase }

// exportDue is far more than the export of a large repository takes.
const exportDue = 30 * time.Second

// Run prints each problem by its name; the exit status is 1 if there is any.
func (c *fsckCommand) Run(ctx context.Context, o output) error {
	site, err := loadSite(c.Config, o)
	if err != nil {
		return err
	}
	db, err := c.present(ctx, site, o.logger(false))
	if err != nil {
		return err
	}
	defer db.close()
	blobs, err := blob.OpenFS(site.Data + "/blobs")
	if err != nil {
		return err
	}
	release, err := signer(site, site.Keys.Release, "release", "")
	if err != nil {
		return err
	}
	found, err := fsck.Run(ctx, fsck.Options{
		Rows: db.store, Blobs: blobs, Export: site.Repositories.Export, ExportDue: exportDue, Keys: release.PublicBinary(),
		Progress: func(format string, args ...any) { fmt.Fprintf(o.err, "checking "+format+"\n", args...) },
	})
	if err != nil {
		return err
	}
	for _, p := range found {
		fmt.Fprintln(o.out, p)
	}
	if len(found) > 0 {
		return fmt.Errorf("%d problems", len(found))
	}
	fmt.Fprintln(o.out, "clean")
	return nil
}

// check that the store can be what fsck reads.
var _ fsck.Rows = (*postgres.Store)(nil)
