// A job's log: lines with addresses (#L12, #L12-L20), only those drawn that are
// near the window, and following while it grows.
import { Component } from "preact";
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import type { Finding, Step } from "../api";
import { Log } from "../log";
import { place } from "../router";
import { bytes } from "../words";

const ROW = 20; // px, as in style.css
const BLOCK = 200; // lines that are drawn together
const PLAIN = 3000; // lines up to which all are drawn, so that the browser's own search finds them
const SHEET = 500000; // lines that one scrollable height can hold in every browser
const HEAD = 110; // px above the log that stay

interface Marks { from: number; to: number; findings: Set<number>; steps: Set<number> }

/** The lines that an address names: [from, to], [0, 0] for none. */
export function linesOf(hash: string): [number, number] {
  const m = /^#L(\d+)(?:-L?(\d+))?$/.exec(hash);
  if (!m) return [0, 0];
  const a = Number(m[1]), b = Number(m[2] ?? m[1]);
  return [Math.min(a, b), Math.max(a, b)];
}

interface Props { job: number; attempt?: number; live: boolean; findings: Finding[]; steps: Step[] }

export function LogView({ job, attempt, live, findings, steps }: Props) {
  const log = useMemo(() => new Log(`/api/v1/jobs/${job}/log${attempt ? `?attempt=${attempt}` : ""}`, live), [job, attempt]);
  useEffect(() => () => log.close(), [log]);
  log.version.value; // drawn again when it grows
  const [from, to] = linesOf(place.value.hash);
  const marks = useMemo(
    () => ({ from, to, findings: new Set(findings.map((f) => f.log_line)), steps: new Set(steps.map((s) => s.log_line)) }),
    [from, to, findings, steps],
  );
  const [sheet, setSheet] = useState(0);
  const [following, setFollowing] = useState(live && from === 0);
  const box = useRef<HTMLDivElement>(null);
  const view = useWindow(box);
  const lines = log.lines, first = sheet * SHEET, here = Math.min(lines - first, SHEET);
  useJump(box, log, from, sheet, setSheet);
  useFollow(following, setFollowing, lines, log);
  return (
    <section class="log" aria-label="Log">
      <Tools log={log} job={job} live={live} at={from} following={following} setFollowing={setFollowing} />
      {lines > SHEET && <Sheets lines={lines} sheet={sheet} setSheet={setSheet} />}
      {log.trouble.value && <p class="logword">{log.trouble.value}</p>}
      {lines === 0 && !log.trouble.value && <p class="logword">{log.complete.value ? "The log is empty." : live ? "Nothing has been written yet." : "Loading…"}</p>}
      <div class="lines-box" ref={box}>
        <div class="sheet" style={{ height: `${Math.max(here, 0) * ROW}px`, minWidth: `${Math.min(log.longest, 4100) + 10}ch` }}>
          {blocks(here, view).map((b) => (
            <Block key={first + b} log={log} from={first + b + 1} to={first + Math.min(b + BLOCK, here)} top={b * ROW} marks={marks}
              whole={!(first + b + BLOCK > lines) || log.complete.value ? "" : String(log.bytes)} />
          ))}
        </div>
      </div>
    </section>
  );
}

/** Which blocks of a sheet are drawn. */
function blocks(here: number, view: { top: number; height: number }): number[] {
  const all: number[] = [];
  const low = here <= PLAIN ? 0 : Math.floor(view.top / ROW / BLOCK) - 1;
  const high = here <= PLAIN ? here / BLOCK : (view.top + view.height) / ROW / BLOCK + 1;
  for (let b = Math.max(0, low); b < high && b * BLOCK < here; b++) all.push(b * BLOCK);
  return all;
}

interface BlockProps { log: Log; from: number; to: number; top: number; marks: Marks; whole: string }

class Block extends Component<BlockProps> {
  shouldComponentUpdate(next: BlockProps) {
    const now = this.props;
    return next.log !== now.log || next.to !== now.to || next.top !== now.top || next.marks !== now.marks || next.whole !== now.whole;
  }

  render({ log, from, to, top, marks }: BlockProps) {
    const rows: preact.ComponentChildren[] = [];
    for (let n = from; n <= to; n++) {
      const text = log.line(n);
      let kind = "l";
      if (n >= marks.from && n <= marks.to) kind += " sel";
      if (marks.findings.has(n)) kind += " hit";
      if (marks.steps.has(n)) kind += " step";
      if (/\berror:|\bE: |^error\b|\*\*\* .*Error/i.test(text)) kind += " err";
      else if (/\bwarning:|\bW: /i.test(text)) kind += " warn";
      rows.push(<div class={kind} key={n}><a href={`#L${n}`} tabIndex={-1}>{n}</a><span>{text}</span></div>);
    }
    return <div class="block" style={{ top: `${top}px` }}>{rows}</div>;
  }
}

