/* A layered layout of our own, for when Graphviz cannot answer in time: longest path, then barycentre, groups as boxes
   around their members. */
import type { Laid, Plan, Way } from "./types";

const GAP_X = 56;
const GAP_Y = 14;

export function layered({ nodes, groups, edges }: Plan, way: Way = "LR"): Laid {
  const upright = way === "TB" || way === "BT";
  const backwards = way === "RL" || way === "BT";
  const rank = ranks(nodes.map((n) => n.id), edges.map(([a, b]) => [a, b]));
  const columns: string[][] = [];
  for (const n of nodes) (columns[rank.get(n.id)!] ??= []).push(n.id);
  const order = new Map<string, number>();
  columns.forEach((column) => column.forEach((id, k) => order.set(id, k)));
  const before = new Map<string, string[]>();
  for (const [a, b] of edges) before.set(b, [...(before.get(b) ?? []), a]);
  for (let round = 0; round < 4; round++)
    for (const column of columns.slice(1)) {
      const weight = new Map(column.map((id) => [id, mean((before.get(id) ?? []).map((p) => order.get(p)!)) ?? order.get(id)!]));
      column.sort((a, b) => weight.get(a)! - weight.get(b)!);
      column.forEach((id, k) => order.set(id, k));
    }
  const size = new Map(nodes.map((n) => [n.id, n]));
  const tallest = Math.max(1, ...columns.map((c) => c.length));
  const laid: Laid = { w: 0, h: 0, nodes: {}, groups: {}, edges: [] };
  columns.forEach((column, x) => {
    const step = backwards ? columns.length - 1 - x : x;
    column.forEach((id, y) => {
      const n = size.get(id)!;
      const across = (tallest - column.length) / 2 + y;
      const box = upright
        ? { x: 20 + across * (n.w + GAP_Y), y: 28 + step * (n.h + GAP_X), w: n.w, h: n.h }
        : { x: 20 + step * (n.w + GAP_X), y: 28 + across * (n.h + GAP_Y), w: n.w, h: n.h };
      laid.nodes[id] = box;
      laid.w = Math.max(laid.w, box.x + box.w + 20);
      laid.h = Math.max(laid.h, box.y + box.h + 20);
    });
  });
  boxes(laid, nodes, groups);
  for (const [a, b, text] of edges) {
    const p = laid.nodes[a]!;
    const q = laid.nodes[b]!;
    const out = backwards ? 0 : 1;
    const [x0, y0, x1, y1] = upright
      ? [p.x + p.w / 2, p.y + p.h * out, q.x + q.w / 2, q.y + q.h * (1 - out)]
      : [p.x + p.w * out, p.y + p.h / 2, q.x + q.w * (1 - out), q.y + q.h / 2];
    const [mx, my] = [(x0 + x1) / 2, (y0 + y1) / 2];
    const bend = upright ? `${x0} ${my} ${x1} ${my}` : `${mx} ${y0} ${mx} ${y1}`;
    laid.edges.push({ a, b, text, d: `M${x0} ${y0}C${bend} ${x1} ${y1}`, x: mx, y: my });
  }
  return laid;
}

/** Longest path from a root; a circle (which a DAG never has) ends the walk. */
export function ranks(ids: string[], edges: [string, string][]): Map<string, number> {
  const down = new Map<string, string[]>();
  const waiting = new Map(ids.map((id) => [id, 0]));
  for (const [a, b] of edges) {
    down.set(a, [...(down.get(a) ?? []), b]);
    waiting.set(b, (waiting.get(b) ?? 0) + 1);
  }
  const rank = new Map(ids.map((id) => [id, 0]));
  const ready = ids.filter((id) => !waiting.get(id));
  for (let k = 0; k < ready.length; k++)
    for (const to of down.get(ready[k]!) ?? []) {
      rank.set(to, Math.max(rank.get(to)!, rank.get(ready[k]!)! + 1));
      waiting.set(to, waiting.get(to)! - 1);
      if (!waiting.get(to)) ready.push(to);
    }
  return rank;
}

function boxes(laid: Laid, nodes: Plan["nodes"], groups: Plan["groups"]): void {
  const parent = new Map<string, string | null>([...nodes, ...groups].map((n) => [n.id, n.parent]));
  for (const n of nodes)
    for (let p = n.parent, depth = 1; p; p = parent.get(p) ?? null, depth++) {
      const b = laid.nodes[n.id]!;
      const pad = 8 + depth * 2;
      const old = laid.groups[p];
      const x = Math.min(old?.x ?? Infinity, b.x - pad);
      const y = Math.min(old?.y ?? Infinity, b.y - pad - 16);
      laid.groups[p] = { x, y, w: Math.max(old ? old.x + old.w : 0, b.x + b.w + pad) - x, h: Math.max(old ? old.y + old.h : 0, b.y + b.h + pad) - y };
    }
}

const mean = (values: number[]): number | null => (values.length ? values.reduce((a, b) => a + b, 0) / values.length : null);
