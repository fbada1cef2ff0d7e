/* What the viewer knows of a log of any length: how many records there are, which groups are folded, and the records of a
   few blocks around the view. Pure; tested without a browser.

   Three ways to count. A record's **number** is its place in the log, from 1. Its **rank** is its place among the records
   that levels and sources leave, from 0: what the server is asked for. Its **place** is its rank less what lies in folded
   groups: what scrolls. A record may have several **rows** (lines); those of records that are not here count as one. */
import type { LogEvent } from "./expand";
import { record, shownParts, type Rec } from "./records";

export const BLOCK = 200;
/** Blocks of records that are kept; the one furthest from the view goes first. */
export const KEEP = 20;

/** Of the server: number of the head, its rank (-1: hidden), rank of what comes after it (null: open), 1 if it holds an error. */
export type GroupInfo = [n: number, rank: number, until: number | null, bad: number];
export interface About {
  records: number; size: number; complete: boolean; shown: number;
  levels: Record<string, number>; sources: Record<string, number>; groups: GroupInfo[]; first_error: [number, number] | null;
}
export interface Window { at: number; numbers: number[]; lines: LogEvent[]; shown: number; records: number; complete: boolean }
export interface Hidden { levels: ReadonlySet<string>; sources: ReadonlySet<string> }
interface Group { n: number; rank: number; until: number; open: boolean; bad: boolean }

export class Store {
  records = 0;
  /** Bytes of the log that `records` stand for; the tail goes on there. */
  size = 0;
  complete = false;
  /** Records of the view. */
  shown = 0;
  levels: Record<string, number> = {};
  sources: Record<string, number> = {};
  hidden: Hidden = { levels: new Set(), sources: new Set() };
  #groups: Group[] = [];
  #byHead = new Map<number, Group>();
  #stack: Group[] = [];
  #blocks = new Map<number, (Rec | undefined)[]>();
  /** What a person opened or shut: groups by the number of their head. */
  #touched = new Map<number, boolean>();
  #traces = new Set<number>();
  #measured = new Map<number, number>();
  #folds: { from: number; to: number; before: number }[] | null = null;
  #tall: { place: number; extra: number; before: number }[] | null = null;

  /** Everything afresh, for these hidden levels and sources. What was opened stays open. */
  reset(about: About, hidden: Hidden = this.hidden): void {
    Object.assign(this, { records: about.records, size: about.size, complete: about.complete, shown: about.shown, levels: { ...about.levels }, sources: { ...about.sources }, hidden });
    this.#groups = about.groups.map(([n, rank, until, bad]) => ({ n, rank, until: until ?? Infinity, bad: bad === 1, open: this.#touched.get(n) ?? (until === null || bad === 1) }));
    this.#byHead = new Map(this.#groups.map((g) => [g.n, g]));
    this.#stack = this.#groups.filter((g) => g.until === Infinity);
    this.#blocks.clear();
    this.#measured.clear();
    this.#changed();
  }

