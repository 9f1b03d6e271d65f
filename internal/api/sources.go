package api

import (
	"context"
	"fmt"
	"strings"

	contract "sluice/api"
	"sluice/internal/deb"
	"sluice/internal/job"
	"sluice/internal/record"
	"sluice/internal/rpm"
)

// publicationsShown bounds how many publications of a repository are listed.
const publicationsShown = 100

// ListRepositories gives the released repositories.
func (s *server) ListRepositories(ctx context.Context, _ contract.ListRepositoriesRequestObject) (contract.ListRepositoriesResponseObject, error) {
	all, err := s.Store.Repositories(ctx)
	if err != nil {
		return nil, err
	}
	out := contract.ListRepositories200JSONResponse{}
	for _, r := range all {
		one, err := s.repositorySummary(ctx, r)
		if err != nil {
			return nil, err
		}
		out = append(out, one)
	}
	return out, nil
}

func (s *server) repositorySummary(ctx context.Context, r record.Repository) (contract.RepositorySummary, error) {
	releaseName, dist, _ := strings.Cut(r.Target, "/")
	out := contract.RepositorySummary{
		Name: r.Name, Release: releaseName, Dist: dist, Target: r.Target, Channel: r.Channel,
		Format: contract.RepositorySummaryFormat(r.Format), Address: s.address("/repo/%s/", r.Name),
	}
	if r.Publication == nil {
		return out, nil
	}
	p, err := s.Store.Publication(ctx, *r.Publication)
	if err != nil {
		return out, err
	}
	shown := s.publication(p, p.ID)
	out.Publication, out.Packages = &shown, p.Packages
	return out, nil
}

func (s *server) publication(p record.Publication, current int64) contract.Publication {
	return contract.Publication{
		ID: p.ID, Serial: p.Serial, Packages: p.Packages, Who: p.Who, Why: p.Why, At: p.CreatedAt,
		Current: p.ID == current, Address: s.address("/publication/%d/", p.ID),
	}
}

// GetRepository gives a released repository.
func (s *server) GetRepository(ctx context.Context, r contract.GetRepositoryRequestObject) (contract.GetRepositoryResponseObject, error) {
	rp, err := s.Store.Repository(ctx, r.Release+"/"+r.Dist+"/"+r.Channel)
	if err != nil {
		return nil, none(err, "no such repository", "/api/v1/repositories lists them")
	}
	summary, err := s.repositorySummary(ctx, rp)
	if err != nil {
		return nil, err
	}
	publications, err := s.Store.Publications(ctx, rp.Name, publicationsShown)
	if err != nil {
		return nil, err
	}
	packages, err := s.Store.Packages(ctx, rp.Name, 0)
	if err != nil {
		return nil, err
	}
	current := int64(0)
	if rp.Publication != nil {
		current = *rp.Publication
	}
	file, text := s.releaseSources(rp)
	return contract.GetRepository200JSONResponse{
		Repository: summary, Sources: contract.Sources{File: file, Text: text},
		Publications: each(publications, func(p record.Publication) contract.Publication { return s.publication(p, current) }),
		Packages: each(packages, func(p record.Package) contract.Package {
			return contract.Package{
				Name: p.Name, Version: p.Version, Architecture: p.Architecture, Source: p.Source, SourceVersion: p.SourceVersion,
				Kind: contract.PackageKind(p.Kind), Size: p.Size, File: p.File, Sha256: p.Digest, Buildset: p.Buildset, Serial: p.Added,
				Address: s.address("/repo/%s/%s", rp.Name, p.File),
			}
		}),
	}, nil
}

// releaseSources is what a client writes to use a released repository.
func (s *server) releaseSources(r record.Repository) (file, text string) {
	id := clientID(s.Site.Repositories.Origin, r.Name)
	address := s.address("/repo/%s/", r.Name)
	if r.Format == job.RPM {
		return "/etc/yum.repos.d/" + id + ".repo", rpm.RepoFile(rpm.Client{
			ID: id, Name: s.Site.Repositories.Label + " " + r.Name, Mirrors: address + mirrorList, Keys: []string{address + "key.asc"},
		})
	}
	return "/etc/apt/sources.list.d/" + id + ".sources", s.debSources(deb.Client{URL: address, Sources: true}, r.Target, s.ReleaseKey)
}

// testSources is what a client writes to use a test repository.
func (s *server) testSources(t record.TestRepository) (file, text string) {
	id := fmt.Sprintf("sluice-test-%d", t.Buildset)
	address := s.address("%s", t.Address())
	if s.format(t.Target) == job.RPM {
		return "/etc/yum.repos.d/" + id + ".repo", rpm.RepoFile(rpm.Client{
			ID: id, Name: fmt.Sprintf("Test repository of buildset %d", t.Buildset), URL: address,
			Keys: []string{address + "key.asc"}, Unsigned: true, Priority: 1,
		})
	}
	return "/etc/apt/sources.list.d/" + id + ".sources", s.debSources(deb.Client{URL: address}, t.Target, s.TestKey)
}

// debSources writes the key into the file itself, so that the file is all that
// a client needs. apt before 2.4 wants the key in a file of its own.
func (s *server) debSources(c deb.Client, target, key string) string {
	c.Components = []string{"main"}
	if t, ok := s.Site.Target(target); ok {
		if d, ok := s.Site.Dist(t.Dist); ok {
			c.Suite = d.Codename
		}
	}
	var inline strings.Builder
	for line := range strings.SplitSeq(strings.TrimSpace(key), "\n") {
		if line = strings.TrimSpace(line); line == "" {
			line = "."
		}
		inline.WriteString("\n " + line)
	}
	c.KeyPath = inline.String()
	return strings.ReplaceAll(deb.SourcesFile(c), "Signed-By: \n", "Signed-By:\n")
}

// clientID is a name that may be a file's and an RPM repository's.
func clientID(parts ...string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '.', r == '_':
			return r
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		}
		return '-'
	}, strings.Join(parts, "-"))
}
