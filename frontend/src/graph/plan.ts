/* What is drawn for a set of folded groups: a folded group is one node, edges go to what stands for their ends. */
import { worse, codeOf, STATES } from "../lib/states";
import { NODE_H, NODE_W, type Edge, type GNode, type Plan } from "./types";

/** The outermost folded group around a node, or the node itself. */
export function shownAs(id: string, byId: Map<string, GNode>, folded: Set<string>): string {
  let found = id;
  for (let at: GNode | undefined = byId.get(id); at; at = at.parent ? byId.get(at.parent) : undefined) if (at.group && folded.has(at.id)) found = at.id;
  return found;
}

export function plan(nodes: GNode[], edges: Edge[], folded: Set<string>): Plan {
  const byId = new Map(nodes.map((n) => [n.id, n]));
  const visible = nodes.filter((n) => shownAs(n.id, byId, folded) === n.id);
  const seen = new Set<string>();
  const drawn: Edge[] = [];
  for (const [a, b, text] of edges) {
    const from = shownAs(a, byId, folded);
    const to = shownAs(b, byId, folded);
    const key = `${from}\n${to}`;
    if (from === to || seen.has(key)) continue;
    seen.add(key);
    drawn.push([from, to, text]);
  }
  return {
    nodes: visible.filter((n) => !n.group || folded.has(n.id)).map((n) => ({ id: n.id, parent: n.parent, w: NODE_W, h: NODE_H })),
    groups: visible.filter((n) => n.group && !folded.has(n.id)).map((n) => ({ id: n.id, parent: n.parent, label: n.label })),
    edges: drawn,
  };
}

/** Worst state and number of tasks inside each group. */
export function groupStates(nodes: GNode[]): Map<string, { state: string | null; size: number }> {
  const byId = new Map(nodes.map((n) => [n.id, n]));
  const found = new Map<string, { code: number; size: number }>();
  for (const n of nodes) {
    if (n.group) continue;
    for (let p = n.parent ? byId.get(n.parent) : undefined; p; p = p.parent ? byId.get(p.parent) : undefined) {
      const known = found.get(p.id) ?? { code: 255, size: 0 };
      const code = n.state === null ? 255 : codeOf(n.state);
      found.set(p.id, { code: known.code === 255 ? code : code === 255 ? known.code : worse(known.code, code), size: known.size + 1 });
    }
  }
  return new Map([...found].map(([id, { code, size }]) => [id, { state: code === 255 ? null : (STATES[code] ?? null), size }]));
}
