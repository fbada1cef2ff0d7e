/* What the grid knows: rows (tasks and groups), runs (columns), one byte per cell. Pure; tested without a browser.

   Live events change single cells. A cell of a mapped task stands for many instances, which the grid does not hold:
   then the model names the run and the island asks for that column again. */
import type { LiveEvent } from "../lib/live";
import { EMPTY, STATES, codeOf, codeOfLetter, worse } from "../lib/states";

export interface GridData {
  cursor: string;
  dag: string;
  version: number | null;
  rows: { id: string[]; label: string[]; depth: number[]; parent: number[]; group: number[]; mapped: number[]; gone: number };
  runs: { pk: number[]; id: string[]; type: string[]; state: string[]; at: number[]; logical: (number | null)[]; start: (number | null)[]; end: (number | null)[]; version: (number | null)[]; reason: (string | null)[] };
  cells: string[];
  mapped: Record<string, Record<string, Record<string, number>>>;
}

export interface Row { id: string; label: string; depth: number; parent: number; group: boolean; mapped: boolean; size: number }
export interface Run { pk: number; id: string; type: string; state: string; at: number; start: number | null; end: number | null; version: number | null; reason: string | null }

/** What an event changed: cells (row, column) to repaint, runs whose column must be asked for again. */
export interface Change { cells: [number, number][]; columns: Set<number>; runs: boolean; unknown: Set<number> }

export class Model {
  rows: Row[] = [];
  runs: Run[] = [];
  cells = new Uint8Array(0);
  counts = new Map<string, Record<string, number>>();
  #rowOf = new Map<string, number>();
  #columnOf = new Map<number, number>();
  #told = new Float64Array(0);
  #runTold = new Map<number, number>();
  #kids: number[][] = [];

  get width(): number {
    return this.runs.length;
  }

