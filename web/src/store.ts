// What the page shows is read here, kept, and read again when the service says
// that it changed.
//
// A resource is the last answer of one address of the API. While somebody shows
// it, a notice of /api/v1/events that concerns it makes it read again: soon, but
// not more often than each PAUSE, and one request at a time. While the page is
// not looked at, nothing is read again; what went stale is read when it is looked at
// again. While the notices are cut, all that is shown is read every POLL.
import { signal, type Signal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import type { Problem, Status } from "./api";

const GATHER = 120; // ms that a notice waits for others
const PAUSE = 500; // ms from one answer to the next request
const POLL = 5000; // ms between readings while there are no notices
const SAFETY = 30000; // ms between readings in any case: not everything that is shown has notices
const HIDDEN = 15000; // ms that a page may be hidden before it lets its stream go: a browser has few for one service
const KEPT = 60; // resources that nobody shows and that are kept for a way back

/** What happened: a kind, and the id of what it happened to. */
export type Notice = { kind: string; id: string };
/** Says whether a notice may change an answer. */
export type Concern<T> = (n: Notice, last: T | undefined) => boolean;

export interface Resource<T> {
  data: Signal<T | undefined>;
  error: Signal<Problem | undefined>;
}

interface Kept<T> extends Resource<T> {
  path: string;
  concern: Concern<T>;
  users: number;
  stale: boolean;
  busy: boolean;
  timer: number;
}

const all = new Map<string, Kept<unknown>>();

/** How the notices come: "live", or why they do not. */
export const link = signal<"connecting" | "live" | "reconnecting">("connecting");

async function read<T>(k: Kept<T>) {
  k.busy = true;
  k.stale = false;
  try {
    const answer = await fetch(k.path, { headers: { Accept: "application/json" } });
    const body = await answer.text();
    if (answer.ok) {
      k.data.value = JSON.parse(body) as T;
      k.error.value = undefined;
    } else {
      k.error.value = problemOf(answer, body);
      if (answer.status === 404) k.data.value = undefined;
    }
  } catch {
    k.error.value = { status: 0, title: "the service cannot be reached", detail: "This page tries again by itself." };
  }
  k.busy = false;
  if (k.stale) soon(k, PAUSE);
}

function problemOf(answer: Response, body: string): Problem {
  try {
    return JSON.parse(body) as Problem;
  } catch {
    return { status: answer.status, title: `the service answered ${answer.status}` };
  }
}

function soon<T>(k: Kept<T>, wait: number) {
  k.stale = true;
  if (k.timer || k.busy || k.users === 0 || (document.hidden && k.data.peek() !== undefined)) return;
  k.timer = setTimeout(() => {
    k.timer = 0;
    if (!k.busy && k.stale && k.users > 0) void read(k);
  }, wait);
}

function resource<T>(path: string, concern: Concern<T>): Kept<T> {
  let k = all.get(path) as Kept<T> | undefined;
  if (!k) {
    k = { path, concern, data: signal(undefined), error: signal(undefined), users: 0, stale: true, busy: false, timer: 0 };
    all.set(path, k as Kept<unknown>);
    forget();
  }
  return k;
}

function forget() {
  for (const [path, k] of all) {
    if (all.size <= KEPT) return;
    if (k.users === 0) all.delete(path);
  }
}

/** Says whether all of these addresses have been answered, or cannot be. */
export function answered(paths: string[]): boolean {
  return paths.every((p) => {
    const k = all.get(p);
    return k && (k.data.value !== undefined || k.error.value !== undefined);
  });
}

/** How the service is: shared by the head and some pages. */
export const useStatus = () => useResource<Status>("/api/v1/status", (n) => n.kind === "queue" || n.kind === "job" || n.kind === "change");

/** Reads an address, and again when a notice concerns it, while the caller is shown. */
export function useResource<T>(path: string, concern: Concern<T>): Resource<T> {
  const k = resource<T>(path, concern);
  useEffect(() => {
    k.users++;
    soon(k, 0);
    return () => {
      k.users--;
      k.stale = true;
    };
  }, [k]);
  return k;
}

function tell(n: Notice) {
  for (const k of all.values()) {
    if (n.kind === "reset" || k.concern(n, k.data.peek())) soon(k, GATHER);
  }
}

const kinds = ["reset", "queue", "change", "buildset", "job", "log", "repository"];
let events: EventSource | undefined;
let polling = 0;
let again = 0;

/** Begins to listen. */
export function listen() {
  clearTimeout(again);
  const stream = new EventSource("/api/v1/events");
  events = stream;
  stream.onopen = () => {
    link.value = "live";
    clearInterval(polling);
    polling = 0;
  };
  stream.onerror = () => {
    link.value = "reconnecting";
    polling ||= setInterval(() => tell({ kind: "reset", id: "" }), POLL);
    if (stream.readyState !== EventSource.CLOSED) return; // the browser connects again by itself
    again = setTimeout(listen, 2000);
  };
  for (const kind of kinds) {
    stream.addEventListener(kind, (e) => tell({ kind, id: (e as MessageEvent<string>).data }));
  }
}

setInterval(() => {
  for (const k of all.values()) soon(k, 0);
}, SAFETY);

let letting = 0;
document.addEventListener("visibilitychange", () => {
  clearTimeout(letting);
  if (document.hidden) {
    letting = setTimeout(() => {
      events?.close();
      events = undefined;
      clearTimeout(again);
      clearInterval(polling);
      polling = 0;
    }, HIDDEN);
    return;
  }
  if (!events) listen(); // begins with reset
  for (const k of all.values()) if (k.stale) soon(k, 0);
});
