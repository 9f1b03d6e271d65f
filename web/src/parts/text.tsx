// Small things that pages share.
import { useEffect, useState } from "preact/hooks";
import type { ChangeRef, Problem, Reason, Sources } from "../api";
import type { Resource } from "../store";
import { changePath, changePathOf } from "../words";

/** Gives the browser's tab its name. */
export function useTitle(title: string) {
  useEffect(() => { document.title = title ? `${title} · sluice` : "sluice"; }, [title]);
}

/** A resource's content, or why there is none. The last answer stays while a new one is late. */
export function Loaded<T>({ of, children }: { of: Resource<T>; children: (data: T) => preact.ComponentChildren }) {
  const data = of.data.value, error = of.error.value;
  return (
    <>
      {error && <Trouble problem={error} />}
      {data !== undefined ? children(data) : !error && <p class="loading" role="status">Loading…</p>}
    </>
  );
}

export function Trouble({ problem }: { problem: Problem }) {
  return (
    <div class="trouble" role="alert">
      <strong>{problem.title}</strong>{problem.detail ? <p>{problem.detail}</p> : null}
    </div>
  );
}

/** A text to be copied. */
export function Copyable({ text, label }: { text: string; label: string }) {
  const [done, setDone] = useState(false);
  useEffect(() => {
    if (!done) return;
    const t = setTimeout(() => setDone(false), 1500);
    return () => clearTimeout(t);
  }, [done]);
  return (
    <div class="copyable">
      <pre tabIndex={0} aria-label={label}>{text}</pre>
      <button type="button" onClick={() => void copy(text).then(setDone)}>{done ? "Copied" : "Copy"}</button>
    </div>
  );
}

async function copy(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copyBySelection(text); // over plain HTTP there is no clipboard
  }
}

function copyBySelection(text: string): boolean {
  const area = document.createElement("textarea");
  area.value = text;
  area.className = "away";
  document.body.append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  return done;
}

/** What a client types to use a repository: fetching the file, or writing it. */
export function Use({ sources: s, address, name }: { sources: Sources; address: string; name: string }) {
  const deb = s.file.endsWith(".sources");
  const after = deb ? "apt-get update" : "dnf makecache";
  const text = s.text.endsWith("\n") ? s.text : s.text + "\n";
  return (
    <>
      <Copyable text={`curl -fsSo ${s.file} ${address}${deb ? "sluice.sources" : "sluice.repo"}\n${after}`} label={`Commands that use ${name}`} />
      <details class="whole">
        <summary>The file itself, with its key</summary>
        <Copyable text={`cat > ${s.file} <<'END'\n${text}END\n${after}`} label={`The file that uses ${name}`} />
      </details>
    </>
  );
}

/** One line about a change: its project, branch, owner. */
export function Facts({ change: c }: { change: ChangeRef }) {
  return (
    <>
      <a class="num" href={c.url} title="Open in Gerrit" rel="noreferrer">#{c.number}</a><span>patch set {c.patch_set}</span>
      <span>{c.project}</span><span class="branch">{c.branch}</span><span>{c.owner}</span>
    </>
  );
}

/** A change's subject, leading to it. */
export function Subject({ change: c }: { change: ChangeRef }) {
  return <a class="subject" href={changePath(c)}>{c.subject || `Change ${c.number}`}</a>;
}

/** Why something is as it is, with the reasons below it. */
export function WhyTree({ reason, of, jobs, top = true }: { reason: Reason; of: string; jobs: Map<string, string>; top?: boolean }) {
  const to = reason.job ? jobs.get(reason.job) : reason.change && reason.change !== of ? changePathOf(reason.change) : undefined;
  return (
    <div class={top ? "why" : undefined}>
      <p>
        {to ? <a href={to}>{reason.text}</a> : reason.text}
        {reason.who && reason.who !== "the gate" ? <span class="who">{reason.who}</span> : null}
        {reason.next ? <span class="next"><b>Next:</b> {reason.next}</span> : null}
      </p>
      {reason.children.length > 0 && (
        <ul>{reason.children.map((r, i) => <li key={i}><WhyTree reason={r} of={of} jobs={jobs} top={false} /></li>)}</ul>
      )}
    </div>
  );
}
