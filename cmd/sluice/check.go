package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"sluice/internal/config"
	"sluice/internal/gerrit"
	"sluice/internal/postgres"
	"sluice/internal/postgres/embedded"
)

// checkCommand reads a site file or a package file.
type checkCommand struct {
	File string `arg:"" help:"A site file; a file called .sluice.yaml or *.sluice.yaml is read as a package file." type:"path"`
}

// Validate refuses what cannot be read to its end, or has none.
func (c *checkCommand) Validate() error {
	if c.File == "" {
		return errors.New("a file is wanted")
	}
	info, err := os.Stat(c.File)
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", c.File)
	}
	return err
}

// Run says what is wrong, with file, line and column.
func (c *checkCommand) Run(o output) error {
	if strings.HasSuffix(filepath.Base(c.File), config.PackageFile) {
		text, err := os.ReadFile(c.File)
		if err != nil {
			return err
		}
		if _, err := config.ParsePackage(c.File, text); err != nil {
			fmt.Fprintln(o.err, err)
			return errSaid
		}
		fmt.Fprintf(o.out, "%s is a sound package file\n", c.File)
		return nil
	}
	site, warnings, err := config.Load(c.File)
	if err == nil {
		var more []config.Warning
		more, err = site.CheckFiles()
		warnings = append(warnings, more...)
	}
	for _, w := range warnings {
		fmt.Fprintf(o.err, "warning: %s\n", w)
	}
	if err != nil {
		fmt.Fprintln(o.err, err)
		return errSaid
	}
	fmt.Fprintf(o.out, "%s is sound: %d targets, %d project rules, %d queues\n", c.File, len(site.Targets), len(site.Projects), len(site.Queues))
	return nil
}

// loadSite reads the site file and tells of warnings.
func loadSite(file string, o output) (*config.Site, error) {
	site, warnings, err := config.Load(file)
	for _, w := range warnings {
		fmt.Fprintf(o.err, "warning: %s\n", w)
	}
	return site, err
}

// migrateCommand brings the schema to this version.
type migrateCommand struct {
	atDatabase
	Down bool `help:"Take the last migration back instead. What it added is lost."`
}

// Run migrates.
func (c *migrateCommand) Run(ctx context.Context, o output) error {
	site, err := loadSite(c.Config, o)
	if err != nil {
		return err
	}
	db, err := c.open(ctx, site, o.logger(false))
	if err != nil {
		return err
	}
	defer db.close()
	if c.Down {
		err = db.store.MigrateDown(ctx)
	} else {
		err = db.store.Migrate(ctx)
	}
	if err != nil {
		return err
	}
	v, err := db.store.SchemaVersion(ctx)
	fmt.Fprintf(o.out, "the schema is at version %d\n", v)
	return err
}

// doctorCommand asks Gerrit whether the gate may do its work.
type doctorCommand struct {
	Config  string `help:"The site file." default:"/etc/sluice/sluice.yaml" type:"existingfile"`
	Observe bool   `help:"For serve --observe: the gate need not vote or submit."`
}

