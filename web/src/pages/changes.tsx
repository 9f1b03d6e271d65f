// "/changes": the changes that moved last.
import { useState } from "preact/hooks";
import type { ChangeSummary, Outcome } from "../api";
import { Badge } from "../parts/state";
import { Facts, Loaded, Subject, useTitle } from "../parts/text";
import { Ago } from "../parts/time";
import { useResource } from "../store";
import { resultLook } from "../words";

const filters = [
  { text: "All", query: "" },
  { text: "Open", query: "&open=true" },
  { text: "Closed", query: "&open=false" },
];

export function ChangesPage() {
  useTitle("Changes");
  const [at, setAt] = useState(0);
  return (
    <>
      <div class="queuehead">
        <h1>Changes</h1>
        <div class="pick" role="group" aria-label="Which changes">
          {filters.map((f, i) => <button key={f.text} type="button" aria-pressed={i === at} onClick={() => setAt(i)}>{f.text}</button>)}
        </div>
      </div>
      <List key={at} query={filters[at]!.query} />
    </>
  );
}

function List({ query }: { query: string }) {
  const changes = useResource<ChangeSummary[]>(`/api/v1/changes?limit=200${query}`, (n) => n.kind === "change" || n.kind === "queue");
  return (
    <Loaded of={changes}>{(all) => all.length === 0 ? <p class="empty calm">There are none.</p> : (
      <ul class="lines">
        {all.map((c) => (
          <li key={c.id}>
            <Latest change={c} />
            <div><p class="title"><Subject change={c} /></p><p class="facts"><Facts change={c} /></p></div>
            <Ago at={c.updated_at} />
          </li>
        ))}
      </ul>
    )}</Loaded>
  );
}

/** Where a change is, in a word. */
export function Latest({ change: c }: { change: ChangeSummary }) {
  if (c.status === "merged") return <Badge look="good">merged</Badge>;
  if (c.status !== "open") return <Badge look="off">{c.status}</Badge>;
  const [word, o]: [string, Outcome | undefined] = c.gate ? ["gate", c.gate] : ["check", c.check];
  if (!o) return <Badge look={c.checked ? "wait" : "off"}>{c.checked ? "not checked" : "not gated"}</Badge>;
  if (o.present) return <Badge look="run">{word === "gate" ? "in the gate" : "in its check"}</Badge>;
  return <Badge look={resultLook(o.result)}>{`${word === "gate" ? "" : "check "}${o.result}`}</Badge>;
}
