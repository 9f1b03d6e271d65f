// "/repositories": the released repositories.
import type { RepositorySummary } from "../api";
import { Loaded, useTitle } from "../parts/text";
import { Ago } from "../parts/time";
import { useResource } from "../store";
import { count, repositoryPath } from "../words";

export function RepositoriesPage() {
  useTitle("Repositories");
  const all = useResource<RepositorySummary[]>("/api/v1/repositories", (n) => n.kind === "repository");
  return (
    <>
      <div class="queuehead"><h1>Repositories</h1></div>
      <Loaded of={all}>{(list) => list.length === 0
        ? <p class="empty calm"><strong>There are no repositories yet.</strong><br />The site file names them; the first publication makes them.</p>
        : (
          <ul class="lines repolist">
            {list.map((r) => (
              <li key={r.name}>
                <span class={`format ${r.format}`}>{r.format}</span>
                <div>
                  <p class="title"><a class="subject" href={repositoryPath(r)}>{r.target} <span class="dim">{r.channel}</span></a></p>
                  <p class="facts"><span>{count(r.packages, "package")}</span>{r.publication && <span>publication {r.publication.serial}</span>}<a href={r.address}>{r.address}</a></p>
                </div>
                {r.publication ? <Ago at={r.publication.at} /> : <span class="dim">never published</span>}
              </li>
            ))}
          </ul>
        )}</Loaded>
    </>
  );
}
