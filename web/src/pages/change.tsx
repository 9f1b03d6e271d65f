// "/change/GERRIT/NUMBER": a change, why it is where it is, and all that was done with it.
import type { Buildset, BuildsetSummary, Change, ItemHistory } from "../api";
import { BuildsetBadge, JobTable, TestRepositories } from "../parts/buildset";
import { FirstFinding } from "../parts/finding";
import { Badge, Bar, jobPath } from "../parts/state";
import { Loaded, Subject, useTitle, WhyTree } from "../parts/text";
import { Ago, Merges, Took } from "../parts/time";
import { useResource, type Notice } from "../store";
import { changePathOf, count, queuePath, resultLook } from "../words";
import { Latest } from "./changes";
import { aboutBuildset } from "./home";

function about(id: string) {
  return (n: Notice, last: Change | undefined) => {
    const buildsets = last?.history.flatMap((h) => h.buildsets) ?? [];
    switch (n.kind) {
      case "change": return n.id === id || !!last?.needs.some((on) => on.id === n.id);
      case "queue": return !last || n.id === last.change.queue || n.id === `check/${id}`;
      case "buildset": return last?.history.some((h) => !h.left_at) || buildsets.some((b) => String(b.id) === n.id);
      case "job": return buildsets.some((b) => b.jobs.some((j) => String(j.id) === n.id));
    }
    return false;
  };
}

export function ChangePage({ args: [gerrit, number] }: { args: string[] }) {
  const change = useResource<Change>(`/api/v1/changes/${encodeURIComponent(gerrit!)}/${number}`, about(`${gerrit}~${number}`));
  const c = change.data.value?.change;
  useTitle(c ? `${c.number} ${c.subject}` : `Change ${number}`);
  return <Loaded of={change}>{(all) => <Whole change={all} />}</Loaded>;
}

function Whole({ change: all }: { change: Change }) {
  const c = all.change;
  const newest = all.history[0];
  const first = newest?.buildsets[0];
  const jobs = new Map(all.history.filter((h) => !h.left_at).flatMap((h) => h.buildsets[0]?.jobs ?? []).map((j) => [j.name, jobPath(j)]));
  return (
    <>
      <div class="pagehead">
        <p class="over"><a href={c.url} title="Open in Gerrit">#{c.number}</a> patch set {c.patch_set} · {c.project} <span class="branch">{c.branch}</span></p>
        <h1>{c.subject}</h1>
        <p class="facts">
          <Latest change={c} />{(c.gate?.present || c.check?.present) && first ? <BuildsetBadge buildset={first} /> : null}<span>{c.owner}</span>
          {c.topic && <span>topic {c.topic}</span>}
          {c.queue && <span>queue <a href={queuePath(c.queue)}>{c.queue}</a></span>}
          <span>updated <Ago at={c.updated_at} /></span>
        </p>
      </div>
      {first && <FirstFinding buildset={first} />}
      {all.why.length > 0 && (
        <section class="panel">
          <h2>Where it is, and why</h2>
          {all.why.map((w) => <div key={w.pipeline} class="pipeline"><h3>{w.pipeline} <Merges at={w.estimate} /></h3><WhyTree reason={w.reason} of={c.id} jobs={jobs} /></div>)}
        </section>
      )}
      <Needs change={all} />
      {all.history.map((h, i) => <History key={h.queue + h.item} item={h} newest={i === 0} />)}
      {all.history.length === 0 && <p class="empty calm">Nothing has been tested yet.</p>}
      <Commands change={all} />
      <details class="panel"><summary>Commit message</summary><pre class="message">{all.message}</pre></details>
    </>
  );
}

function Needs({ change: all }: { change: Change }) {
  if (all.needs.length === 0) return null;
  return (
    <section class="panel">
      <h2>Depends on</h2>
      <ul class="plain">
        {all.needs.map((n, i) => (
          <li key={i}>
            <span class="dim">{n.kind === "parent" ? "parent" : "Depends-On"}</span>{" "}
            {n.change ? <><Subject change={n.change} /> <span class="dim">#{n.change.number},{n.change.patch_set} {n.change.project}</span></>
              : n.id ? <a href={changePathOf(n.id)}>{n.id}</a> : <>{n.text} <Badge look="odd">not found</Badge></>}
          </li>
        ))}
      </ul>
    </section>
  );
}

function History({ item: h, newest }: { item: ItemHistory; newest: boolean }) {
  const [first, ...older] = h.buildsets;
  const sets = h.changes.map((c) => `#${c.number},${c.patch_set}`).join(" + ");
  return (
    <section class="panel attempt">
      <div class="queuehead">
        <h2>{h.pipeline === "gate" ? "Gate" : "Check"} <span class="dim">of {sets}</span></h2>
        <p>{h.result ? <Badge look={resultLook(h.result)}>{h.result}</Badge> : <Badge look="run">in the queue</Badge>} entered <Ago at={h.entered_at} />, {h.left_at ? "took" : "for"} <Took from={h.entered_at} to={h.left_at} /></p>
      </div>
      {h.reason && <p class="reason">{h.reason}</p>}
      {first && <Tested buildset={first} finding={!newest} />}
      {older.length > 0 && (
        <details class="older">
          <summary>{count(older.length, "earlier buildset")} on another base</summary>
          {older.map((b) => <Tested key={b.id} buildset={b} finding />)}
        </details>
      )}
    </section>
  );
}

function Tested({ buildset: b, finding }: { buildset: BuildsetSummary; finding: boolean }) {
  return (
    <div class="tested">
      <p class="facts">
        <a href={`/buildset/${b.id}`}>Buildset {b.id}</a><BuildsetBadge buildset={b} /><span>began <Ago at={b.created_at} /></span>
        {b.ended_at && <span>took <Took from={b.created_at} to={b.ended_at} /></span>}
        {b.published_at && <span>published <Ago at={b.published_at} /></span>}
      </p>
      {finding && <FirstFinding buildset={b} />}
      <Bar jobs={b.jobs} />
      <JobTable jobs={b.jobs} />
      {b.jobs.some((j) => j.stage === "publish" && j.state === "passed") && <Repositories id={b.id} />}
    </div>
  );
}

function Repositories({ id }: { id: number }) {
  const { data } = useResource<Buildset>(`/api/v1/buildsets/${id}`, aboutBuildset(id));
  return data.value ? <TestRepositories of={data.value.repositories} /> : null;
}

function Commands({ change: all }: { change: Change }) {
  if (all.commands.length === 0) return null;
  return (
    <section class="panel">
      <h2>What operators did</h2>
      <ul class="plain">
        {all.commands.map((c) => (
          <li key={c.id}>{c.who}: <b>{c.verb}</b> in {c.queue} <Ago at={c.at} />: {c.why} <span class="dim">{c.done ? c.answer : "not decided yet"}</span></li>
        ))}
      </ul>
    </section>
  );
}
