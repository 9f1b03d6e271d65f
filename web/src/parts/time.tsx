// Times that go on by themselves.
import { signal } from "@preact/signals";
import type { Estimate, Time } from "../api";
import { ago, span, until } from "../words";

const now = signal(Date.now());
setInterval(() => {
  if (!document.hidden) now.value = Date.now();
}, 1000);

const exact = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });

/** "3 min ago", with the exact time to hover. */
export function Ago({ at }: { at?: Time }) {
  if (!at) return null;
  const t = Date.parse(at);
  return <time dateTime={at} title={exact.format(t)}>{ago((now.value - t) / 1000)}</time>;
}

/** "merges in about 6 min", with the range to hover. */
export function Merges({ at: e }: { at?: Estimate }) {
  if (!e) return null;
  const [at, from, to] = [e.at, e.from, e.to].map((t) => Date.parse(t!)) as [number, number, number];
  const chance = e.chance < 0.995 ? `; ${Math.round(e.chance * 100)} of 100 times it merges at all` : "";
  return (
    <time class="merges" dateTime={e.at} title={`Four of five times between ${exact.format(from)} and ${exact.format(to)}${chance}`}>
      {e.chance < 0.5 ? "merges, if it does, " : "merges "}{until((at - now.value) / 1000)}
    </time>
  );
}

/** How long something took, or has taken until now. */
export function Took({ from, to }: { from?: Time; to?: Time }) {
  if (!from) return null;
  const end = to ? Date.parse(to) : now.value;
  const took = Math.max(0, (end - Date.parse(from)) / 1000);
  return <span class="took">{to ? span(took) : span(Math.max(10, took) === took ? took : Math.floor(took))}</span>;
}
