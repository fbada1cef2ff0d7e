/* One frame of the grid: bands, cached tiles, marks of hover and selection, run bars on top, labels at the left. */
import { tr } from "../lib/text";
import { clock, duration } from "../lib/time";
import { CELL, HEAD, ROW, TILE, scale, span, type Place, type View } from "./geometry";
import type { Model, Run } from "./model";
import type { Colours, TileCache } from "./tiles";

export interface Scene { model: Model; rows: number[]; view: View; c: Colours; tiles: TileCache; font: string; hover: Place | null; selected: Place | null; folded: Set<string>; query: string; zone: string }

export function paint(cx: CanvasRenderingContext2D, scene: Scene): void {
  const { view, c } = scene;
  const d = devicePixelRatio;
  cx.setTransform(d, 0, 0, d, 0, 0);
  cx.fillStyle = c.surface!;
  cx.fillRect(0, 0, view.width, view.height);
  cx.save();
  cx.beginPath();
  cx.rect(view.label, 0, view.width, view.height);
  cx.clip();
  band(cx, scene, scene.selected, c["accent-soft"]!);
  band(cx, scene, scene.hover, c["surface-3"]!);
  cells(cx, scene);
  header(cx, scene);
  cx.restore();
  labels(cx, scene);
}

const X = (s: Scene, r: number): number => s.view.label + r * CELL - s.view.left + 2;
const Y = (s: Scene, k: number): number => HEAD + k * ROW - s.view.top;

function band(cx: CanvasRenderingContext2D, s: Scene, at: Place | null, fill: string): void {
  if (!at) return;
  cx.fillStyle = fill;
  const k = s.rows.indexOf(at.t);
  if (k >= 0) cx.fillRect(0, Y(s, k), s.view.width, ROW);
  if (at.r >= 0) cx.fillRect(X(s, at.r), 0, CELL, s.view.height);
}

function cells(cx: CanvasRenderingContext2D, s: Scene): void {
  const { r0, r1, k0, k1 } = span(s.view, s.rows.length, s.model.width);
  cx.save();
  cx.beginPath();
  cx.rect(s.view.label, HEAD, s.view.width, s.view.height);
  cx.clip();
  for (let bk = Math.floor(k0 / TILE); bk * TILE < k1; bk++)
    for (let br = Math.floor(r0 / TILE); br * TILE < r1; br++) cx.drawImage(s.tiles.get(bk, br), X(s, br * TILE), Y(s, bk * TILE), TILE * CELL, TILE * ROW);
  for (const [at, colour, line] of [[s.hover, s.c["text-2"]!, 1.5], [s.selected, s.c.accent!, 2]] as const) {
    const k = at && at.r >= 0 ? s.rows.indexOf(at.t) : -1;
    if (!at || k < 0) continue;
    cx.strokeStyle = colour;
    cx.lineWidth = line;
    cx.beginPath();
    cx.roundRect(X(s, at.r) + 0.5, Y(s, k) + 1.5, 17, 17, 4);
    cx.stroke();
  }
  cx.restore();
}

export function seconds(run: Run, now = Date.now()): number {
  return run.start === null ? 0 : ((run.end ?? now) - run.start) / 1000;
}

function header(cx: CanvasRenderingContext2D, s: Scene): void {
  const { r0, r1 } = span(s.view, s.rows.length, s.model.width);
  const top = scale(Math.max(1, ...s.model.runs.map((run) => seconds(run))));
  cx.font = `11px ${s.font}`;
  cx.textAlign = "left";
  let free = -1e9; // where the next date may begin
  let day = "";
  for (let r = r0; r < r1; r++) {
    const run = s.model.runs[r]!;
    bar(cx, s, run, r, top);
    const p = clock(run.at);
    const today = `${p.weekday} ${p.day}`;
    const x = X(s, r);
    if (today !== day || x > free + 60) {
      const text = today !== day ? today : `${p.hour}:${p.minute}`;
      if (x > free) {
        cx.fillStyle = s.c["text-3"]!;
        cx.fillText(text, x + 3, 78);
        free = x + cx.measureText(text).width + 14;
        if (today !== day && r > r0) line(cx, s.c.line!, x - 0.5, 0, s.view.height);
        day = today;
      }
    }
    const before = s.model.runs[r - 1];
    if (before && run.version !== before.version && run.version !== null) {
      line(cx, s.c["text-2"]!, x - 0.5, 8, s.view.height);
      cx.fillStyle = s.c["text-2"]!;
      cx.fillText(`v${run.version}`, x + 4, 12);
    }
  }
  cx.fillStyle = s.c.line!;
  cx.fillRect(s.view.label, 60, s.view.width, 1);
  cx.fillRect(0, HEAD - 1, s.view.width, 1);
}

function line(cx: CanvasRenderingContext2D, colour: string, x: number, y: number, tall: number): void {
  cx.fillStyle = colour;
  cx.fillRect(x, y, 1, tall);
}

