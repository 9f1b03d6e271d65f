// What a job found wrong, as a person wants to read it.
import type { BuildsetSummary, Finding } from "../api";
import { changePathOf } from "../words";
import { Icon } from "./state";

const severities = { error: "bad", warning: "odd", info: "off" } as const;

/** A finding with the lines of the log around it. */
export function FindingBox({ finding: f, job, name }: { finding: Finding; job?: number; name?: string }) {
  const at = f.log_line > 0 && job ? `/job/${job}#L${f.log_line}` : undefined;
  return (
    <section class={`finding ${severities[f.severity] ?? "bad"}`} aria-label={f.severity}>
      <p class="says">
        <Icon look={severities[f.severity] ?? "bad"} />
        <span>
          {f.file && <b class="file">{f.file}{f.line > 0 ? `:${f.line}` : ""}</b>} {f.message}
        </span>
      </p>
      {f.excerpt.length > 0 && <pre class="excerpt" tabIndex={0}>{f.excerpt.map((line, i) => (
        <span key={i} class={line.includes(f.message) ? "it" : undefined}>{line}{"\n"}</span>
      ))}</pre>}
      {(at || name || f.rule) && (
        <p class="from">
          {name && <span>{name}</span>}
          {f.rule && <span>rule {f.rule}</span>}
          {at && <a href={at}>line {f.log_line} of the log</a>}
        </p>
      )}
    </section>
  );
}

/** What is wrong with a buildset, first things first. */
export function FirstFinding({ buildset: b }: { buildset: BuildsetSummary }) {
  const failed = b.jobs.find((j) => j.finding && b.finding && j.finding.text === b.finding.text) ?? b.jobs.find((j) => j.finding && j.voting);
  if (b.conflict) {
    return (
      <section class="finding bad" aria-label="conflict">
        <p class="says"><Icon look="bad" /><span><b>Conflict</b> {b.conflict.text}</span></p>
        {b.conflict.files.length > 0 && <pre class="excerpt" tabIndex={0}>{b.conflict.files.join("\n")}</pre>}
        {b.conflict.with && <p class="from"><a href={changePathOf(b.conflict.with)}>the other change</a></p>}
      </section>
    );
  }
  if (b.finding) return <FindingBox finding={b.finding} job={failed?.id} name={failed?.name} />;
  if (b.broken) return <section class="finding bad"><p class="says"><Icon look="bad" /><span>{b.broken}</span></p></section>;
  const without = b.jobs.find((j) => j.voting && j.cause && (j.state === "failed" || j.state === "error"));
  if (!without) return null;
  return (
    <section class="finding odd">
      <p class="says"><Icon look={without.state === "failed" ? "bad" : "odd"} /><span>{without.cause}</span></p>
      <p class="from"><a href={`/job/${without.id}`}>{without.name}</a></p>
    </section>
  );
}
