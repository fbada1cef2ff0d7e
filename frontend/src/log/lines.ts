/* The log as lines: one per event (or per line of an event), with level and time; which of them show; where hits are. */
import { stripped } from "./ansi";

export interface Line { n: number; time: string; level: string; text: string; first: boolean }

export const LEVELS = ["debug", "info", "warning", "error"] as const;
const SAME: Record<string, string> = { critical: "error", fatal: "error", exception: "error", warn: "warning", trace: "debug", notset: "debug" };

export class Lines {
  all: Line[] = [];
  shown: number[] = [];
  counts: Record<string, number> = { debug: 0, info: 0, warning: 0, error: 0 };
  hidden = new Set<string>();

  /** Add events of the log store; the number of new lines that show. */
  add(events: Record<string, unknown>[]): number {
    const before = this.shown.length;
    for (const event of events) {
      const raw = String(event.level ?? "info").toLowerCase();
      const level = SAME[raw] ?? (raw in this.counts ? raw : "info");
      const detail = typeof event.error_detail === "string" ? `\n${event.error_detail}` : "";
      `${String(event.event ?? "")}${detail}`.split("\n").forEach((text, k) => {
        const n = this.all.length + 1;
        this.all.push({ n, time: k ? "" : String(event.t ?? ""), level, text, first: k === 0 });
        if (k === 0) this.counts[level]!++;
        if (!this.hidden.has(level)) this.shown.push(n - 1);
      });
    }
    return this.shown.length - before;
  }

  filter(hidden: Set<string>): void {
    this.hidden = hidden;
    this.shown = this.all.flatMap((line, k) => (hidden.has(line.level) ? [] : [k]));
  }

  /** Positions (in what is shown) of lines that contain the text, whatever its case. */
  search(text: string): number[] {
    const q = text.toLowerCase();
    return q ? this.shown.flatMap((k, at) => (stripped(this.all[k]!.text).toLowerCase().includes(q) ? [at] : [])) : [];
  }

  /** Position of line n (numbered from 1) or the next one that shows. */
  position(n: number): number {
    let low = 0;
    let high = this.shown.length;
    while (low < high) {
      const mid = (low + high) >> 1;
      if (this.shown[mid]! < n - 1) low = mid + 1;
      else high = mid;
    }
    return low;
  }

  /** Next position after `from` where a block of errors begins; -1 when there is none. */
  nextError(from: number): number {
    const isError = (at: number): boolean => this.all[this.shown[at] ?? -1]?.level === "error";
    for (let at = from + 1; at < this.shown.length; at++) if (isError(at) && !isError(at - 1)) return at;
    for (let at = 0; at <= Math.min(from, this.shown.length - 1); at++) if (isError(at) && !isError(at - 1)) return at;
    return -1;
  }
}
