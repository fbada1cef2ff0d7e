/* Pictures of the states, rasterised once per theme and density, and the cache of 32 × 32 cells drawn from them. */
import { sprite, token } from "../lib/dom";
import { EMPTY, STATES } from "../lib/states";
import { CELL, ROW, TILE } from "./geometry";
import type { Model } from "./model";

const HOLLOW = new Set(["none", "scheduled", "queued", "upstream_failed", "removed", "up_for_reschedule"]);
const SOFT: Record<string, [number, number]> = { success: [0.5, 1], skipped: [0.12, 0.45] };
const NAMES = ["surface", "surface-2", "surface-3", "line", "line-soft", "text", "text-2", "text-3", "accent", "accent-soft", "g-on"];
const TOKEN: Record<string, string> = { awaiting_input: "s-awaiting" };

export type Colours = Record<string, string>;

export function colours(): Colours {
  const found: Colours = {};
  for (const name of NAMES) found[name] = token(name);
  for (const state of STATES) found[state] = token(TOKEN[state] ?? `s-${state}`);
  return found;
}

let marks: Map<string, string> | null = null;

async function loadMarks(): Promise<Map<string, string>> {
  if (marks) return marks;
  const text = await fetch(sprite()).then((r) => r.text(), () => "<svg xmlns='http://www.w3.org/2000/svg'/>");
  const doc = new DOMParser().parseFromString(text, "image/svg+xml");
  marks = new Map(STATES.map((s) => [s, [...(doc.getElementById(`t-${s}`)?.childNodes ?? [])].map((n) => new XMLSerializer().serializeToString(n)).join("")]));
  return marks;
}

/** One small canvas per state. */
export async function pictures(c: Colours): Promise<HTMLCanvasElement[]> {
  const all = await loadMarks();
  return Promise.all(STATES.map((state) => picture(state, state === "success" || state === "none" ? "" : (all.get(state) ?? ""), c)));
}

function picture(state: string, mark: string, c: Colours): Promise<HTMLCanvasElement> {
  const own = c[state]!;
  const soft = SOFT[state];
  const hollow = HOLLOW.has(state);
  const dash = state === "none" || state === "removed" ? ' stroke-dasharray="2 2"' : "";
  const box = hollow
    ? `<rect x=".9" y=".9" width="14.2" height="14.2" rx="2.4" fill="${c.surface}" stroke="${own}" stroke-width="1.5"${dash}/>`
    : soft
      ? `<rect x=".6" y=".6" width="14.8" height="14.8" rx="2.4" fill="${own}" fill-opacity="${soft[0]}" stroke="${own}" stroke-opacity="${soft[1]}" stroke-width="1.2"/>`
      : `<rect width="16" height="16" rx="2.4" fill="${own}"/>`;
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = Math.round(14 * devicePixelRatio);
  const image = new Image();
  const svg = `<svg xmlns="http://www.w3.org/2000/svg" width="28" height="28" viewBox="0 0 16 16">${box}<g color="${hollow || soft ? own : c["g-on"]}">${mark}</g></svg>`;
  return new Promise((done) => {
    image.onload = () => {
      canvas.getContext("2d")?.drawImage(image, 0, 0, canvas.width, canvas.height);
      done(canvas);
    };
    image.onerror = () => done(canvas);
    image.src = `data:image/svg+xml,${encodeURIComponent(svg)}`;
  });
}

/** Blocks of cells as ready pixels: scrolling copies them, a live change redraws one block. */
export class TileCache {
  #tiles = new Map<string, HTMLCanvasElement>();

  constructor(private model: Model, private c: Colours, private pics: HTMLCanvasElement[], private shown: () => number[], private folded: Set<string>) {}

  clear(): void {
    this.#tiles.clear();
  }

  /** Row k of what is shown, column r. */
  drop(k: number, r: number): void {
    this.#tiles.delete(`${Math.floor(k / TILE)}:${Math.floor(r / TILE)}`);
  }

  get(bk: number, br: number): HTMLCanvasElement {
    const key = `${bk}:${br}`;
    let tile = this.#tiles.get(key);
    if (!tile) {
      if (this.#tiles.size > 200) this.#tiles.clear();
      this.#tiles.set(key, (tile = this.#draw(bk, br)));
    }
    return tile;
  }

  #draw(bk: number, br: number): HTMLCanvasElement {
    const canvas = document.createElement("canvas");
    const d = devicePixelRatio;
    canvas.width = Math.round(TILE * CELL * d);
    canvas.height = Math.round(TILE * ROW * d);
    const cx = canvas.getContext("2d")!;
    cx.setTransform(d, 0, 0, d, 0, 0);
    const rows = this.shown();
    for (let k = bk * TILE; k < Math.min(rows.length, (bk + 1) * TILE); k++) {
      const t = rows[k]!;
      const row = this.model.rows[t]!;
      for (let r = br * TILE; r < Math.min(this.model.width, (br + 1) * TILE); r++) {
        const code = this.model.at(t, r);
        if (code === EMPTY) continue;
        const x = (r - br * TILE) * CELL + 2;
        const y = (k - bk * TILE) * ROW + 3;
        const shut = row.group && this.folded.has(row.id);
        cx.globalAlpha = row.group && !shut ? 0.38 : 1;
        cx.drawImage(this.pics[code]!, x, y, 14, 14);
        if (shut) {
          cx.fillStyle = this.c[STATES[code]!]!;
          cx.globalAlpha = 0.55;
          cx.fillRect(x + 2, y + 15, 10, 1.5);
        }
        cx.globalAlpha = 1;
      }
    }
    return canvas;
  }
}