  load(data: GridData): void {
    const { rows, runs } = data;
    this.rows = rows.id.map((id, k) => ({ id, label: rows.label[k]!, depth: rows.depth[k]!, parent: rows.parent[k]!, group: rows.group[k] === 1, mapped: rows.mapped[k] === 1, size: 0 }));
    this.runs = runs.pk.map((pk, k) => ({ pk, id: runs.id[k]!, type: runs.type[k]!, state: runs.state[k]!, at: runs.at[k]!, start: runs.start[k] ?? null, end: runs.end[k] ?? null, version: runs.version[k] ?? null, reason: runs.reason[k] ?? null }));
    this.#rowOf = new Map(this.rows.map((r, k) => [r.id, k]));
    this.#columnOf = new Map(this.runs.map((r, k) => [r.pk, k]));
    this.cells = new Uint8Array(this.rows.length * this.width).fill(EMPTY);
    this.#told = new Float64Array(this.cells.length);
    this.#runTold.clear();
    data.cells.forEach((column, r) => this.#fill(column, r));
    this.counts.clear();
    for (const [t, columns] of Object.entries(data.mapped)) for (const [r, by] of Object.entries(columns)) this.counts.set(`${t}:${r}`, by);
    this.#kids = this.rows.map(() => []);
    this.rows.forEach((row, k) => row.parent >= 0 && this.#kids[row.parent]!.push(k));
    for (let k = this.rows.length - 1; k >= 0; k--) {
      const row = this.rows[k]!;
      if (!row.group) row.size = 1;
      if (row.parent >= 0) this.rows[row.parent]!.size += row.size;
      if (row.group) for (let r = 0; r < this.width; r++) this.#sum(k, r);
    }
  }

  /** A run's column: a letter per row from the top, repeats as a number behind the letter. */
  #fill(column: string, r: number): void {
    let t = 0;
    for (let k = 0; k < column.length;) {
      const code = codeOfLetter(column.charCodeAt(k++));
      let times = 0;
      for (let digit; (digit = column.charCodeAt(k) - 48) >= 0 && digit < 10; k++) times = times * 10 + digit;
      for (times ||= 1; times > 0; times--) this.cells[t++ * this.width + r] = code;
    }
  }

  at(t: number, r: number): number {
    return r < this.width ? (this.cells[t * this.width + r] ?? EMPTY) : EMPTY;
  }

  state(t: number, r: number): string | null {
    const code = this.at(t, r);
    return code === EMPTY ? null : (STATES[code] ?? null);
  }

  column(pk: number): number {
    return this.#columnOf.get(pk) ?? -1;
  }

  row(id: string): number {
    return this.#rowOf.get(id) ?? -1;
  }

  /** A group's cell is the worst of its children. */
  #sum(group: number, r: number): void {
    let code = EMPTY;
    for (const kid of this.#kids[group]!) code = code === EMPTY ? this.at(kid, r) : worse(code, this.at(kid, r));
    this.cells[group * this.width + r] = code;
  }

  /** Everything that live changes may touch, as text: equal to that of a page loaded now, or the page is wrong. */
  said(): string {
    const counts = [...this.counts].map(([at, by]) => [at, Object.entries(by).sort()] as const).sort(([a], [b]) => a.localeCompare(b));
    return JSON.stringify({ rows: this.rows.map((r) => r.id), runs: this.runs.map((r) => [r.pk, r.state]), cells: [...this.cells], counts });
  }

  apply(events: LiveEvent[]): Change {
    const change: Change = { cells: [], columns: new Set(), runs: false, unknown: new Set() };
    for (const event of events) this.#one(event, change);
    return change;
  }

  #one([, id, kind, verb, , runPk, , state, tis, at]: LiveEvent, change: Change): void {
    if (runPk == null) return;
    const r = this.column(runPk);
    if (r < 0) {
      if (kind === "run") change.unknown.add(runPk);
      return;
    }
    if (kind === "run" && state) {
      if (id < (this.#runTold.get(runPk) ?? 0)) return;
      this.#runTold.set(runPk, id);
      this.#moveRun(this.runs[r]!, state, verb, at);
      change.runs = true;
    } else if (kind === "task" && state && Array.isArray(tis)) {
      for (const [, task, index] of tis) {
        const t = this.row(task);
        if (t < 0 || index >= 0 || this.rows[t]!.mapped) change.columns.add(runPk);
        else if (id >= this.#told[t * this.width + r]!) this.#set(t, r, codeOf(state), id, change);
      }
    } else change.columns.add(runPk);
  }

  #moveRun(run: Run, state: string, verb: string, at: number): void {
    run.state = state;
    run.reason = null;
    if (verb === "begin") run.start ??= at;
    if (state === "success" || state === "failed") run.end = at;
    else run.end = null;
    if (verb === "requeue") run.start = null;
  }

  #set(t: number, r: number, code: number, id: number, change: Change): void {
    this.#told[t * this.width + r] = id;
    this.cells[t * this.width + r] = code;
    change.cells.push([t, r]);
    for (let p = this.rows[t]!.parent; p >= 0; p = this.rows[p]!.parent) {
      this.#sum(p, r);
      change.cells.push([p, r]);
    }
  }

  /** Columns that were asked for again. False when rows or columns differ: then everything must be loaded. */
  merge(data: GridData): boolean {
    if (data.rows.id.length !== this.rows.length || data.rows.id.some((id, k) => id !== this.rows[k]!.id)) return false;
    for (let c = 0; c < data.runs.pk.length; c++) {
      const r = this.column(data.runs.pk[c]!);
      if (r < 0) return false;
      Object.assign(this.runs[r]!, { state: data.runs.state[c], start: data.runs.start[c], end: data.runs.end[c], reason: data.runs.reason[c] });
      this.#fill(data.cells[c]!, r);
      for (let t = 0; t < this.rows.length; t++) {
        const by = data.mapped[t]?.[c];
        if (by) this.counts.set(`${t}:${r}`, by);
        else this.counts.delete(`${t}:${r}`);
      }
      for (let t = this.rows.length - 1; t >= 0; t--) if (this.rows[t]!.group) this.#sum(t, r);
    }
    return true;
  }
}
