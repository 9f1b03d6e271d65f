// "/job/ID#L123": a job with its steps, log, findings and artifacts.
import { useState } from "preact/hooks";
import type { Artifact, Attempt, Job } from "../api";
import { FindingBox } from "../parts/finding";
import { LogView } from "../parts/log";
import { Badge } from "../parts/state";
import { Loaded, Subject, useTitle } from "../parts/text";
import { Ago, Took } from "../parts/time";
import { useResource } from "../store";
import { bytes, count, jobLook, jobWord, queuePath, span } from "../words";

export function JobPage({ args: [id] }: { args: string[] }) {
  const job = useResource<Job>(`/api/v1/jobs/${id}`, (n) => n.kind === "job" && n.id === id);
  useTitle(job.data.value?.job.name ?? `Job ${id}`);
  return <Loaded of={job}>{(all) => <Whole of={all} />}</Loaded>;
}

function Whole({ of: all }: { of: Job }) {
  const j = all.job;
  const [chosen, choose] = useState<number | undefined>(undefined);
  const last = all.attempts.at(-1);
  const ended = !["waiting", "queued", "running"].includes(j.state);
  const attempt = chosen ?? (all.reused_from ? undefined : last?.number);
  const live = chosen === undefined || chosen === last?.number ? !ended : false;
  return (
    <>
      <div class="pagehead">
        <p class="over">{all.changes.map((c) => <span key={c.id}>#{c.number},{c.patch_set} <Subject change={c} /> </span>)}</p>
        <h1>{j.name}</h1>
        <p class="facts">
          <Badge look={jobLook(j)}>{jobWord(j.state)}{j.reused ? " before, on the same inputs" : ""}</Badge>
          {j.state === "running" ? <span>for <Took from={j.started_at} /></span> : j.took !== undefined ? <span>took {span(j.took)}</span> : null}
          {j.state === "waiting" && j.waits_for && <span>waits for {j.waits_for}</span>}
          {!j.voting && <span>non-voting</span>}
          {last && <span>on {last.worker}</span>}
          {all.buildset && <a href={`/buildset/${all.buildset}`}>buildset {all.buildset}</a>}
          {all.queue && <a href={queuePath(all.queue)}>{all.queue}</a>}
          {j.without && <span>{j.evidence_job ? <a href={`/job/${j.evidence_job}`}>{j.without}</a> : j.without}</span>}
          {all.reused_from && <a href={`/job/${all.reused_from}`}>result of job {all.reused_from}</a>}
          {j.ended_at ? <span>ended <Ago at={j.ended_at} /></span> : null}
        </p>
      </div>
      <Findings of={all} />
      {all.steps.length > 0 && (
        <ol class="steps" aria-label="Steps">
          {all.steps.map((s) => <li key={s.name + s.log_line}><a href={`#L${s.log_line}`}>{s.name} <span>{span(s.took)}</span></a></li>)}
        </ol>
      )}
      <div class="folds">
        <Artifacts all={all.artifacts} />
        <Served of={all} />
        <Inputs of={all} />
        {all.attempts.length > 0 && <Attempts all={all.attempts} chosen={attempt} choose={choose} />}
      </div>
      {all.attempts.length > 0 || all.reused_from || !ended
        ? <LogView key={`${attempt}`} job={j.id} attempt={attempt} live={live} findings={all.findings} steps={all.steps} />
        : <p class="empty calm">There is no log: the job was not run.</p>}
    </>
  );
}

function Findings({ of: all }: { of: Job }) {
  const [first, ...more] = all.findings;
  if (!first) {
    return all.job.cause ? <section class={`finding ${all.job.state === "failed" ? "bad" : "odd"}`}><p class="says"><span>{all.job.cause}</span></p></section> : null;
  }
  return (
    <>
      <FindingBox finding={first} job={all.job.id} />
      {more.length > 0 && (
        <details class="more">
          <summary>{count(more.length, "more finding")}</summary>
          {more.map((f, i) => <FindingBox key={i} finding={f} job={all.job.id} />)}
        </details>
      )}
    </>
  );
}

function Artifacts({ all }: { all: Artifact[] }) {
  if (all.length === 0) return null;
  return (
    <details class="panel">
      <summary>{count(all.length, "artifact")}</summary>
      <div class="scroll"><table>
        <thead><tr><th>name</th><th>kind</th><th class="r">size</th><th>SHA-256</th></tr></thead>
        <tbody>{all.map((a) => (
          <tr key={a.name}><td><a href={a.address} download>{a.name}</a></td><td>{a.kind}</td><td class="r">{bytes(a.size)}</td><td><code title={a.sha256}>{a.sha256.slice(0, 16)}…</code></td></tr>
        ))}</tbody>
      </table></div>
    </details>
  );
}

function Served({ of: { trace } }: { of: Job }) {
  if (trace.served.length === 0) return null;
  return (
    <details class="panel">
      <summary>{count(trace.served.length, "package")} read</summary>
      <p class="dim">What the job was really served. Its result is used again while each of these is the same.</p>
      <div class="scroll"><table>
        <thead><tr><th>package</th><th>version</th><th>repository</th></tr></thead>
        <tbody>{trace.served.map((s) => <tr key={s.name + s.repository}><td>{s.name}</td><td><code>{s.version}</code></td><td>{s.repository}</td></tr>)}</tbody>
      </table></div>
    </details>
  );
}

function Inputs({ of: all }: { of: Job }) {
  const i = all.inputs;
  const rows: [string, preact.ComponentChildren][] = [
    ["project", i.project], ["version", i.version], ["source tree", i.tree && <code>{i.tree}</code>], ["root", i.root], ["scenario", i.scenario],
    ["time limit", i.timeout && span(i.timeout)], ["worker's labels", all.labels.join(" ")], ["packages", i.packages.join(", ")],
    ["static key", all.static_key && <code>{all.static_key}</code>],
  ];
  return (
    <details class="panel">
      <summary>What it is given</summary>
      <dl class="facts-list">{rows.filter(([, v]) => v).map(([k, v]) => <div key={k}><dt>{k}</dt><dd>{v}</dd></div>)}</dl>
      {all.needs.length > 0 && <>
        <h3>After</h3>
        <ul class="plain">{all.needs.map((n) => <li key={n.id}><Badge look={jobLook(n)}>{jobWord(n.state)}</Badge> <a href={`/job/${n.id}`}>{n.name}</a> {n.ahead && <span class="dim">{n.buildset ? "ahead" : "makes the root"}</span>}</li>)}</ul>
      </>}
      {i.repositories.length > 0 && <>
        <h3>Repositories</h3>
        <ul class="plain">{i.repositories.map((r) => <li key={r.address}><span class="dim">{r.kind}</span> <a href={r.address}>{r.name}</a></li>)}</ul>
      </>}
    </details>
  );
}

function Attempts({ all, chosen, choose }: { all: Attempt[]; chosen?: number; choose: (n: number) => void }) {
  return (
    <details class="panel" open={all.length > 1}>
      <summary>{count(all.length, "attempt")}</summary>
      <ul class="plain attempts">
        {all.map((a) => (
          <li key={a.number}>
            <button type="button" aria-pressed={a.number === chosen} onClick={() => choose(a.number)}>Attempt {a.number}</button>
            <span>{a.outcome?.replaceAll("_", " ") || a.state} on {a.worker}, <Ago at={a.claimed_at} />, <Took from={a.claimed_at} to={a.ended_at} />, log {bytes(a.log_size)}</span>
            {a.cause && <span class="reason">{a.cause}</span>}
          </li>
        ))}
      </ul>
    </details>
  );
}
