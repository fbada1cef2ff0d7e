/* The log as lines: records with level, time and number, what hangs below them, folds; which of them show; where hits are. */
import { stripped } from "./ansi";
import { expand, type Kind, type LogEvent } from "./expand";

export interface Line {
  /** Number of the record in the log; what hangs below its first line repeats it. */
  n: number;
  time: string;
  level: string;
  text: string;
  kind: Kind;
  /** The fold that this line heads, or -1. */
  heads: number;
  /** The innermost fold that this line is in, or -1. */
  inside: number;
  /** A record with an exception: "next error" stops here even among other errors. */
  stop: boolean;
}

export interface Fold { parent: number; open: boolean; bad: boolean; touched: boolean }

export const LEVELS = ["debug", "info", "warning", "error"] as const;
const SAME: Record<string, string> = { critical: "error", fatal: "error", exception: "error", warn: "warning", trace: "debug", notset: "debug" };
const NONE: ReadonlySet<string> = new Set();

export class Lines {
  all: Line[] = [];
  folds: Fold[] = [];
  shown: number[] = [];
  counts: Record<string, number> = { debug: 0, info: 0, warning: 0, error: 0 };
  hidden: ReadonlySet<string> = NONE;
  records = 0;
  #group = -1;

  /** Add records of the log store; they show at once unless a level or a fold hides them. */
  add(events: LogEvent[]): void {
    let closed = false;
    for (const event of events) {
      const raw = String(event.level ?? "info").toLowerCase();
      const level = SAME[raw] ?? (raw in this.counts ? raw : "info");
      const n = ++this.records;
      this.counts[level]!++;
      let whole = -1;
      for (const [text, kind] of expand(event)) {
        const fold = kind === "group" ? this.#open(true) : kind === "fold" ? this.#open(false) : -1;
        const inside = kind === "tb" ? whole : kind === "end" ? this.#group : fold >= 0 ? this.folds[fold]!.parent : this.#group;
        const first = kind === "" || kind === "group";
        this.#put({ n, time: first ? String(event.t ?? "") : "", level, text, kind, heads: fold, inside, stop: first && event.error_detail != null });
        if (kind === "fold") whole = fold;
        if (kind === "group") this.#group = fold;
        if (kind === "end") closed = this.#endGroup() || closed;
      }
      if (level === "error") this.#unfoldGroups();
    }
    if (closed) this.filter(this.hidden);
  }

  #open(open: boolean): number {
    return this.folds.push({ parent: this.#group, open, bad: false, touched: false }) - 1;
  }

  /** A finished group folds, unless it holds an error or a person opened it. True when lines went away. */
  #endGroup(): boolean {
    const fold = this.folds[this.#group];
    if (!fold) return false;
    this.#group = fold.parent;
    if (fold.bad || fold.touched) return false;
    fold.open = false;
    return true;
  }

  #unfoldGroups(): void {
    for (let k = this.#group; k >= 0; k = this.folds[k]!.parent) this.folds[k]!.bad = true;
  }

  #put(line: Line): void {
    this.all.push(line);
    if (this.#visible(line)) this.shown.push(this.all.length - 1);
  }

  #visible(line: Line): boolean {
    if (line.kind === "end" || this.hidden.has(line.level)) return false;
    for (let k = line.inside; k >= 0; k = this.folds[k]!.parent) if (!this.folds[k]!.open) return false;
    return true;
  }

  filter(hidden: ReadonlySet<string>): void {
    this.hidden = hidden;
    this.shown = this.all.flatMap((line, k) => (this.#visible(line) ? [k] : []));
  }

  toggle(fold: number): void {
    const it = this.folds[fold];
    if (!it) return;
    it.open = !it.open;
    it.touched = true;
    this.filter(this.hidden);
  }

  /** Open what hides line `k` of all; its position among what shows (of the next one when its level is hidden). */
  reveal(k: number): number {
    let changed = false;
    for (let f = this.all[k]?.inside ?? -1; f >= 0; f = this.folds[f]!.parent) {
      changed ||= !this.folds[f]!.open;
      Object.assign(this.folds[f]!, { open: true, touched: true });
    }
    if (changed) this.filter(this.hidden);
    return this.place(k);
  }

  /** Position of line `k` of all, or of the next one that shows. */
  place(k: number): number {
    return this.#after((shown) => shown < k);
  }

  /** Lines of all (folded ones too) that contain the text, whatever its case. */
  search(text: string): number[] {
    const q = text.toLowerCase();
    return q ? this.all.flatMap((line, k) => (!this.hidden.has(line.level) && line.kind !== "fold" && stripped(line.text).toLowerCase().includes(q) ? [k] : [])) : [];
  }

  /** Position of record n or of the next line that shows. */
  position(n: number): number {
    return this.#after((shown) => this.all[shown]!.n < n);
  }

  #after(before: (shown: number) => boolean): number {
    let low = 0;
    let high = this.shown.length;
    while (low < high) {
      const mid = (low + high) >> 1;
      if (before(this.shown[mid]!)) low = mid + 1;
      else high = mid;
    }
    return low;
  }

  /** Next position after `from` where a block of errors begins or an exception is told; -1 when there is none. */
  nextError(from: number): number {
    const at = (k: number): Line | undefined => this.all[this.shown[k] ?? -1];
    const begins = (k: number): boolean => at(k)?.level === "error" && (at(k)!.stop || at(k - 1)?.level !== "error");
    for (let k = from + 1; k < this.shown.length; k++) if (begins(k)) return k;
    for (let k = 0; k <= Math.min(from, this.shown.length - 1); k++) if (begins(k)) return k;
    return -1;
  }
}
