package main

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"

	"sluice/internal/blob"
	"sluice/internal/config"
	"sluice/internal/fsck"
	"sluice/internal/postgres"
	"sluice/internal/postgres/embedded"
)

// fsckCommand checks everything that is kept.
type fsckCommand struct {
	Config   string `help:"The site file." default:"/etc/sluice/sluice.yaml" type:"existingfile"`
	Database string `help:"Address of the database, where it is not the site file's; that of a running service with the embedded one is found by itself." env:"DATABASE_URL"`
}

// Run prints each problem by its name; the exit status is 1 if there is any.
func (c *fsckCommand) Run(ctx context.Context, o output) error {
	site, err := loadSite(c.Config, o)
	if err != nil {
		return err
	}
	log := o.logger(false)
	db, err := c.database(ctx, site, log)
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
		Rows: db.store, Blobs: blobs, Export: site.Repositories.Export, Keys: release.PublicBinary(),
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

// database opens the database: the given one, that of a service which runs now, or the site's.
func (c *fsckCommand) database(ctx context.Context, site *config.Site, log *slog.Logger) (db database, err error) {
	dsn := c.Database
	if dsn == "" {
		if dsn, err = site.DatabaseURL(); err != nil {
			return db, err
		}
	}
	if dsn == "" && embedded.Runs(filepath.Join(site.Data, "postgres")) {
		dsn = embedded.DSN(filepath.Join(site.Data, "postgres"))
	}
	if dsn == "" {
		return openDatabase(ctx, site, log)
	}
	db.store, err = postgres.Open(ctx, dsn)
	return db, err
}

// check that the store can be what fsck reads.
var _ fsck.Rows = (*postgres.Store)(nil)
