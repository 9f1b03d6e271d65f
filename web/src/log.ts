// A log of any size as lines: the bytes as they came, and where each line
// begins. Only lines that are shown are ever made into text.
import { signal } from "@preact/signals";

const CUT = 4000; // bytes of a line that are shown
const AGAIN = 1500; // ms until a cut stream is taken up again
const HIDDEN = 15000; // ms that a page may be hidden before its stream is let go

// What terminals are told: colours, moves, titles.
const escapes = /\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])/g;

export class Log {
  /** Grows with each piece that came, at most once a frame. */
  readonly version = signal(0);
  /** All of it is here. */
  readonly complete = signal(false);
  /** Why there is nothing, or nothing more. */
  readonly trouble = signal("");
  /** The job and attempt that the service says it is of. */
  readonly of = signal({ job: 0, attempt: 0 });
  /** Bytes of the longest line. */
  longest = 0;

  private data = new Uint8Array(1 << 16);
  private size = 0;
  private starts = new Float64Array(1 << 10);
  private count = 0; // lines that have begun
  private decoder = new TextDecoder();
  private frame = 0;
  private stop = new AbortController();
  private closed = false;
  private timer = 0;

  constructor(private path: string, private follow: boolean) {
    document.addEventListener("visibilitychange", this.looked);
    void this.run();
  }

  close() {
    this.closed = true;
    clearTimeout(this.timer);
    this.stop.abort();
    document.removeEventListener("visibilitychange", this.looked);
  }

  /** Lines, the last unfinished one included. */
  get lines(): number {
    return this.count > 0 && this.starts[this.count - 1] === this.size ? this.count - 1 : this.count;
  }

  get bytes(): number { return this.size; }

  /** The text of a line, from 1. */
  line(n: number): string {
    const from = this.starts[n - 1]!;
    let to = n < this.count ? this.starts[n]! - 1 : this.size;
    const more = to - from - CUT;
    if (more > 0) to = from + CUT;
    let text = this.decoder.decode(this.data.subarray(from, to)).replace(escapes, "");
    if (text.endsWith("\r")) text = text.slice(0, -1);
    const turn = text.lastIndexOf("\r"); // progress that overwrote itself
    if (turn >= 0) text = text.slice(turn + 1);
    return more > 0 ? `${text} … ${more} more bytes` : text;
  }

  /** The next line with the word in it, after or before a line; 0: none. */
  find(word: string, from: number, step: 1 | -1): number {
    const all = this.lines, small = word.toLowerCase();
    for (let i = 0, n = from; i < all; i++) {
      n = ((n - 1 + step + all) % all) + 1;
      if (this.line(n).toLowerCase().includes(small)) return n;
    }
    return 0;
  }

  private looked = () => {
    clearTimeout(this.timer);
    if (document.hidden) this.timer = setTimeout(() => this.stop.abort(), HIDDEN);
    else if (this.stop.signal.aborted && !this.closed && !this.complete.peek()) void this.run();
  };

  private async run(): Promise<void> {
    this.stop = new AbortController();
    const { signal: stopped } = this.stop;
    try {
      const answer = await fetch(`${this.path}${this.path.includes("?") ? "&" : "?"}offset=${this.size}&follow=${this.follow}`, { signal: stopped });
      if (!answer.ok || !answer.body) {
        this.trouble.value = await reason(answer);
        return;
      }
      this.trouble.value = "";
      this.of.value = { job: Number(answer.headers.get("Sluice-Job")), attempt: Number(answer.headers.get("Sluice-Attempt")) };
      const reader = answer.body.getReader();
      for (;;) {
        const { done, value } = await reader.read();
        if (done) break;
        this.append(value);
      }
      this.complete.value = true;
      this.show();
    } catch {
      if (stopped.aborted) return;
      this.trouble.value = "The log was cut off; it is taken up again.";
      this.timer = setTimeout(() => void this.run(), AGAIN);
    }
  }

  private append(piece: Uint8Array) {
    if (this.size + piece.length > this.data.length) {
      const larger = new Uint8Array(Math.max(this.data.length * 2, this.size + piece.length));
      larger.set(this.data.subarray(0, this.size));
      this.data = larger;
    }
    this.data.set(piece, this.size);
    if (this.count === 0) this.begin(0);
    const base = this.size;
    for (let at = piece.indexOf(10); at >= 0; at = piece.indexOf(10, at + 1)) this.begin(base + at + 1);
    this.size += piece.length;
    this.longest = Math.max(this.longest, this.size - this.starts[this.count - 1]!);
    this.show();
  }

  private begin(at: number) {
    if (this.count > 0) this.longest = Math.max(this.longest, at - this.starts[this.count - 1]!);
    if (this.count === this.starts.length) {
      const larger = new Float64Array(this.count * 2);
      larger.set(this.starts);
      this.starts = larger;
    }
    this.starts[this.count++] = at;
  }

  private show() {
    this.frame ||= requestAnimationFrame(() => {
      this.frame = 0;
      this.version.value++;
    });
  }
}

async function reason(answer: Response): Promise<string> {
  try {
    const p = await answer.json();
    return p.detail || p.title;
  } catch {
    return `The service answered ${answer.status}.`;
  }
}