function bar(cx: CanvasRenderingContext2D, s: Scene, run: Run, r: number, top: number): void {
  const tall = Math.max(4, (seconds(run) / top) * 46);
  const x = X(s, r) + 3;
  const colour = s.c[run.state] ?? s.c.none!;
  cx.fillStyle = colour;
  if (run.state === "queued") {
    cx.strokeStyle = colour;
    cx.lineWidth = 1.5;
    cx.strokeRect(x + 0.75, 60 - 8, 10.5, 8);
  } else {
    cx.globalAlpha = run.state === "success" ? 0.8 : 1;
    cx.beginPath();
    cx.roundRect(x, 60 - tall, 12, tall, [2, 2, 0, 0]);
    cx.fill();
    cx.globalAlpha = 1;
  }
  if (run.state === "failed") cx.fillRect(x, 60 - tall - 4, 12, 2);
  if (run.state === "running") {
    cx.fillStyle = s.c.surface!;
    for (let y = 60 - tall + 3; y < 60; y += 5) cx.fillRect(x, y, 12, 2);
  }
  if (run.type !== "scheduled") {
    cx.beginPath();
    cx.moveTo(x + 4, 62.5);
    cx.lineTo(x + 8, 65);
    cx.lineTo(x + 4, 67.5);
    cx.fillStyle = s.c["text-2"]!;
    cx.fill();
  }
}

function labels(cx: CanvasRenderingContext2D, s: Scene): void {
  const { label, height } = s.view;
  const top = scale(Math.max(1, ...s.model.runs.map((run) => seconds(run))));
  cx.fillStyle = s.c.surface!;
  cx.fillRect(0, 0, label, height);
  cx.fillStyle = s.c["text-3"]!;
  cx.font = `11px ${s.font}`;
  cx.textAlign = "right";
  cx.fillText(short(top), label - 8, 18);
  cx.fillText(short(top / 2), label - 8, 41);
  cx.textAlign = "left";
  cx.fillText(tr("Ran at, {zone}", { zone: s.zone }), label < 200 ? 12 : 20, 78);
  cx.save();
  cx.beginPath();
  cx.rect(0, HEAD, label, height);
  cx.clip();
  cx.textBaseline = "middle";
  const { k0, k1 } = span(s.view, s.rows.length, s.model.width);
  for (let k = k0; k < k1; k++) rowLabel(cx, s, k);
  cx.textBaseline = "alphabetic";
  cx.restore();
  line(cx, s.c.line!, label - 1, 0, height);
  cx.fillStyle = s.c.line!;
  cx.fillRect(0, HEAD - 1, label, 1);
}

const short = (v: number): string => duration(v).replace(/ 00 s$/, "").replace(/\.0 s$/, " s");

function rowLabel(cx: CanvasRenderingContext2D, s: Scene, k: number): void {
  const t = s.rows[k]!;
  const row = s.model.rows[t]!;
  const y = Y(s, k) + ROW / 2;
  const chosen = s.selected?.t === t;
  if (chosen || s.hover?.t === t) {
    cx.fillStyle = chosen ? s.c["accent-soft"]! : s.c["surface-3"]!;
    cx.fillRect(0, Y(s, k), s.view.label, ROW);
  }
  const x = (s.view.label < 200 ? 12 : 20) + (s.query ? 0 : row.depth * 14) + 14;
  if (row.group) {
    cx.strokeStyle = s.c["text-2"]!;
    cx.lineWidth = 1.5;
    cx.beginPath();
    const shut = s.folded.has(row.id);
    const points: [number, number][] = shut ? [[x - 11, y - 4], [x - 7, y], [x - 11, y + 4]] : [[x - 13, y - 2], [x - 9, y + 2], [x - 5, y - 2]];
    points.forEach(([px, py], n) => (n ? cx.lineTo(px, py) : cx.moveTo(px, py)));
    cx.stroke();
  }
  cx.font = `${row.group ? 600 : 400} 12px ${s.font}`;
  const extra = row.group ? String(row.size) : row.mapped ? "[ ]" : "";
  const room = s.view.label - x - 12 - (extra ? cx.measureText(extra).width + 8 : 0);
  cx.fillStyle = s.c.text!;
  cx.fillText(fitted(cx, s.query ? row.id : row.label, room), x, y);
  if (extra) {
    cx.fillStyle = s.c["text-3"]!;
    cx.font = `400 12px ${s.font}`;
    cx.textAlign = "right";
    cx.fillText(extra, s.view.label - 10, y);
    cx.textAlign = "left";
  }
}

function fitted(cx: CanvasRenderingContext2D, text: string, room: number): string {
  if (cx.measureText(text).width <= room) return text;
  let low = 0;
  let high = text.length;
  while (low < high) {
    const mid = (low + high + 1) >> 1;
    if (cx.measureText(`${text.slice(0, mid)}…`).width <= room) low = mid;
    else high = mid - 1;
  }
  return `${text.slice(0, low)}…`;
}
