// "/repository/RELEASE/DIST/CHANNEL": a released repository.
import { useState } from "preact/hooks";
import type { Package, Publication, Repository } from "../api";
import { Badge } from "../parts/state";
import { Loaded, Use, useTitle } from "../parts/text";
import { Ago } from "../parts/time";
import { useResource } from "../store";
import { bytes, count } from "../words";

const SHOWN = 300; // packages at first

export function RepositoryPage({ args }: { args: string[] }) {
  const name = args.join("/");
  useTitle(name);
  const repository = useResource<Repository>(`/api/v1/repositories/${args.map(encodeURIComponent).join("/")}`, (n) => n.kind === "repository" && n.id === name);
  return <Loaded of={repository}>{(all) => <Whole of={all} />}</Loaded>;
}

function Whole({ of: all }: { of: Repository }) {
  const r = all.repository;
  return (
    <>
      <div class="pagehead">
        <p class="over"><a href="/repositories">Repositories</a></p>
        <h1>{r.target} <span class="dim">{r.channel}</span></h1>
        <p class="facts">
          <span class={`format ${r.format}`}>{r.format}</span><span>{count(r.packages, "package")}</span>
          {r.publication && <span>publication {r.publication.serial}, <Ago at={r.publication.at} /></span>}
          <a href={r.address}>{r.address}</a>
        </p>
      </div>
      <section class="panel"><h2>Use it</h2><Use sources={all.sources} address={r.address} name={r.name} /></section>
      <Packages all={all.packages} />
      <Publications all={all.publications} />
    </>
  );
}

function Packages({ all }: { all: Package[] }) {
  const [word, setWord] = useState("");
  const [whole, setWhole] = useState(false);
  const found = all.filter((p) => p.name.includes(word) || p.source.includes(word) || p.version.includes(word));
  const shown = whole ? found : found.slice(0, SHOWN);
  return (
    <section class="panel">
      <div class="queuehead">
        <h2>Packages</h2>
        <input type="search" placeholder="Filter" aria-label="Filter packages" value={word} onInput={(e) => setWord(e.currentTarget.value)} />
      </div>
      {all.length === 0 ? <p class="dim">Nothing is published yet: the packages of a change come here when it merges.</p> : (
        <div class="scroll"><table>
          <thead><tr><th>name</th><th>version</th><th>architecture</th><th>source</th><th>tested by</th><th class="r">size</th></tr></thead>
          <tbody>{shown.map((p) => (
            <tr key={p.file}>
              <td><a href={p.address}>{p.name}</a></td><td><code>{p.version}</code></td><td>{p.kind === "source" ? "source" : p.architecture}</td>
              <td>{p.source}</td><td><a href={`/buildset/${p.buildset}`}>buildset {p.buildset}</a></td><td class="r">{bytes(p.size)}</td>
            </tr>
          ))}</tbody>
        </table></div>
      )}
      {found.length > shown.length && <button type="button" onClick={() => setWhole(true)}>Show all {found.length}</button>}
      {all.length > 0 && found.length === 0 && <p class="dim">None has “{word}” in its name, source or version.</p>}
    </section>
  );
}

function Publications({ all }: { all: Publication[] }) {
  return (
    <section class="panel">
      <h2>Publications</h2>
      <ul class="lines">
        {all.map((p) => (
          <li key={p.id}>
            {p.current ? <Badge look="good">{String(p.serial)}, now</Badge> : <span class="serial">{p.serial}</span>}
            <div><p class="title"><a href={p.address}>{p.why}</a></p><p class="facts"><span>{p.who}</span><span>{count(p.packages, "package")}</span></p></div>
            <Ago at={p.at} />
          </li>
        ))}
      </ul>
      {all.length === 0 && <p class="dim">There are none yet.</p>}
    </section>
  );
}
