/* Where things are: rows in view, hits, scrolling a cell into view. Pure numbers. */
import type { Row } from "./model";

export const CELL = 18;
export const ROW = 20;
export const HEAD = 84;
export const TILE = 32; // cells along one side of a cached tile

export interface View { width: number; height: number; left: number; top: number; label: number }
/** t = -1: the run itself (its bar); r = -1: the task's label. */
export interface Place { t: number; r: number }

/** Rows that show: not inside a folded group; with a query only matching tasks. */
export function visibleRows(rows: Row[], folded: Set<string>, query: string): number[] {
  if (query) {
    const q = query.toLowerCase();
    return rows.map((_, k) => k).filter((k) => !rows[k]!.group && rows[k]!.id.toLowerCase().includes(q));
  }
  const hidden = new Uint8Array(rows.length);
  const shown: number[] = [];
  rows.forEach((row, k) => {
    const p = row.parent;
    hidden[k] = p >= 0 && (hidden[p] === 1 || folded.has(rows[p]!.id)) ? 1 : 0;
    if (!hidden[k]) shown.push(k);
  });
  return shown;
}

export function labelWidth(width: number): number {
  return width < 520 ? 148 : 264;
}

/** What is under a point of the canvas. */
export function hit(view: View, x: number, y: number, rows: number[], runs: number): Place | null {
  const r = Math.floor((x - view.label - 2 + view.left) / CELL);
  const inRuns = x > view.label && r >= 0 && r < runs;
  if (y < HEAD) return inRuns ? { t: -1, r } : null;
  const k = Math.floor((y - HEAD + view.top) / ROW);
  if (k < 0 || k >= rows.length) return null;
  if (x < view.label) return { t: rows[k]!, r: -1 };
  return inRuns ? { t: rows[k]!, r } : null;
}

/** First and last (exclusive) row and column in view. */
export function span(view: View, rows: number, runs: number): { r0: number; r1: number; k0: number; k1: number } {
  return {
    r0: Math.max(0, Math.floor(view.left / CELL)),
    r1: Math.min(runs, Math.ceil((view.left + view.width - view.label) / CELL)),
    k0: Math.max(0, Math.floor(view.top / ROW)),
    k1: Math.min(rows, Math.ceil((view.top + view.height - HEAD) / ROW)),
  };
}

/** Scroll position that shows row k and column r with one neighbour. */
export function reveal(view: View, k: number, r: number): { left: number; top: number } {
  const room = { w: view.width - view.label, h: view.height - HEAD };
  let { left, top } = view;
  const y = k * ROW;
  const x = r * CELL;
  if (k >= 0 && y < top) top = y;
  else if (k >= 0 && y + ROW * 2 > top + room.h) top = y + ROW * 2 - room.h;
  if (r >= 0 && x < left) left = x;
  else if (r >= 0 && x + CELL * 2 > left + room.w) left = x + CELL * 2 - room.w;
  return { left: Math.max(0, left), top: Math.max(0, top) };
}

/** A round number of seconds for the scale of the bars: at least the longest run. */
export function scale(longest: number): number {
  const steps = [1, 2, 4, 10, 20, 60, 120, 240, 600, 1200, 2400, 3600, 7200, 14400, 36000, 86400, 172800, 604800];
  return steps.find((v) => v >= longest) ?? Math.ceil(longest / 604800) * 604800;
}
