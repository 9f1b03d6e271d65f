// The page's addresses. Links are plain ones; a click on one that leads to
// another of the page's places is followed without loading anything anew.
import { signal } from "@preact/signals";
import type { ComponentType } from "preact";
import { ChangePage } from "./pages/change";
import { BuildsetPage } from "./pages/buildset";
import { ChangesPage } from "./pages/changes";
import { HomePage } from "./pages/home";
import { JobPage } from "./pages/job";
import { QueuePage } from "./pages/queue";
import { RepositoriesPage } from "./pages/repositories";
import { RepositoryPage } from "./pages/repository";
import { WorkersPage } from "./pages/workers";

/** Where the page is. */
export const place = signal({ path: location.pathname, hash: location.hash });

interface Place {
  pattern: RegExp;
  tab: string; // which entry of the head it belongs to
  page: ComponentType<{ args: string[] }>;
}

const places: Place[] = [
  { pattern: /^\/$/, tab: "/", page: HomePage },
  { pattern: /^\/queue\/(.+)$/, tab: "/", page: QueuePage },
  { pattern: /^\/changes$/, tab: "/changes", page: ChangesPage },
  { pattern: /^\/change\/([^/]+)\/(\d+)$/, tab: "/changes", page: ChangePage },
  { pattern: /^\/buildset\/(\d+)$/, tab: "/changes", page: BuildsetPage },
  { pattern: /^\/job\/(\d+)$/, tab: "/changes", page: JobPage },
  { pattern: /^\/repositories$/, tab: "/repositories", page: RepositoriesPage },
  { pattern: /^\/repositor(?:y|ies)\/([^/]+)\/([^/]+)\/([^/]+)$/, tab: "/repositories", page: RepositoryPage },
  { pattern: /^\/workers$/, tab: "/workers", page: WorkersPage },
];

/** The place of an address and the words in it, undefined where there is none. */
export function find(path: string): { at: Place; args: string[] } | undefined {
  for (const at of places) {
    const m = at.pattern.exec(path);
    if (m) return { at, args: m.slice(1).map(decoded) };
  }
  return undefined;
}

function decoded(word: string): string {
  try {
    return decodeURIComponent(word);
  } catch {
    return word;
  }
}

/** Goes to another place of the page. */
export function go(address: string) {
  const to = new URL(address, location.href);
  const moved = to.pathname !== location.pathname;
  history.pushState(null, "", to);
  place.value = { path: to.pathname, hash: to.hash };
  if (!moved) return;
  scrollTo(0, 0);
  document.getElementById("main")?.focus({ preventScroll: true });
}

/** Follows links and the way back. */
export function follow() {
  document.addEventListener("click", (e) => {
    const a = (e.target as Element | null)?.closest?.("a");
    if (!a || e.defaultPrevented || e.button !== 0 || e.metaKey || e.ctrlKey || e.shiftKey || e.altKey) return;
    if (a.target || a.origin !== location.origin || a.hasAttribute("download") || !find(a.pathname)) return;
    if (a.getAttribute("href")?.startsWith("#") && a.hash === "#main") return;
    e.preventDefault();
    go(a.href);
  });
  addEventListener("popstate", () => {
    place.value = { path: location.pathname, hash: location.hash };
  });
}
