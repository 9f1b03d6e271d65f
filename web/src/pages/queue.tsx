// "/queue/NAME": one queue, the gate's or a check's.
import type { Queue } from "../api";
import { ItemList, QueueHead } from "../parts/item";
import { Loaded, useTitle } from "../parts/text";
import { useResource } from "../store";
import { aboutQueue } from "./home";

export function QueuePage({ args: [name] }: { args: string[] }) {
  useTitle(`Queue ${name}`);
  const queue = useResource<Queue>(`/api/v1/queues/${encodeURIComponent(name!)}`, aboutQueue(name!));
  return (
    <section class="queue">
      <Loaded of={queue}>{(q) => (
        <>
          <QueueHead queue={q} level={1} />
          {q.items.length > 0 ? <ItemList queue={q} /> : <p class="empty calm"><strong>Nothing stands in this queue.</strong></p>}
        </>
      )}</Loaded>
    </section>
  );
}
