package api

import (
	"context"
	"maps"
	"net/url"
	"path"
	"slices"

	contract "sluice/api"
	"sluice/internal/job"
	"sluice/internal/record"
)

// GetJob gives a job with its attempts, findings and artifacts.
func (s *server) GetJob(ctx context.Context, r contract.GetJobRequestObject) (contract.GetJobResponseObject, error) {
	j, b, k, err := s.jobShown(ctx, r.ID)
	if err != nil {
		return nil, err
	}
	attempts, err := s.Store.Attempts(ctx, j.ID)
	if err != nil {
		return nil, err
	}
	needs, err := s.Store.Needs(ctx, j.ID)
	if err != nil {
		return nil, err
	}
	artifacts, err := s.Store.Artifacts(ctx, j.ID)
	if err != nil {
		return nil, err
	}
	out := contract.GetJob200JSONResponse{
		Job: s.jobSummary(view(j)), Buildset: j.Buildset, Changes: changesOf(b, k), StaticKey: j.StaticKey,
		ReusedFrom: j.ReusedFrom, Labels: listed(j.Labels), Attempts: each(attempts, attempt), Needs: each(needs, needed),
		Artifacts: each(artifacts, s.artifact), Inputs: s.inputs(j.Spec), CreatedAt: j.CreatedAt,
	}
	if b != nil {
		out.Queue = &b.Queue
	}
	var res job.Result
	if j.Result != nil {
		res = *j.Result
	}
	out.Findings = each(res.Findings, finding)
	out.Steps = each(res.Steps, func(st job.Step) contract.Step {
		return contract.Step{Name: st.Name, LogLine: st.LogLine, Took: seconds(st.Elapsed)}
	})
	out.Trace = trace(res.Trace)
	return out, nil
}

func attempt(a record.Attempt) contract.Attempt {
	out := contract.Attempt{
		Number: a.Number, Worker: a.Worker, State: contract.AttemptState(a.State), LogSize: a.LogSize,
		ClaimedAt: a.ClaimedAt, EndedAt: a.EndedAt,
	}
	if a.Result != nil {
		out.Outcome, out.Cause = optional(string(a.Result.Outcome)), a.Result.Cause
	}
	return out
}

func needed(n record.Needed) contract.NeededJob {
	return contract.NeededJob{
		ID: n.ID, Name: n.Name, Stage: contract.Stage(n.Stage), State: contract.JobState(n.State), Ahead: n.Ahead, Buildset: n.Buildset,
	}
}

func (s *server) artifact(a record.Artifact) contract.Artifact {
	out := contract.Artifact{
		Name: a.Name, Kind: contract.ArtifactKind(a.Kind), Size: a.Size, Sha256: string(a.Digest),
		Address: s.address("/blobs/%s/%s", a.Digest, url.PathEscape(path.Base(a.Name))),
	}
	if a.Package != nil {
		out.Version, out.Architecture = &a.Package.Version, &a.Package.Architecture
	}
	return out
}

func trace(t job.Trace) contract.Trace {
	return contract.Trace{
		Asked: listed(t.Asked),
		Served: each(slices.Sorted(maps.Keys(t.Served)), func(name string) contract.Served {
			v := t.Served[name]
			return contract.Served{Name: name, Version: v.Version, Sha256: string(v.Digest), Repository: v.Repository}
		}),
	}
}

// inputs shows the public parts of what a job is told: no keys, no leases.
func (s *server) inputs(spec job.Spec) contract.Inputs {
	out := contract.Inputs{
		Packages: each(spec.Packages, func(f job.File) string { return f.Name }),
		Repositories: each(spec.Repositories, func(r job.Repository) contract.ReadRepository {
			return contract.ReadRepository{Kind: contract.ReadRepositoryKind(r.Kind), Name: r.Name, Address: s.address("%s", r.Path)}
		}),
	}
	if spec.Source != nil {
		out.Project, out.Tree = optional(spec.Source.Project), optional(spec.Source.Tree)
	}
	if spec.Version != nil {
		out.Version = optional(spec.Version.Full)
	}
	if spec.Root != nil {
		out.Root = optional(spec.Root.Name)
	}
	if spec.Scenario != nil {
		out.Scenario = optional(spec.Scenario.Name)
	}
	out.Timeout = optional(seconds(spec.Limits.Timeout))
	return out
}