  #changed(folds = true): void {
    if (folds) this.#folds = null;
    this.#tall = null;
  }

  shows(rec: Rec): boolean {
    return !this.hidden.levels.has(rec.level) && !this.hidden.sources.has(rec.source);
  }

  /* ---- records come ---- */
  /** Records that were just written, after all that are known. */
  append(events: LogEvent[], size: number, complete: boolean): void {
    for (const event of events) this.#one(record(event, ++this.records));
    Object.assign(this, { size, complete });
    this.#changed(this.#stack.some((g) => !g.open));
  }

  #one(rec: Rec): void {
    this.levels[rec.level] = (this.levels[rec.level] ?? 0) + 1;
    this.sources[rec.source] = (this.sources[rec.source] ?? 0) + 1;
    if (rec.level === "error") for (const g of this.#stack) g.bad = true;
    const kind = rec.parts[0]![1];
    if (kind === "end") return this.#endGroup();
    const shows = this.shows(rec);
    if (kind === "group") this.#newGroup(rec.n, shows ? this.shown : -1);
    if (!shows) return;
    const k = this.shown % BLOCK;
    const b = (this.shown - k) / BLOCK;
    let block = this.#blocks.get(b);
    if (!block && k === 0) this.#blocks.set(b, (block = []));
    if (block) block[k] = rec;
    this.shown++;
  }

  #newGroup(n: number, rank: number): void {
    const group = { n, rank, until: Infinity, open: this.#touched.get(n) ?? true, bad: false };
    this.#groups.push(group);
    this.#byHead.set(n, group);
    this.#stack.push(group);
  }

  /** A finished group folds, unless it holds an error or a person opened it. */
  #endGroup(): void {
    const group = this.#stack.pop();
    if (!group) return;
    group.until = this.shown;
    group.open = this.#touched.get(group.n) ?? group.bad;
    this.#changed();
  }

  /** Records of the view that were asked for. */
  put(part: Window): void {
    part.lines.forEach((event, k) => {
      const rank = part.at + k;
      const b = Math.floor(rank / BLOCK);
      let block = this.#blocks.get(b);
      if (!block) this.#blocks.set(b, (block = []));
      block[rank % BLOCK] ??= record(event, part.numbers[k]!);
    });
    this.#tall = null;
  }

  /** Forget the blocks that are furthest from a rank. */
  evict(rank: number): void {
    if (this.#blocks.size <= KEEP) return;
    const far = [...this.#blocks.keys()].sort((a, b) => Math.abs(b * BLOCK + BLOCK / 2 - rank) - Math.abs(a * BLOCK + BLOCK / 2 - rank));
    for (const b of far.slice(0, far.length - KEEP)) {
      for (const rec of this.#blocks.get(b)!) if (rec) this.#measured.delete(rec.n);
      this.#blocks.delete(b);
    }
    this.#tall = null;
  }

  /** Records that are in memory. */
  get kept(): number {
    let n = 0;
    for (const block of this.#blocks.values()) for (const rec of block) if (rec) n++;
    return n;
  }

  at(rank: number): Rec | undefined {
    return this.#blocks.get(Math.floor(rank / BLOCK))?.[rank % BLOCK];
  }

  /** First ranks of what must be asked for to show these places. */
  missing(from: number, to: number): number[] {
    const ranks = new Map<number, number>();
    for (let place = Math.max(0, from); place < to && place < this.places; place++) {
      const rank = this.rank(place);
      const b = Math.floor(rank / BLOCK);
      if (!this.at(rank) && !ranks.has(b)) ranks.set(b, this.#blocks.has(b) ? rank : b * BLOCK);
    }
    return [...ranks.values()];
  }

  /* ---- folding ---- */
  #foldsNow(): { from: number; to: number; before: number }[] {
    if (this.#folds) return this.#folds;
    const made: { from: number; to: number; before: number }[] = [];
    let before = 0;
    let end = 0;
    for (const g of this.#groups) {
      const to = Math.min(g.until, this.shown);
      if (g.open || g.rank < end || to <= g.rank + 1) continue; // inside of a folded one, or nothing in it
      made.push({ from: g.rank + 1, to, before });
      before += to - g.rank - 1;
      end = to;
    }
    return (this.#folds = made);
  }

  #foldBefore(test: (f: { from: number; to: number; before: number }) => boolean): { from: number; to: number; before: number } | undefined {
    const folds = this.#foldsNow();
    let low = 0;
    let high = folds.length;
    while (low < high) {
      const mid = (low + high) >> 1;
      if (test(folds[mid]!)) low = mid + 1;
      else high = mid;
    }
    return folds[low - 1];
  }

  /** Records that scroll. */
  get places(): number {
    const last = this.#foldsNow().at(-1);
    return this.shown - (last ? last.before + last.to - last.from : 0);
  }

  rank(place: number): number {
    const fold = this.#foldBefore((f) => f.from - f.before <= place);
    return fold ? place + fold.before + fold.to - fold.from : place;
  }

  /** Place of a rank; of the head of its group when it is folded away. */
  place(rank: number): number {
    const fold = this.#foldBefore((f) => f.from <= rank);
    if (!fold) return rank;
    return rank < fold.to ? fold.from - fold.before - 1 : rank - fold.before - (fold.to - fold.from);
  }

  /** Whether the group of this head is open; null when that record heads none. */
  isOpen(n: number): boolean | null {
    return this.#byHead.get(n)?.open ?? null;
  }

  toggle(n: number): void {
    const group = this.#byHead.get(n);
    if (!group) return;
    group.open = !group.open;
    this.#touched.set(n, group.open);
    this.#changed();
  }

  /** Open every group around a rank. */
  reveal(rank: number): void {
    for (const g of this.#groups) {
      if (g.rank < 0 || g.rank >= rank || g.until <= rank || g.open) continue;
      g.open = true;
      this.#touched.set(g.n, true);
    }
    this.#changed();
  }

  traceOpen(n: number): boolean {
    return this.#traces.has(n);
  }

  toggleTrace(n: number): void {
    if (!this.#traces.delete(n)) this.#traces.add(n);
    this.#measured.delete(n);
    this.#tall = null;
  }

  /* ---- rows ---- */
  /** How many rows a record took when it was drawn with wrapped lines. True when that is news. */
  measure(n: number, rows: number): boolean {
    if (this.#measured.get(n) === rows) return false;
    this.#measured.set(n, rows);
    this.#tall = null;
    return true;
  }

  unmeasure(): void {
    this.#measured.clear();
    this.#tall = null;
  }

  rowsOf(rec: Rec): number {
    const measured = this.#measured.get(rec.n);
    return measured ?? (rec.parts.length === 1 ? 1 : shownParts(rec, this.#traces.has(rec.n)).length);
  }

  #tallNow(): { place: number; extra: number; before: number }[] {
    if (this.#tall) return this.#tall;
    const made: { place: number; extra: number; before: number }[] = [];
    let before = 0;
    for (const b of [...this.#blocks.keys()].sort((x, y) => x - y))
      this.#blocks.get(b)!.forEach((rec, k) => {
        const extra = rec ? this.rowsOf(rec) - 1 : 0;
        const rank = b * BLOCK + k;
        if (extra < 1 || this.rank(this.place(rank)) !== rank) return;
        made.push({ place: this.place(rank), extra, before });
        before += extra;
      });
    return (this.#tall = made);
  }

  get rows(): number {
    const last = this.#tallNow().at(-1);
    return this.places + (last ? last.before + last.extra : 0);
  }

  /** The first row of a place. */
  row(place: number): number {
    let extra = 0;
    for (const t of this.#tallNow()) {
      if (t.place >= place) break;
      extra = t.before + t.extra;
    }
    return place + extra;
  }

  /** The place that a row belongs to, and which of its rows it is. */
  placeAt(row: number): { place: number; sub: number } {
    let extra = 0;
    for (const t of this.#tallNow()) {
      const first = t.place + t.before;
      if (row < first) break;
      if (row <= first + t.extra) return { place: t.place, sub: row - first };
      extra = t.before + t.extra;
    }
    return { place: row - extra, sub: 0 };
  }
}
