// How states are shown: an icon and a colour, always with a word.
import type { BuildsetSummary, JobSummary, Stage } from "../api";
import { jobLook, jobWords, type Look } from "../words";

const shapes: Record<Look, preact.ComponentChildren> = {
  wait: <circle cx="8" cy="8" r="5.25" />,
  run: <><circle cx="8" cy="8" r="5.25" opacity=".3" /><path d="M8 2.750a5.250 5.250 0 0 1 5.250 5.250" /></>,
  good: <><circle cx="8" cy="8" r="6.250" fill="currentColor" stroke="none" /><path class="cut" d="m5.250 8.200 1.900 1.900 3.600-3.900" /></>,
  reused: <><circle cx="8" cy="8" r="5.600" /><path d="m5.400 8.200 1.800 1.800 3.400-3.700" /></>,
  bad: <><circle cx="8" cy="8" r="6.250" fill="currentColor" stroke="none" /><path class="cut" d="m5.800 5.800 4.400 4.400m0-4.400-4.400 4.400" /></>,
  odd: <><path d="M8 2.200 14.200 13.200H1.800Z" fill="currentColor" stroke="currentColor" stroke-linejoin="round" stroke-width="1.200" /><path class="cut" d="M8 6.300v3.200m0 1.700v.2" /></>,
  off: <><circle cx="8" cy="8" r="5.250" /><path d="m4.400 11.600 7.200-7.200" /></>,
};

export function Icon({ look }: { look: Look }) {
  return <svg class={`icon ${look}`} viewBox="0 0 16 16" width="16" height="16" aria-hidden="true">{shapes[look]}</svg>;
}

/** A state in a word, with its icon and colour. */
export function Badge({ look, children }: { look: Look; children: preact.ComponentChildren }) {
  return <span class={`badge ${look}`}><Icon look={look} /><span>{children}</span></span>;
}

/** A job as a small label that leads to it. */
export function Chip({ job }: { job: JobSummary }) {
  const look = jobLook(job);
  const words = `${job.name}: ${jobWords(job)}`;
  const hint = look === "reused" ? "reused" : job.state === "passed" || job.state === "not_applicable" ? "" : job.state;
  return (
    <a class={`chip ${look}${job.voting ? "" : " advisory"}`} href={jobPath(job)} title={words} aria-label={words}>
      <Icon look={look} />{job.stage}{hint && hint !== "waiting" && hint !== "queued" && hint !== "running" ? <em>{hint}</em> : null}
    </a>
  );
}

/** A job's address, at its first finding if it has one. */
export function jobPath(j: JobSummary): string {
  const line = j.finding?.log_line;
  return `/job/${j.id}${line ? `#L${line}` : ""}`;
}

const order: Stage[] = ["root", "build", "lint", "publish", "install", "upgrade", "systest"];

interface Group { key: string; label: string; jobs: JobSummary[] }

/** What publish jobs are about: all packages of a target together. */
const together = "all";

/**
 * Jobs by what they are about, each group in the order of the stages. Where a
 * target has one package, what is done for all of them is done for that one.
 */
export function groups(jobs: JobSummary[]): Group[] {
  const packages = new Set(jobs.map((j) => j.package).filter((p) => p !== together));
  const built = new Map<string, Set<string>>();
  const architectures = new Map<string, Set<string>>();
  for (const j of jobs) {
    architectures.set(j.target, (architectures.get(j.target) ?? new Set()).add(j.architecture));
    if (j.stage === "build") built.set(j.target, (built.get(j.target) ?? new Set()).add(j.package));
  }
  const all = new Map<string, Group>();
  for (const j of jobs) {
    const own = built.get(j.target);
    const about = j.package === together && own?.size === 1 ? [...own][0]! : j.package;
    const label = [
      about === together ? "all packages" : packages.size > 1 ? about : "", j.target, (architectures.get(j.target)?.size ?? 0) > 1 ? j.architecture : "",
    ].filter(Boolean).join(" ");
    const key = `${about === together ? 1 : 0} ${about} ${j.target} ${j.architecture}`;
    const g = all.get(key) ?? { key, label, jobs: [] };
    g.jobs.push(j);
    all.set(key, g);
  }
  for (const g of all.values()) g.jobs.sort((a, b) => order.indexOf(a.stage) - order.indexOf(b.stage) || a.id - b.id);
  return [...all.values()].sort((a, b) => (a.key < b.key ? -1 : 1));
}

/** The jobs of a buildset as chips, a line for each target. */
export function Chips({ buildset }: { buildset?: BuildsetSummary }) {
  if (!buildset || buildset.jobs.length === 0) return null;
  return (
    <div class="chips">
      {groups(buildset.jobs).map((g) => (
        <div class="chipline" key={g.key}>
          <span class="of">{g.label}</span>
          <span class="row">{g.jobs.map((j) => <Chip key={j.id} job={j} />)}</span>
        </div>
      ))}
    </div>
  );
}

/** How far an item has come, as a thin bar. */
export function Bar({ jobs }: { jobs: JobSummary[] }) {
  if (jobs.length === 0) return null;
  const looks: Look[] = ["good", "reused", "bad", "odd", "off", "run", "wait"];
  return (
    <div class="bar" aria-hidden="true">
      {looks.map((l) => {
        const n = jobs.filter((j) => jobLook(j) === l).length;
        return n ? <i key={l} class={l} style={{ flexGrow: n }} /> : null;
      })}
    </div>
  );
}
