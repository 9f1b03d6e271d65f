package api

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	contract "sluice/api"
	"sluice/internal/gate"
	"sluice/internal/record"
)

// GetBuildset gives a buildset with its base and its jobs.
func (s *server) GetBuildset(ctx context.Context, r contract.GetBuildsetRequestObject) (contract.GetBuildsetResponseObject, error) {
	b, k, err := s.buildsetShown(ctx, r.ID)
	if err != nil {
		return nil, err
	}
	jobs, err := s.Store.JobViews(ctx, []int64{b.ID})
	if err != nil {
		return nil, err
	}
	item, err := s.Store.Item(ctx, b.Item)
	if err != nil {
		return nil, err
	}
	tests, err := s.Store.TestRepositories(ctx, b.ID)
	if err != nil {
		return nil, err
	}
	ahead, err := s.shownBuildsets(ctx, b.Base.Ahead)
	if err != nil {
		return nil, err
	}
	return contract.GetBuildset200JSONResponse{
		Buildset: *s.buildset(b, jobs), Queue: b.Queue, Pipeline: contract.BuildsetPipeline(pipeline(b.Queue)),
		Item: int64(item.Serial), Changes: k.refs(b.Changes), Stack: k.refs(b.Stack),
		Branches: each(b.Base.Branches, func(l record.BranchBase) contract.BranchBase {
			return contract.BranchBase{Project: plainProject(l.Branch), Branch: l.Branch.Branch, Tip: l.Tip, Commit: l.Commit, Tree: l.Tree}
		}),
		Publications: s.pinnedPublications(b.Base.Publications), Ahead: listed(ahead),
		Packages: each(b.Packages, func(p record.Subject) contract.Subject {
			return contract.Subject{
				Package: p.Package, Project: p.Project, Target: p.Target, Format: contract.SubjectFormat(p.Format),
				Version: p.Version, Binaries: listed(p.Binaries),
			}
		}),
		Repositories: each(tests, s.testRepository),
	}, nil
}

func (s *server) pinnedPublications(in map[string]int64) []contract.PinnedPublication {
	return each(slices.Sorted(maps.Keys(in)), func(name string) contract.PinnedPublication {
		return contract.PinnedPublication{Repository: name, Publication: in[name], Address: s.address("/publication/%d/", in[name])}
	})
}

func (s *server) testRepository(t record.TestRepository) contract.TestRepository {
	file, text := s.testSources(t)
	return contract.TestRepository{
		Target: t.Target, Address: s.address("%s", t.Address()),
		Sources: contract.Sources{File: file, Text: text}, CreatedAt: t.CreatedAt,
	}
}

// changesOf shows the changes of a buildset, if there is one.
func changesOf(b *record.Buildset, k known) []contract.ChangeRef {
	var refs []gate.Ref
	if b != nil {
		refs = b.Changes
	}
	return k.refs(refs)
}

// address is an absolute address of this service.
func (s *server) address(format string, args ...any) string {
	return strings.TrimSuffix(s.Site.URL, "/") + fmt.Sprintf(format, args...)
}
