// "/buildset/ID": one attempt at testing an item on one base.
import type { Buildset } from "../api";
import { BuildsetBadge, JobTable, TestRepositories } from "../parts/buildset";
import { FirstFinding } from "../parts/finding";
import { Bar } from "../parts/state";
import { Facts, Loaded, Subject, useTitle } from "../parts/text";
import { Ago, Took } from "../parts/time";
import { useResource } from "../store";
import { queuePath } from "../words";
import { aboutBuildset } from "./home";

export function BuildsetPage({ args: [id] }: { args: string[] }) {
  useTitle(`Buildset ${id}`);
  const buildset = useResource<Buildset>(`/api/v1/buildsets/${id}`, aboutBuildset(Number(id)));
  return <Loaded of={buildset}>{(all) => <Whole of={all} />}</Loaded>;
}

function Whole({ of: all }: { of: Buildset }) {
  const b = all.buildset;
  return (
    <>
      <div class="pagehead">
        <p class="over">{all.pipeline} <a href={queuePath(all.queue)}>{all.queue}</a></p>
        <h1>Buildset {b.id}</h1>
        <p class="facts">
          <BuildsetBadge buildset={b} /><span>began <Ago at={b.created_at} /></span>
          {b.ended_at && <span>took <Took from={b.created_at} to={b.ended_at} /></span>}
          {b.published_at && <span>published <Ago at={b.published_at} /></span>}
        </p>
      </div>
      <FirstFinding buildset={b} />
      <section class="panel">
        <h2>Under test</h2>
        {all.changes.map((c) => <div class="what" key={c.id}><p class="title"><Subject change={c} /></p><p class="facts"><Facts change={c} /></p></div>)}
        {all.stack.length > 0 && <>
          <h3>On top of</h3>
          <ol class="plain stack">{all.stack.map((c) => <li key={c.id}><Subject change={c} /> <span class="dim">#{c.number},{c.patch_set} {c.project}</span></li>)}</ol>
        </>}
      </section>
      <section class="panel"><h2>Jobs</h2><Bar jobs={b.jobs} /><JobTable jobs={b.jobs} /></section>
      {all.repositories.length > 0 && <section class="panel"><TestRepositories of={all.repositories} /></section>}
      <Base of={all} />
    </>
  );
}

function Base({ of: all }: { of: Buildset }) {
  return (
    <details class="panel" open>
      <summary>Packages and base</summary>
      {all.packages.length > 0 && (
        <div class="scroll"><table>
          <thead><tr><th>package</th><th>version</th><th>target</th><th>binary packages</th></tr></thead>
          <tbody>{all.packages.map((p) => (
            <tr key={p.package + p.target}><td>{p.package}</td><td><code>{p.version}</code></td><td>{p.target}</td><td class="wrap">{p.binaries.join(", ")}</td></tr>
          ))}</tbody>
        </table></div>
      )}
      {all.branches.length > 0 && (
        <div class="scroll"><table>
          <thead><tr><th>project</th><th>branch</th><th>tip</th><th>speculative commit</th></tr></thead>
          <tbody>{all.branches.map((l) => (
            <tr key={l.project + l.branch}><td>{l.project}</td><td>{l.branch}</td><td><code title={l.tip}>{l.tip.slice(0, 12)}</code></td><td><code title={l.commit}>{l.commit.slice(0, 12)}</code></td></tr>
          ))}</tbody>
        </table></div>
      )}
      {all.publications.length > 0 && (
        <ul class="plain">{all.publications.map((p) => <li key={p.repository}>{p.repository} at <a href={p.address}>publication {p.publication}</a></li>)}</ul>
      )}
      {all.ahead.length > 0 && <p>Reads the test repositories of {all.ahead.map((id) => <a key={id} href={`/buildset/${id}`}> buildset {id}</a>)}</p>}
    </details>
  );
}
