/* What the viewer asks the server: what a log holds, windows of it, searches. One object per try and view. */
import { getJson } from "../lib/dom";
import { LEVELS, SOURCES } from "./records";
import { BLOCK, type About, type Hidden, type Window } from "./store";

export interface Found { hits: [n: number, rank: number][]; next: number | null; scanned: number; records: number }

/** The part of an address that says which levels and sources show; empty when all do. */
export function filters(hidden: Hidden): string {
  const of = (name: string, all: readonly string[], off: ReadonlySet<string>): string => {
    if (!off.size) return "";
    const left = all.filter((x) => !off.has(x));
    return (left.length ? left : ["-"]).map((x) => `&${name}=${x}`).join("");
  };
  return of("level", LEVELS, hidden.levels) + of("source", SOURCES, hidden.sources);
}

export class Source {
  constructor(private base: string) {}

  about(hidden: Hidden): Promise<About> {
    return getJson<About>(`${this.base}?${filters(hidden).slice(1)}`);
  }

  /** Records of a view from a rank to the end of its block. */
  block(rank: number, hidden: Hidden): Promise<Window> {
    return getJson<Window>(`${this.base}/lines?at=${rank}&count=${BLOCK - (rank % BLOCK)}${filters(hidden)}`);
  }

  /** Records of a view from a number on, or from the next one that shows. */
  line(n: number, hidden: Hidden): Promise<Window> {
    return getJson<Window>(`${this.base}/lines?line=${n}&count=40${filters(hidden)}`);
  }

  find(text: string, regex: boolean, after: number, hidden: Hidden): Promise<Found> {
    return getJson<Found>(`${this.base}/search?q=${encodeURIComponent(text)}${regex ? "&regex=1" : ""}&after=${after}${filters(hidden)}`);
  }

  /** Where the next error begins after a record; around the end to the first one. */
  async error(after: number, hidden: Hidden): Promise<[number, number] | null> {
    const ask = (from: number): Promise<Found> => getJson<Found>(`${this.base}/search?errors=1&after=${from}${filters(hidden)}`);
    const found = await ask(after);
    return found.hits[0] ?? (after ? ((await ask(0)).hits[0] ?? null) : null);
  }
}
