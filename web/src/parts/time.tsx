// Times that go on by themselves.
import { signal } from "@preact/signals";
import type { Time } from "../api";
import { ago, span } from "../words";

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

/** How long something took, or has taken until now. */
export function Took({ from, to }: { from?: Time; to?: Time }) {
  if (!from) return null;
  const end = to ? Date.parse(to) : now.value;
  const took = Math.max(0, (end - Date.parse(from)) / 1000);
  return <span class="took">{to ? span(took) : span(Math.max(10, took) === took ? took : Math.floor(took))}</span>;
}
