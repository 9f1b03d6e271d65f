// States, spans and times in words.
import type { Item, JobState, PlaceState, JobSummary } from "./api";

/** A span in seconds as people say it: "1.2 s", "3 min 20 s". */
export function span(seconds: number): string {
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 120) return `${Math.round(seconds)} s`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)} min ${Math.floor(seconds) % 60} s`;
  return `${Math.floor(seconds / 3600)} h ${Math.floor(seconds / 60) % 60} min`;
}

/** How long ago: "now", "40 s ago", "3 min ago", "2 h ago", "5 days ago". */
export function ago(seconds: number): string {
  if (seconds < 5) return "now";
  if (seconds < 60) return `${Math.floor(seconds / 5) * 5} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 2 * 86400) return `${Math.floor(seconds / 3600)} h ago`;
  return `${Math.floor(seconds / 86400)} days ago`;
}

/** How long until: "any moment", "in about 40 s", "in about 6 min", "in about 2 h". */
export function until(seconds: number): string {
  if (seconds < 10) return "any moment";
  if (seconds < 90) return `in about ${Math.ceil(seconds / 10) * 10} s`;
  if (seconds < 90 * 60) return `in about ${Math.round(seconds / 60)} min`;
  if (seconds < 36 * 3600) return `in about ${Math.round(seconds / 3600)} h`;
  return `in about ${Math.round(seconds / 86400)} days`;
}

/** Bytes: "812 B", "14.2 kB", "3.1 MB". */
export function bytes(n: number): string {
  if (n < 1000) return `${n} B`;
  if (n < 1e6) return `${(n / 1e3).toFixed(1)} kB`;
  if (n < 1e9) return `${(n / 1e6).toFixed(1)} MB`;
  return `${(n / 1e9).toFixed(2)} GB`;
}

/** "1 item", "3 items". */
export function count(n: number, one: string, many = one + "s"): string {
  return `${n} ${n === 1 ? one : many}`;
}

/** What a state looks like: a colour and an icon. */
export type Look = "wait" | "run" | "good" | "bad" | "odd" | "off" | "reused";

export function jobLook(j: { state: JobState; reused?: boolean }): Look {
  switch (j.state) {
    case "passed": return j.reused ? "reused" : "good";
    case "failed": return "bad";
    case "error": return "odd";
    case "running": return "run";
    case "cancelled": case "not_applicable": return "off";
  }
  return "wait";
}

const places: Record<PlaceState, Look> = {
  waiting: "wait", merging: "run", testing: "run", verifying: "run", submitting: "run", passed: "good",
  failing: "bad", conflict: "bad", error: "odd", red: "odd", held: "wait",
};
export const placeLook = (s: PlaceState): Look => places[s] ?? "wait";

/** The look of what became of an item. */
export function resultLook(result: string): Look {
  if (["merged", "passed", "published"].includes(result)) return "good";
  if (["failed", "conflict", "refused"].includes(result)) return "bad";
  if (result === "error" || result === "red") return "odd";
  return result === "" ? "run" : "off";
}

/** An item's state in words. */
export function itemWords(i: Item): string {
  const f = i.buildset?.finding;
  const progress = i.total > 0 ? `${i.done} of ${i.total} done` : "jobs are being planned";
  switch (i.state) {
    case "testing": return `testing, ${progress}`;
    case "merging": return "being merged onto what it stands behind";
    case "verifying": return `merged past the gate, verifying, ${progress}`;
    case "failing": return f ? `failing: ${f.text}` : i.word;
    case "conflict": return i.buildset?.conflict?.text ? `conflict: ${i.buildset.conflict.text}` : i.word;
  }
  return i.word || i.state;
}

/** A job's state in a word or two. */
export function jobWord(state: JobState): string {
  return state.replaceAll("_", " ");
}

/** What is said of a job where there is room. */
export function jobWords(j: JobSummary): string {
  const cause = j.state === "waiting" && j.waits_for ? `, for ${j.waits_for}` : "";
  return (j.word || jobWord(j.state)) + cause + (j.voting ? "" : " (non-voting)") + (j.without ? `; ${j.without}` : "");
}

/** A path of the page to a change. */
export const changePath = (c: { gerrit: string; number: number }) => `/change/${encodeURIComponent(c.gerrit)}/${c.number}`;
/** The same from GERRIT~NUMBER. */
export function changePathOf(id: string): string {
  const at = id.lastIndexOf("~");
  return changePath({ gerrit: id.slice(0, at), number: Number(id.slice(at + 1)) });
}
export const queuePath = (name: string) => `/queue/${encodeURIComponent(name)}`;
export const repositoryPath = (r: { release: string; dist: string; channel: string }) =>
  `/repository/${[r.release, r.dist, r.channel].map(encodeURIComponent).join("/")}`;
