// "/": each queue, the running checks, what came out last.
import type { BuildsetSummary, Buildset, ChangeSummary, Outcome, Queue, QueueSummary } from "../api";
import { ItemList, QueueHead } from "../parts/item";
import { Badge, Bar, Chips } from "../parts/state";
import { Facts, Loaded, Subject, useTitle } from "../parts/text";
import { Ago, Took } from "../parts/time";
import { answered, useResource, useStatus, type Notice, type Resource } from "../store";
import { count, resultLook } from "../words";

const CHECKS = 8; // running checks whose jobs are shown

export function HomePage() {
  useTitle("");
  const queues = useResource<QueueSummary[]>("/api/v1/queues", (n) => n.kind === "queue");
  const changes = useResource<ChangeSummary[]>("/api/v1/changes?limit=100", (n) => n.kind === "change" || n.kind === "queue");
  return (
    <>
      <h1 class="away">Queues</h1>
      <Loaded of={queues}>{(all) => {
        const busy = all.filter(full);
        const quiet = all.filter((q) => !full(q));
        return (
          <>
            {busy.map((q) => <OneQueue key={q.name} name={q.name} />)}
            {quiet.length > 0 && answered(busy.map((q) => queueAddress(q.name))) && <Quiet queues={quiet} alone={busy.length === 0} fresh={changes.data.value?.length === 0} />}
            {all.length === 0 && <First />}
          </>
        );
      }}</Loaded>
      {(queues.error.value || queues.data.value) && <Below of={changes} after={(queues.data.value ?? []).filter(full).map((q) => queueAddress(q.name))} />}
    </>
  );
}

const full = (q: QueueSummary) => q.items > 0 || q.paused !== undefined;
const queueAddress = (name: string) => `/api/v1/queues/${encodeURIComponent(name)}`;

/** What stands below the queues comes once they are there, so that nothing is pushed down. */
function Below({ of, after }: { of: Resource<ChangeSummary[]>; after: string[] }) {
  if (!answered(after)) return null;
  return <Loaded of={of}>{(all) => <><Checks changes={all} /><Outcomes changes={all} /></>}</Loaded>;
}

/** Says whether a notice is about a queue's items or their jobs. */
export function aboutQueue(name: string) {
  return (n: Notice, last: Queue | undefined) =>
    (n.kind === "queue" && n.id === name) ||
    (n.kind === "buildset" && (!last || last.items.some((i) => !i.buildset || String(i.buildset.id) === n.id))) ||
    (n.kind === "job" && !!last?.items.some((i) => i.buildset?.jobs.some((j) => String(j.id) === n.id)));
}

function OneQueue({ name }: { name: string }) {
  const queue = useResource<Queue>(queueAddress(name), aboutQueue(name));
  return <section class="queue"><Loaded of={queue}>{(q) => <><QueueHead queue={q} level={2} /><ItemList queue={q} /></>}</Loaded></section>;
}

function Quiet({ queues, alone, fresh }: { queues: QueueSummary[]; alone: boolean; fresh: boolean }) {
  if (alone && fresh) return <First />;
  const names = queues.map((q) => q.name).join(", ");
  return (
    <p class={alone ? "empty calm" : "quiet"}>
      {alone ? <><strong>Nothing waits to be merged.</strong><br /></> : null}
      {queues.length === 1 ? `The queue ${names} is empty.` : `Empty queues: ${names}.`}
      {alone ? " A change enters when its review is complete." : ""}
    </p>
  );
}

/** What to do first, where nothing has happened yet. */
function First() {
  const { data } = useStatus();
  const gerrit = data.value?.streams[0];
  return (
    <div class="empty">
      <h2>No change has been seen yet</h2>
      <ol class="todo">
        <li>Push a change to {gerrit ? <a href={gerrit.url}>Gerrit {gerrit.gerrit}</a> : "Gerrit"}, for a project that the site file lists. Its check starts within a second.</li>
        <li>Approve it. It then enters the gate, is tested on top of those ahead of it, and merges.</li>
        <li>Its packages are in the <a href="/repositories">repositories</a> once it has merged.</li>
      </ol>
      {gerrit && !gerrit.connected && <p class="hint"><Badge look="odd">Gerrit {gerrit.gerrit} is not heard</Badge> {gerrit.error}</p>}
      {data.value?.workers.length === 0 && <p class="hint"><Badge look="odd">no worker is there</Badge> Start one with <code>sluice worker</code>.</p>}
    </div>
  );
}

function Checks({ changes }: { changes: ChangeSummary[] }) {
  const running = changes.filter((c) => c.check?.present);
  if (running.length === 0) return null;
  return (
    <section class="checks">
      <div class="queuehead"><h2>Checks</h2><p>{count(running.length, "change is", "changes are")} being checked on {running.length === 1 ? "its" : "their"} own</p></div>
      <ul class="cards">
        {running.map((c, i) => <Check key={c.id} change={c} outcome={c.check!} full={i < CHECKS} />)}
      </ul>
    </section>
  );
}

function Check({ change: c, outcome: o, full }: { change: ChangeSummary; outcome: Outcome; full: boolean }) {
  return (
    <li class="mini">
      <p class="title"><Subject change={c} /></p>
      <p class="facts"><Facts change={c} /><span>for <Took from={o.entered_at} /></span></p>
      {full && o.buildset ? <CheckJobs id={o.buildset} /> : null}
    </li>
  );
}

/** Says whether a notice is about a buildset or its jobs. */
export function aboutBuildset(id: number) {
  return (n: Notice, last: Buildset | undefined) =>
    (n.kind === "buildset" && n.id === String(id)) ||
    (n.kind === "job" && !!last?.buildset.jobs.some((j) => String(j.id) === n.id));
}

function CheckJobs({ id }: { id: number }) {
  const { data } = useResource<Buildset>(`/api/v1/buildsets/${id}`, aboutBuildset(id));
  const b: BuildsetSummary | undefined = data.value?.buildset;
  return b ? <><Bar jobs={b.jobs} /><Chips buildset={b} /></> : null;
}

interface Came { change: ChangeSummary; pipeline: "gate" | "check"; outcome: Outcome }

function Outcomes({ changes }: { changes: ChangeSummary[] }) {
  const all: Came[] = [];
  for (const change of changes) {
    if (change.gate?.left_at) all.push({ change, pipeline: "gate", outcome: change.gate });
    else if (change.check?.left_at && !change.gate) all.push({ change, pipeline: "check", outcome: change.check });
  }
  all.sort((a, b) => Date.parse(b.outcome.left_at!) - Date.parse(a.outcome.left_at!));
  if (all.length === 0) return null;
  return (
    <section class="recent">
      <div class="queuehead"><h2>Recently</h2><p><a href="/changes">all changes</a></p></div>
      <ul class="lines">
        {all.slice(0, 15).map((c) => (
          <li key={c.change.id}>
            <Badge look={resultLook(c.outcome.result)}>{c.pipeline === "check" ? "check " : ""}{c.outcome.result}</Badge>
            <div>
              <p class="title"><Subject change={c.change} /></p>
              {c.outcome.reason && resultLook(c.outcome.result) !== "good" && <p class="reason">{c.outcome.reason}</p>}
              <p class="facts"><Facts change={c.change} /></p>
            </div>
            <Ago at={c.outcome.left_at} />
          </li>
        ))}
      </ul>
    </section>
  );
}
