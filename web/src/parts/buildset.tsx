// A buildset's jobs as a table, and its test repositories.
import type { BuildsetSummary, JobSummary, TestRepository } from "../api";
import { jobLook, jobWord, jobWords, span } from "../words";
import { Badge, groups, jobPath } from "./state";
import { Use } from "./text";
import { Took } from "./time";

/** Each job with its result and time. */
export function JobTable({ jobs }: { jobs: JobSummary[] }) {
  if (jobs.length === 0) return null;
  return (
    <div class="jobs">
      {groups(jobs).map((g) => (
        <section key={g.key}>
          <h4>{g.label}</h4>
          <ul>
            {g.jobs.map((j) => (
              <li key={j.id}>
                <a href={jobPath(j)} title={`${j.name}: ${jobWords(j)}`}>
                  <Badge look={jobLook(j)}>{j.stage}</Badge>
                  <span class="says">
                    {jobWord(j.state)}{j.reused ? " before, on the same inputs" : ""}
                    {j.state === "waiting" && j.waits_for ? ` for ${j.waits_for}` : ""}{j.voting ? "" : " (non-voting)"}
                    {j.finding ? <span class="first">{j.finding.text}</span> : j.cause ? <span class="first">{j.cause}</span> : null}
                  </span>
                  <span class="took">{j.state === "running" ? <Took from={j.started_at} /> : j.took !== undefined ? span(j.took) : ""}</span>
                </a>
              </li>
            ))}
          </ul>
        </section>
      ))}
    </div>
  );
}

/** A buildset's state in a word, with its look. */
export function BuildsetBadge({ buildset: b }: { buildset: BuildsetSummary }) {
  if (b.conflict || b.state === "conflict") return <Badge look="bad">conflict</Badge>;
  if (b.broken || b.state === "broken") return <Badge look="bad">no jobs could be planned</Badge>;
  const voting = b.jobs.filter((j) => j.voting);
  if (voting.some((j) => j.state === "failed")) return <Badge look="bad">failed</Badge>;
  if (b.state === "cancelled") return <Badge look="off">superseded or cancelled</Badge>;
  if (voting.some((j) => j.state === "error")) return <Badge look="odd">no verdict</Badge>;
  if (b.published_at) return <Badge look="good">published</Badge>;
  if (b.landed_at) return <Badge look="good">merged</Badge>;
  if (b.state === "ended" || (voting.length > 0 && voting.every((j) => j.state === "passed" || j.state === "not_applicable"))) return <Badge look="good">passed</Badge>;
  return <Badge look="run">{b.state}</Badge>;
}

/** How to use test repositories. */
export function TestRepositories({ of }: { of: TestRepository[] }) {
  if (of.length === 0) return null;
  return (
    <section class="repos">
      <h3>Test repositories</h3>
      <p class="dim">The packages of this buildset, for a machine that may be thrown away.</p>
      {of.map((r) => (
        <details key={r.target}>
          <summary><b>{r.target}</b> <a href={r.address}>{r.address}</a></summary>
          <Use sources={r.sources} address={r.address} name={`the test repository of ${r.target}`} />
        </details>
      ))}
    </section>
  );
}
