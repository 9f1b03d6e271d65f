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

export function ItemList({ queue: q }: { queue: Queue }) {
  const beyond = q.items.findIndex((i) => !i.active);
  const good = q.items.filter((i) => i.active && !passedBy(i));
  const last = good[good.length - 1];
  const nodes: preact.ComponentChildren[] = [];
  for (const [at, i] of q.items.entries()) {
    if (at === beyond) nodes.push(<Edge key="edge" queue={q} waiting={q.items.length - beyond} />);
    const place = last ? q.items.indexOf(last) : -1;
    nodes.push(<ItemRow key={i.id} item={i} items={q.items} spine={at <= place} ends={at === place} />);
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
  return i.state === "conflict" ? "conflict" : `failing, ${i.done} of ${i.total} done`;
}

/** In words what the spine draws. */
function Stands({ item: i, items }: { item: Item; items: Item[] }) {
  if (!i.active || i.restricted) return null;
  if (passedBy(i)) {
    const later = items.some((o) => o.place > i.place && o.active && !passedBy(o));
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
  return (
    <div class="queuehead">
      <H><a href={queuePath(q.name)}>{q.name}</a></H>
      <p>
        {q.items.length === 0 ? "empty" : count(q.items.length, "item")}, {q.items.length > active ? `${active} within the window` : `window of ${q.window}`}
      </p>
      {q.paused && (
        <p class="paused"><Badge look="odd">paused</Badge> by {q.paused.who} <Ago at={q.paused.at} />: {q.paused.why}</p>
      )}
    </div>
  );
}
