/* To Graphviz and back: dot text with fixed sizes, positions out of its json0 answer (points, y upwards). */
import type { Laid, Plan, Way } from "./types";

const PT = 72;

/** Ids are replaced by numbers, so that nothing a user wrote is ever part of the dot text. */
export function toDot({ nodes, groups, edges }: Plan, way: Way = "LR"): string {
  const number = numbers({ nodes, groups, edges });
  const lines = [`digraph{rankdir=${way};nodesep=.18;ranksep=.6;splines=spline;node[shape=box,fixedsize=true,label=""];edge[arrowhead=none];`];
  const inside = (parent: string | null, depth: number): void => {
    for (const n of nodes) if ((n.parent && groups.some((g) => g.id === n.parent) ? n.parent : null) === parent) lines.push(`n${number.get(n.id)}[width=${(n.w / PT).toFixed(3)},height=${(n.h / PT).toFixed(3)}];`);
    if (depth > 30) return;
    for (const g of groups) {
      if ((g.parent ?? null) !== parent) continue;
      lines.push(`subgraph cluster_${number.get(g.id)}{label="x";fontsize=12;labeljust=l;margin=12;`);
      inside(g.id, depth + 1);
      lines.push("}");
    }
  };
  inside(null, 0);
  for (const [a, b] of edges) lines.push(`n${number.get(a)}->n${number.get(b)};`);
  lines.push("}");
  return lines.join("\n");
}

function numbers({ nodes, groups }: Plan): Map<string, number> {
  return new Map([...nodes, ...groups].map((n, k) => [n.id, k]));
}

interface Json0 { bb: string; objects?: { name: string; pos?: string; bb?: string }[]; edges?: { tail: number; head: number; pos?: string }[] }

export function fromJson(text: string, plan: Plan): Laid {
  const data = JSON.parse(text) as Json0;
  const [, , width = 0, height = 0] = data.bb.split(",").map(Number);
  const laid: Laid = { w: width, h: height, nodes: {}, groups: {}, edges: [] };
  const names = [...plan.nodes, ...plan.groups];
  const size = new Map(plan.nodes.map((n) => [n.id, n]));
  for (const o of data.objects ?? []) {
    const id = names[+o.name.replace(/^\D+/, "")]?.id ?? "";
    if (o.name.startsWith("cluster_") && o.bb) {
      const [x0 = 0, y0 = 0, x1 = 0, y1 = 0] = o.bb.split(",").map(Number);
      laid.groups[id] = { x: x0, y: height - y1, w: x1 - x0, h: y1 - y0 };
    } else if (o.pos) {
      const [x = 0, y = 0] = o.pos.split(",").map(Number);
      const n = size.get(id);
      if (n) laid.nodes[id] = { x: x - n.w / 2, y: height - y - n.h / 2, w: n.w, h: n.h };
    }
  }
  const words = new Map(plan.edges.map(([a, b, t]) => [`${a}\n${b}`, t]));
  for (const e of data.edges ?? []) {
    const a = names[+(data.objects?.[e.tail]?.name ?? "").replace(/^\D+/, "")]?.id;
    const b = names[+(data.objects?.[e.head]?.name ?? "").replace(/^\D+/, "")]?.id;
    if (a === undefined || b === undefined || !e.pos) continue;
    const points = e.pos.split(" ").filter((p) => !/^[se],/.test(p)).map((p) => p.split(",").map(Number) as [number, number]);
    const put = ([x, y]: [number, number]): string => `${round(x)} ${round(height - y)}`;
    const [first, ...rest] = points;
    const mid = points[Math.floor(points.length / 2)]!;
    laid.edges.push({ a, b, text: words.get(`${a}\n${b}`) ?? "", d: `M${put(first!)}C${rest.map(put).join(" ")}`, x: mid[0], y: height - mid[1] });
  }
  return laid;
}

const round = (v: number): number => Math.round(v * 10) / 10;