/** What of an element the window shows, in px from the element's top. */
function useWindow(box: { current: HTMLDivElement | null }) {
  const [view, setView] = useState({ top: 0, height: innerHeight });
  useEffect(() => {
    let frame = 0;
    const look = () => {
      frame ||= requestAnimationFrame(() => {
        frame = 0;
        const step = BLOCK * ROW / 2; // drawn again only when half a block has passed
        const top = Math.floor(-(box.current?.getBoundingClientRect().top ?? 0) / step) * step;
        setView((v) => (v.top === top && v.height === innerHeight ? v : { top, height: innerHeight }));
      });
    };
    look();
    addEventListener("scroll", look, { passive: true });
    addEventListener("resize", look);
    return () => {
      cancelAnimationFrame(frame);
      removeEventListener("scroll", look);
      removeEventListener("resize", look);
    };
  }, []);
  return view;
}

/** Goes to the line that the address names, once it is there. */
function useJump(box: { current: HTMLDivElement | null }, log: Log, line: number, sheet: number, setSheet: (n: number) => void) {
  const done = useRef<string>("");
  const goal = `${place.value.path}#${line}`;
  useLayoutEffect(() => {
    if (line === 0 || done.current === goal || log.lines < line || !box.current) return;
    const on = Math.floor((line - 1) / SHEET);
    if (on !== sheet) return setSheet(on);
    done.current = goal;
    const top = box.current.getBoundingClientRect().top + scrollY + (line - 1 - on * SHEET) * ROW;
    if (top < scrollY + HEAD || top > scrollY + innerHeight - 2 * ROW) scrollTo(0, top - Math.max(HEAD + 3 * ROW, innerHeight / 3));
  });
}

/** Keeps the end in sight while the log grows, until somebody scrolls up. */
function useFollow(following: boolean, set: (on: boolean) => void, lines: number, log: Log) {
  const last = useRef(0); // where the page was left: a scroll of ours and one of the reader's may come as one event
  useLayoutEffect(() => {
    if (!following || lines === 0) return;
    scrollTo(0, document.documentElement.scrollHeight);
    last.current = scrollY;
  }, [following, lines]);
  useEffect(() => {
    if (!following) return;
    const moved = () => {
      if (scrollY < last.current - 4) set(false);
      last.current = scrollY;
    };
    addEventListener("scroll", moved, { passive: true });
    return () => removeEventListener("scroll", moved);
  }, [following]);
  const complete = log.complete.value;
  useEffect(() => {
    if (complete) set(false);
  }, [complete]);
}

interface ToolProps { log: Log; job: number; live: boolean; at: number; following: boolean; setFollowing: (on: boolean) => void }

function Tools({ log, job, live, at, following, setFollowing }: ToolProps) {
  log.version.value; // its size is shown
  const [none, setNone] = useState(false);
  const search = (word: string, step: 1 | -1) => {
    const n = word ? log.find(word, at || (step > 0 ? 0 : 1), step) : 0;
    setNone(word !== "" && n === 0);
    if (!n) return;
    setFollowing(false);
    history.replaceState(null, "", `#L${n}`);
    place.value = { ...place.value, hash: `#L${n}` };
  };
  return (
    <div class="tools">
      <h2>Log</h2>
      {log.of.value.job > 0 && log.of.value.job !== job && <a href={`/job/${log.of.value.job}`}>of job {log.of.value.job}</a>}
      <span class="dim size">{log.lines.toLocaleString("en")} lines, {bytes(log.bytes)}</span>
      <input type="search" aria-label="Find in the log" placeholder={"Find, then Enter"} class={none ? "none" : ""}
        onInput={() => setNone(false)}
        onKeyDown={(e) => { if (e.key === "Enter") search(e.currentTarget.value, e.shiftKey ? -1 : 1); }} />
      {none && <span role="status">not in it</span>}
      {live && !log.complete.value
        ? <button type="button" aria-pressed={following} onClick={() => setFollowing(!following)}>{following ? "Following" : "Follow"}</button>
        : <button type="button" onClick={() => scrollTo(0, document.documentElement.scrollHeight)}>To the end</button>}
    </div>
  );
}

function Sheets({ lines, sheet, setSheet }: { lines: number; sheet: number; setSheet: (n: number) => void }) {
  const all = Array.from({ length: Math.ceil(lines / SHEET) }, (_, i) => i);
  return (
    <div class="pick" role="group" aria-label="Which lines">
      {all.map((i) => (
        <button key={i} type="button" aria-pressed={i === sheet} onClick={() => setSheet(i)}>
          {(i * SHEET + 1).toLocaleString("en")}–{Math.min(lines, (i + 1) * SHEET).toLocaleString("en")}
        </button>
      ))}
    </div>
  );
}
