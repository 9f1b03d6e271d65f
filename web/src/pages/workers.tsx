// "/workers": the machines, and what the service hears.
import { Badge } from "../parts/state";
import { Loaded, useTitle } from "../parts/text";
import { Ago } from "../parts/time";
import { useStatus } from "../store";
import { count } from "../words";

const SILENT = 120; // seconds after which a worker is taken for gone

export function WorkersPage() {
  useTitle("Workers");
  const status = useStatus();
  return (
    <>
      <div class="queuehead"><h1>Workers</h1></div>
      <Loaded of={status}>{(s) => (
        <>
          <p class="tally">
            <b>{s.jobs.running}</b> running <b>{s.jobs.queued}</b> queued for a worker <b>{s.jobs.waiting}</b> waiting for other jobs
          </p>
          {s.workers.length === 0 && <p class="empty calm"><strong>No worker is there.</strong><br />Start one on any machine with <code>sluice worker</code>: it needs HTTP to this address and nothing else.</p>}
          <ul class="lines">
            {s.workers.map((w) => {
              const gone = (Date.parse(s.now) - Date.parse(w.seen_at)) / 1000 > SILENT;
              return (
                <li key={w.name}>
                  <Badge look={gone ? "odd" : w.running ? "run" : "good"}>{gone ? "silent" : w.running ? count(w.running, "job") : "idle"}</Badge>
                  <div><p class="title">{w.name}</p><p class="facts"><span>{w.architectures.join(" ")}</span><span>{w.labels.join(" ")}</span><span>{w.version}</span></p></div>
                  <span>seen <Ago at={w.seen_at} /></span>
                </li>
              );
            })}
          </ul>
          <h2>Gerrit</h2>
          <ul class="lines">
            {s.streams.map((g) => (
              <li key={g.gerrit}>
                <Badge look={g.connected ? "good" : "odd"}>{g.connected ? "heard" : "not heard"}</Badge>
                <div><p class="title"><a href={g.url}>{g.gerrit}</a></p>{g.error && <p class="reason">{g.error}</p>}{!g.connected && <p class="facts">Until its events are heard again, Gerrit is asked what changed every few minutes.</p>}</div>
                {g.since ? <span>since <Ago at={g.since} /></span> : <span />}
              </li>
            ))}
          </ul>
          <p class="foot">sluice {s.version}</p>
        </>
      )}</Loaded>
    </>
  );
}
