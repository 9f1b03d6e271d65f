// A queue as a list: who stands behind whom, and how far each has come.
import type { Item, Queue } from "../api";
import { count, itemWords, placeLook, queuePath } from "../words";
import { FirstFinding } from "./finding";
import { Badge, Bar, Chips } from "./state";
import { Facts, Subject } from "./text";
import { Ago, Merges } from "./time";

/** Says whether those behind pass an item by. */
export function passedBy(i: Item): boolean {
  return i.state === "failing" || i.state === "conflict" || i.state === "held" || i.state === "error" || i.state === "red";
}

/** All items in order, or lane by lane where there are several. */
export function ItemList({ queue: q }: { queue: Queue }) {
  const lanes = q.lanes ?? [];
  if (lanes.length < 2) return <Line queue={q} items={q.items} />;
  const long = lanes.filter((l) => l.items > 1);
  const alone = q.items.filter((i) => i.lane !== undefined && !long.some((l) => l.id === i.lane));
  const hidden = q.items.filter((i) => i.lane === undefined);
  return (
    <div class="lanes">
      {long.map((l) => (
        <Lane key={l.id} title={l.name}><Line queue={q} items={q.items.filter((i) => i.lane === l.id)} /></Lane>
      ))}
      {alone.length > 0 && <Lane title={alone.length === 1 ? "In a lane of its own" : "Each in a lane of its own"}><Line queue={q} items={alone} apart /></Lane>}
      {hidden.length > 0 && <Lane title="Restricted"><Line queue={q} items={hidden} apart /></Lane>}
    </div>
  );
}

function Lane({ title, children }: { title: string; children: preact.ComponentChildren }) {
  return <section class="lane"><h3>{title}</h3>{children}</section>;
}

/** Items one below the other; the spine says who stands behind whom, but of items that stand apart. */
function Line({ queue: q, items, apart }: { queue: Queue; items: Item[]; apart?: boolean }) {
  const last = items.map((i) => i.active).lastIndexOf(true);
  const end = apart ? -1 : items.map((i) => i.active && !passedBy(i)).lastIndexOf(true);
  const nodes: preact.ComponentChildren[] = [];
  for (const [at, i] of items.entries()) {
    if (at === last + 1) nodes.push(<Edge key="edge" queue={q} waiting={items.length - at} />);
    nodes.push(<ItemRow key={i.id} item={i} items={q.items} spine={at <= end} ends={at === end} />);
  }
  return <ol class="items">{nodes}</ol>;
}

function Edge({ queue: q, waiting }: { queue: Queue; waiting: number }) {
  return (
    <li class="edge">
      <span>The window ends here: {q.window} are tested at once, {waiting === 1 ? "1 waits" : `${waiting} wait`} below.</span>
    </li>
  );
}

function ItemRow({ item: i, items, spine, ends }: { item: Item; items: Item[]; spine: boolean; ends: boolean }) {
  const off = passedBy(i);
  const kind = (off ? " off" : "") + (spine ? " spine" : "") + (ends ? " ends" : "") + (i.active ? "" : " beyond");
  const trouble = i.buildset && (i.state === "failing" || i.state === "conflict" || i.state === "error" || i.state === "red");
  return (
    <li class={`item${kind}`} id={`item-${i.id}`}>
      <div class="rail" title={`Number ${i.place} in the queue`}><i class="line" /><i class="elbow" /><b class={`node ${placeLook(i.state)}`}>{i.place}</b></div>
      <div class="card">
        {i.restricted ? <p class="title"><span class="subject">A restricted change</span></p> : i.changes.map((c) => (
          <div class="what" key={c.id}>
            <p class="title"><Subject change={c} /></p>
            <p class="facts"><Facts change={c} /></p>
          </div>
        ))}
        <p class="state">
          <Badge look={placeLook(i.state)}>{trouble && i.state !== "error" && i.state !== "red" ? short(i) : itemWords(i)}</Badge>
          <Stands item={i} items={items} />
          <Merges at={i.estimate} />
          <span class="since">entered <Ago at={i.entered_at} /></span>
        </p>
        {trouble && i.buildset && <FirstFinding buildset={i.buildset} />}
        {i.buildset && <><Bar jobs={i.buildset.jobs} /><Chips buildset={i.buildset} /></>}
      </div>
    </li>
  );
}

/** The state's word where the finding is shown below it. */
function short(i: Item): string {
  if (i.state === "conflict") return "conflict";
  return i.total > 0 ? `failing, ${i.done} of ${i.total} done` : "failing before its jobs are planned";
}

/** In words what the spine draws. */
function Stands({ item: i, items }: { item: Item; items: Item[] }) {
  if (!i.active || i.restricted) return null;
  if (passedBy(i)) {
    const later = items.some((o) => o.place > i.place && o.lane === i.lane && o.active && !passedBy(o));
    return later ? <span class="stands">those behind pass it by</span> : null;
  }
  const on = items.filter((o) => i.behind.includes(o.id)).at(-1);
  if (!on) return <span class="stands">on the branch</span>;
  const number = on.changes[0]?.number;
  return <span class="stands">stands behind {number ? <a href={`#item-${on.id}`}>#{number}</a> : "a restricted change"}</span>;
}

/** A queue's name and how full it is. */
export function QueueHead({ queue: q, level }: { queue: Queue; level: 1 | 2 }) {
  const H = level === 1 ? "h1" : "h2";
  const active = q.items.filter((i) => i.active).length;
  const several = q.lanes && q.lanes.length > 1 ? q.lanes.length : 0;
  return (
    <div class="queuehead">
      <H><a href={queuePath(q.name)}>{q.name}</a></H>
      <p>
        {q.items.length === 0 ? "empty" : count(q.items.length, "item")}{several ? ` in ${several} lanes` : ""}, {q.items.length > active
          ? `${active} within the ${several ? "lanes’ windows" : "window"}`
          : `window of ${q.window}${several ? " in each lane" : ""}`}
      </p>
      {q.paused && (
        <p class="paused"><Badge look="odd">paused</Badge> by {q.paused.who} <Ago at={q.paused.at} />: {q.paused.why}</p>
      )}
    </div>
  );
}
