// The answers of api/openapi.yaml, as far as the page reads them.

export type Time = string; // RFC 3339, UTC
export interface Note { who: string; why: string; at: Time }
export interface Problem { status: number; title: string; detail?: string }

export interface Status {
  version: string; now: Time; queues: QueueSummary[]; workers: Worker[]; streams: Stream[];
  jobs: { waiting: number; queued: number; running: number; checks: number };
}
export interface Worker {
  name: string; labels: string[]; architectures: string[]; version: string; seen_at: Time; running: number;
}
export interface Stream { gerrit: string; url: string; connected: boolean; since?: Time; error: string }

export interface QueueSummary {
  name: string; items: number; active: number; window: number; lanes?: Lane[]; paused?: Note; last?: Estimate;
}
export interface Lane { id: number; name: string; items: number; active: number; window: number }
export interface Estimate { at: Time; from: Time; to: Time; chance: number }
export interface Queue {
  name: string; kind: "dependent" | "independent"; window: number; lanes?: Lane[]; paused?: Note; items: Item[];
}
export type PlaceState =
  | "waiting" | "merging" | "testing" | "passed" | "failing" | "conflict" | "error" | "red" | "held" | "submitting" | "verifying";
export interface Item {
  id: number; place: number; state: PlaceState; word: string; active: boolean; restricted: boolean; changes: ChangeRef[];
  behind: number[]; lane?: number; done: number; total: number; entered_at: Time; buildset?: BuildsetSummary; reason?: Reason;
  estimate?: Estimate;
}
export interface ChangeRef {
  id: string; gerrit: string; number: number; patch_set: number; revision: string; project: string; branch: string;
  subject: string; owner: string; url: string;
}
export interface ChangeSummary extends ChangeRef {
  status: "open" | "merged" | "abandoned" | "gone"; topic: string; queue: string; checked: boolean; updated_at: Time;
  check?: Outcome; gate?: Outcome;
}
export interface Outcome {
  item: number; buildset?: number; present: boolean; result: string; reason: string; entered_at: Time; left_at?: Time;
}
export interface Change {
  change: ChangeSummary; message: string; author: string; ready: boolean; not_ready: string[]; needs: Need[];
  why: PipelineReason[]; history: ItemHistory[]; commands: Command[];
}
export interface Need { kind: "parent" | "depends-on"; id: string; text: string; change?: ChangeRef }
export interface ItemHistory {
  item: number; queue: string; pipeline: Pipeline; changes: ChangeRef[]; result: string; reason: string;
  entered_at: Time; left_at?: Time; buildsets: BuildsetSummary[];
}
export type Pipeline = "check" | "gate";
export interface Command {
  id: number; queue: string; verb: string; who: string; why: string; at: Time; answer: string; done: boolean;
}
export interface PipelineReason { pipeline: Pipeline; queue: string; reason: Reason; estimate?: Estimate }
export interface Reason { text: string; who: string; change: string; job: string; next: string; children: Reason[] }

export interface BuildsetSummary {
  id: number; number: number; state: "preparing" | "testing" | "ended" | "conflict" | "broken" | "cancelled"; broken: string;
  conflict?: Conflict; finding?: Finding; findings: Finding[]; jobs: JobSummary[]; created_at: Time; ended_at?: Time;
  landed_at?: Time; published_at?: Time;
}
export interface Conflict { files: string[]; with: string; text: string }
export interface Finding {
  severity: "error" | "warning" | "info"; file: string; line: number; message: string; log_line: number;
  excerpt: string[]; rule: string; text: string;
}
export type Stage = "root" | "build" | "lint" | "publish" | "install" | "upgrade" | "systest";
export type JobState =
  | "waiting" | "queued" | "running" | "passed" | "failed" | "error" | "cancelled" | "not_applicable";
export interface JobSummary {
  id: number; name: string; stage: Stage; package: string; target: string; architecture: string; voting: boolean;
  state: JobState; word: string; reused: boolean; attempt: number; took?: number; waits_for: string; cause: string;
  finding?: Finding; started_at?: Time; ended_at?: Time; without?: string; evidence_job?: number;
}
export interface Buildset {
  buildset: BuildsetSummary; queue: string; pipeline: Pipeline; item: number; changes: ChangeRef[]; stack: ChangeRef[];
  branches: { project: string; branch: string; tip: string; commit: string; tree: string }[];
  publications: { repository: string; publication: number; address: string }[];
  ahead: number[]; packages: Subject[]; repositories: TestRepository[];
}
export interface Subject {
  package: string; project: string; target: string; format: Format; version: string; binaries: string[];
}
export type Format = "deb" | "rpm";
export interface Sources { file: string; text: string }
export interface TestRepository { target: string; address: string; sources: Sources; created_at: Time }

export interface Job {
  job: JobSummary; buildset?: number; queue?: string; changes: ChangeRef[]; static_key: string; reused_from?: number;
  labels: string[]; attempts: Attempt[]; needs: NeededJob[]; findings: Finding[]; artifacts: Artifact[]; steps: Step[];
  trace: { served: Served[]; asked: string[] }; inputs: Inputs; created_at: Time;
}
export interface Attempt {
  number: number; worker: string; state: "running" | "finished" | "lost" | "cancelled"; outcome?: string; cause: string;
  log_size: number; claimed_at: Time; ended_at?: Time;
}
export interface NeededJob { id: number; name: string; stage: Stage; state: JobState; ahead: boolean; buildset?: number }
export interface Artifact {
  name: string; kind: "package" | "source" | "report" | "root" | "log"; size: number; sha256: string; address: string;
  version?: string; architecture?: string;
}
export interface Step { name: string; log_line: number; took: number }
export interface Served { name: string; version: string; sha256: string; repository: string }
export interface Inputs {
  project?: string; tree?: string; version?: string; root?: string; scenario?: string; timeout?: number;
  repositories: { kind: string; name: string; address: string }[]; packages: string[];
}

export interface RepositorySummary {
  name: string; release: string; dist: string; target: string; channel: string; format: Format; address: string;
  packages: number; publication?: Publication;
}
export interface Publication {
  id: number; serial: number; packages: number; who: string; why: string; at: Time; current: boolean; address: string;
}
export interface Repository {
  repository: RepositorySummary; sources: Sources; publications: Publication[]; packages: Package[];
}
export interface Package {
  name: string; version: string; architecture: string; source: string; source_version: string; kind: "package" | "source";
  size: number; file: string; sha256: string; address: string; buildset: number; serial: number;
}