// Run prints what is wrong and how to mend it.
func (c *doctorCommand) Run(ctx context.Context, o output) error {
	site, err := loadSite(c.Config, o)
	if err != nil {
		return err
	}
	clients, err := newFetcher(site)
	if err != nil {
		return err
	}
	found, doubts := 0, 0
	for _, g := range site.Gerrit {
		client, err := newGerrit(g, clients)
		if err != nil {
			return err
		}
		check, gate := site.Pipelines.Check.Votes, site.Pipelines.Gate.Votes
		in := gerrit.DoctorInput{
			Label: g.Label, Votes: distinct(check.Passed, check.Failed, check.Started, gate.Passed, gate.Failed, gate.Started), Passed: gate.Passed,
			Approve: site.Pipelines.Gate.Approve, ReadOnly: c.Observe,
			Gated: func(project, branch string) bool {
				_, gated := site.Project(g.Name, project, branch)
				return gated
			},
		}
		if g.SSH != "" {
			if in.Stream, err = newStream(g); err != nil {
				return err
			}
		}
		if in.Projects, err = gatedProjects(ctx, site, g, client); err != nil {
			fmt.Fprintf(o.err, "%s: the projects cannot be listed: %v\n", g.Name, err)
			found++
		}
		for _, p := range client.Doctor(ctx, in) {
			if p.Doubt {
				fmt.Fprintf(o.out, "%s: not checked yet: %s\n", g.Name, p)
				doubts++
				continue
			}
			fmt.Fprintf(o.out, "%s: %s\n", g.Name, p)
			found++
		}
	}
	if found > 0 {
		return fmt.Errorf("%d problems", found)
	}
	if doubts > 0 {
		fmt.Fprintf(o.out, "nothing is wrong; %d points could not be checked yet\n", doubts)
		return nil
	}
	if c.Observe {
		fmt.Fprintln(o.out, "all is well: the gate may listen and read")
		return nil
	}
	fmt.Fprintln(o.out, "all is well: the gate may listen, vote and submit")
	return nil
}

// distinct are the votes that are not 0, each once.
func distinct(votes ...int) []int {
	slices.Sort(votes)
	return slices.DeleteFunc(slices.Compact(votes), func(v int) bool { return v == 0 })
}

// gatedProjects names the projects of a Gerrit that the site gates.
func gatedProjects(ctx context.Context, site *config.Site, g config.Gerrit, client *gerrit.Client) ([]string, error) {
	all, err := client.Projects(ctx)
	var out []string
	for _, p := range all {
		for _, rule := range site.Projects {
			if (rule.Gerrit == "" || rule.Gerrit == g.Name) && config.Glob(rule.Project, p) {
				out = append(out, p)
				break
			}
		}
	}
	return out, err
}

// atDatabase is a command beside the service, on its database.
type atDatabase struct {
	Config   string `help:"The site file." default:"/etc/sluice/sluice.yaml" type:"existingfile"`
	Database string `help:"Address of the database, where it is not the one that serve takes: the site file's, else DATABASE_URL's, else the embedded one, be it that a service runs it or not." placeholder:"URL"`
}

// Validate refuses what is no database's address; it may hold a password, and is not repeated.
func (c atDatabase) Validate() error {
	if d := c.Database; d != "" && !strings.HasPrefix(d, "postgres://") && !strings.HasPrefix(d, "postgresql://") && !strings.Contains(d, "=") {
		return errors.New("--database: postgres://USER@HOST/NAME is wanted")
	}
	return nil
}

// errNoDatabase: the embedded database is made by serve or migrate.
var errNoDatabase = errors.New("there is no database yet")

// present opens the database, and makes none where there is none.
func (c atDatabase) present(ctx context.Context, site *config.Site, log *slog.Logger) (d database, err error) {
	dsn, err := databaseURL(site)
	if folder := filepath.Join(site.Data, "postgres"); err == nil && c.Database+dsn == "" && !embedded.Made(folder) {
		return d, fmt.Errorf("%s: %w; serve makes it, or name another one with --database", folder, errNoDatabase)
	}
	return c.open(ctx, site, log) // which says what is wrong with the address
}

// open opens the database.
func (c atDatabase) open(ctx context.Context, site *config.Site, log *slog.Logger) (d database, err error) {
	dsn := c.Database
	if dsn == "" {
		if dsn, err = databaseURL(site); err != nil {
			return d, err
		}
	}
	if folder := filepath.Join(site.Data, "postgres"); dsn == "" && embedded.Runs(folder) {
		dsn = embedded.DSN(folder)
	}
	if dsn == "" {
		return openDatabase(ctx, site, log)
	}
	d.store, err = postgres.Open(ctx, dsn)
	return d, err
}

// database is the store, and the server under it where that is ours.
type database struct {
	store    *postgres.Store
	embedded *embedded.Server
}

func (d database) close() {
	if d.store != nil {
		d.store.Close()
	}
	if d.embedded != nil {
		d.embedded.Stop()
	}
}
