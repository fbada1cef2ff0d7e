/* The DAG as a graph: nodes are links in reading order, groups fold, hover or focus follows a path, events recolour. */
import { $, $$, again, getJson, glyph, h, s, sprite, throttled, typing } from "../lib/dom";
import { live } from "../lib/live";
import { label, said } from "../lib/states";
import { save, toPng, toSvg } from "./export";
import { layout } from "./layout";
import { groupStates, plan, shownAs } from "./plan";
import type { Box, Edge, GNode, Laid, Way } from "./types";
import { tr, trn } from "../lib/text";

interface Data { cursor: string; dag: string; version: string; nodes: GNode[]; edges: Edge[]; run: { pk: number; id: string; state: string; href: string } | null; tasks_href: string }

const root = $("#graph")!;
const svg = $<SVGSVGElement>("#g")!;
const view = $<SVGGElement>("#view")!;
const mini = $<SVGSVGElement>("#mm")!;
const folded = new Set<string>();
const way = (root.dataset.dir ?? "LR") as Way;
const upright = way === "TB" || way === "BT";
let data: Data;
let laid: Laid;
let z = 1;
let x = 0;
let y = 0;
let mode: "both" | "up" | "down" = "both";
let focused: string | undefined;
const PAD = 24;

async function load(fit = false): Promise<void> {
  try {
    data = await getJson<Data>(root.dataset.graph ?? "");
  } catch (error) {
    return say(tr("The graph did not load: {why}", { why: (error as Error).message }));
  }
  if (!data.nodes.length) return say(tr("This DAG has no tasks."));
  const groups = data.nodes.filter((n) => n.group);
  if (fit && data.nodes.length > 150) groups.forEach((n) => folded.add(n.id));
  const seg = $("#gfold");
  if (seg) seg.hidden = !groups.length;
  $$("#gfold [data-fold]").forEach((b) => b.setAttribute("aria-pressed", String((b.dataset.fold === "shut") === folded.size > 0)));
  await arrange(fit);
  if (data.run) live().subscribe({ topic: `run:${data.run.pk}`, cursor: data.cursor, onEvents: hear, onResync: () => void recolour() });
}

function say(text: string): void {
  const box = $("#gmsg")!;
  box.hidden = false;
  box.replaceChildren(h("div", { class: "note" }, h("p", {}, text)));
}

/** A short name for a long text (FNV-1a, 32 bits, and the length). */
function digest(text: string): string {
  let sum = 0x811c9dc5;
  for (let k = 0; k < text.length; k++) sum = Math.imul(sum ^ text.charCodeAt(k), 0x01000193) >>> 0;
  return `${sum.toString(36)}.${text.length}`;
}

async function arrange(fit: boolean): Promise<void> {
  const shape = [data.edges.filter(([a, b]) => `${a}${b}`.includes(":")), [...folded].sort()]; // other DAGs may change under a version
  laid = await layout(plan(data.nodes, data.edges, folded), `${data.version}:${way}:${digest(JSON.stringify(shape))}`, way);
  draw();
  if (fit) start();
  legend();
}

/* ---- drawing ---- */
function draw(): void {
  const byId = new Map(data.nodes.map((n) => [n.id, n]));
  const sums = groupStates(data.nodes);
  const outer = (id: string): number => (byId.get(id)?.parent ? 1 + outer(byId.get(id)!.parent!) : 0);
  const groups = Object.entries(laid.groups).sort(([a], [b]) => outer(a) - outer(b)).map(([id, b]) => group(byId.get(id)!, b));
  const edges = laid.edges.map((e) => s("path", { class: `e${byId.get(e.a)?.state === "success" ? " done" : ""}`, d: e.d, "data-a": e.a, "data-b": e.b }));
  const words = laid.edges.filter((e) => e.text).map((e) => s("text", { class: "el", x: e.x, y: e.y, "data-a": e.a, "data-b": e.b }, e.text));
  const nodes = Object.entries(laid.nodes).sort(([, a], [, b]) => along(a, b)).map(([id, b]) => node(byId.get(id)!, b, sums.get(id)));
  view.replaceChildren(s("g", { transform: `translate(${PAD} ${PAD})` }, ...groups, s("g", {}, ...edges), ...nodes, s("g", {}, ...words)));
  const frame = s("rect", { class: "mv" });
  mini.setAttribute("viewBox", `${-PAD} ${-PAD} ${laid.w + 2 * PAD} ${laid.h + 2 * PAD}`);
  mini.replaceChildren(...Object.values(laid.groups).map((b) => rect(b)), ...Object.entries(laid.nodes).map(([id, b]) => rect(b, (byId.get(id)?.group ? sums.get(id)?.state : byId.get(id)?.state) ?? "none")), frame);
  put();
}

function rect(b: Box, state?: string): SVGRectElement {
  return s("rect", { x: b.x, y: b.y, width: b.w, height: b.h, ...(state ? { "data-s": state } : {}) });
}

function group(n: GNode, b: Box): SVGGElement {
  const el = s("g", { class: "grp", tabindex: "0", role: "button", "aria-expanded": "true", "aria-label": tr("Group {name}, fold", { name: n.label }) }, s("rect", { x: b.x, y: b.y, width: b.w, height: b.h, rx: 6 }), s("text", { x: b.x + 10, y: b.y + 16 }, n.label));
  el.onclick = (e) => (e.target as Element).tagName === "text" && toggle(n.id);
  el.onkeydown = (e) => (e.key === "Enter" || e.key === " ") && (e.preventDefault(), toggle(n.id));
  return el;
}

function node(n: GNode, b: Box, sum?: { state: string | null; size: number }): SVGElement {
  const el = n.kind ? outsider(n, b) : task(n, b, sum);
  el.onpointerenter = () => follow(n.id);
  el.onpointerleave = () => follow();
  el.onfocus = () => {
    follow(n.id);
    bring(b);
  };
  el.onblur = () => follow();
  if (n.group) el.onclick = (e) => (e.preventDefault(), toggle(n.id));
  return el;
}

function task(n: GNode, b: Box, sum?: { state: string | null; size: number }): SVGElement {
  const state = (n.group ? sum?.state : n.state) ?? "none";
  const shown = cut(n.label, 19);
  const sub = n.group ? trn("{n} task, folded", "{n} tasks, folded", sum?.size ?? 0) : [n.op.replace(/Operator$/, "").replace(/^@task\.?/, "") || "task", n.count > 1 ? `× ${n.count}` : n.mapped ? tr("mapped") : "", n.took].filter(Boolean).join(" · ");
  const href = n.group ? "#" : data.run ? `${data.run.href}/tasks/${encodeURIComponent(n.id)}` : `${data.tasks_href}#t-${n.id}`;
  const said = `${n.label}, ${sub}, ${data.run ? label(state) : ""}${n.reason ? `. ${n.reason}` : ""}`;
  const el = s("a", { class: "n", href, "data-id": n.id, "data-s": state, "aria-label": said, ...(n.reason ? { "data-tip": n.reason } : {}) });
  if (n.mapped || n.group) el.append(s("rect", { class: "back", x: b.x + 4, y: b.y + 4, width: b.w, height: b.h, rx: 4 }));
  el.append(s("rect", { class: "box", x: b.x, y: b.y, width: b.w, height: b.h, rx: 4 }));
  if (data.run) el.append(s("svg", { class: "g", x: b.x + 10, y: b.y + 6, width: 14, height: 14, "data-s": state }, s("use", { href: `${sprite()}#s-${state}` })));
  const left = b.x + (data.run ? 30 : 12);
  el.append(s("text", { class: "nm", x: left, y: b.y + 17 }, shown), " ", s("text", { class: "op", x: left, y: b.y + 32 }, cut(sub, 24)));
  return el;
}

/** Reading order: from what comes first to what follows. */
function along(a: Box, b: Box): number {
  const by = upright ? a.y - b.y || a.x - b.x : a.x - b.x || a.y - b.y;
  return way === "RL" ? b.x - a.x || a.y - b.y : way === "BT" ? b.y - a.y || a.x - b.x : by;
}

/** What is no task of this DAG: an asset, another DAG. */
function outsider(n: GNode, b: Box): SVGElement {
  const el = s("a", { class: "n out", ...(n.href ? { href: n.href } : { tabindex: "0" }), "data-id": n.id, "data-kind": n.kind ?? "", "aria-label": `${n.label}, ${n.op}`, "data-tip": n.label, ...(n.href ? {} : { role: "img" }) });
  el.append(s("rect", { class: "box", x: b.x, y: b.y, width: b.w, height: b.h, rx: n.kind === "asset" ? b.h / 2 : 4 }));
  el.append(s("svg", { class: "i s", x: b.x + 12, y: b.y + 6, width: 14, height: 14 }, s("use", { href: `${sprite()}#i-${n.kind === "asset" ? "data" : "dag"}` })));
  el.append(s("text", { class: "nm", x: b.x + 32, y: b.y + 17 }, cut(n.label, 19)), " ", s("text", { class: "op", x: b.x + 32, y: b.y + 32 }, cut(n.op, 22)));
  return el;
}

const cut = (text: string, keep: number): string => (text.length <= keep ? text : `${text.slice(0, keep - 1)}…`);

function toggle(id: string): void {
  if (!folded.delete(id)) folded.add(id);
  void arrange(false);
}

/* ---- live ---- */
let asked = 0;
let answered = 0;
const recolour = throttled(() => {
  const mine = ++asked;
  void getJson<Data>(root.dataset.graph ?? "").then((fresh) => {
    if (mine < answered) return; // overtaken by a newer answer
    answered = mine;
    later.fine();
    data = fresh;
    draw();
    legend();
  }, () => later.failed());
}, 1000, 100);
const later = again(recolour);

function hear(events: Parameters<NonNullable<import("../lib/live").Subscription["onEvents"]>>[0]): void {
  const byId = new Map(data.nodes.map((n) => [n.id, n]));
  for (const [, , , , , , , state, tis] of events)
    if (state && Array.isArray(tis))
      for (const [, task, index] of tis) {
        const n = byId.get(task);
        if (!n || index >= 0 || n.mapped) continue;
        n.state = state;
        const el = $(`.n[data-id="${CSS.escape(task)}"]`, view);
        el?.setAttribute("data-s", state);
        const g = el && $("svg.g", el);
        g?.setAttribute("data-s", state);
        g?.firstElementChild?.setAttribute("href", `${sprite()}#s-${state}`);
      }
  recolour();
}

function legend(): void {
  const counts = new Map<string, number>();
  for (const n of data.nodes) if (!n.group && !n.kind && data.run) counts.set(n.state ?? "none", (counts.get(n.state ?? "none") ?? 0) + 1);
  $("#legend")?.replaceChildren(...[...counts].map(([state, n]) => h("span", { class: "st", "data-s": state }, glyph(state, "g s"), `${n} ${said(state)}`)));
}

/* ---- paths ---- */
function follow(id?: string): void {
  focused = id;
  svg.classList.toggle("focus", id !== undefined);
  $$(".hi", svg).forEach((el) => el.classList.remove("hi"));
  if (id === undefined) return;
  const on = new Set([id]);
  const walk = (forward: boolean): void => {
    const queue = [id];
    const seen = new Set([id]);
    for (const at of queue)
      for (const e of laid.edges)
        if ((forward ? e.a : e.b) === at) {
          const next = forward ? e.b : e.a;
          $$(`[data-a="${CSS.escape(e.a)}"][data-b="${CSS.escape(e.b)}"]`, svg).forEach((el) => el.classList.add("hi"));
          on.add(next);
          if (!seen.has(next)) {
            seen.add(next);
            queue.push(next);
          }
        }
  };
  if (mode !== "down") walk(false);
  if (mode !== "up") walk(true);
  for (const el of $$(".n", svg)) el.classList.toggle("hi", on.has(el.dataset.id ?? ""));
}

/* ---- pan and zoom ---- */
function put(): void {
  view.setAttribute("transform", `translate(${x} ${y}) scale(${z})`);
  const r = svg.getBoundingClientRect();
  const frame = $(".mv", mini);
  for (const [k, v] of Object.entries({ x: -x / z - PAD, y: -y / z - PAD, width: r.width / z, height: r.height / z })) frame?.setAttribute(k, String(v));
  mini.toggleAttribute("hidden", !laid || (laid.w * z <= r.width && laid.h * z <= r.height));
}

function zoom(f: number, cx: number, cy: number): void {
  const n = Math.min(2, Math.max(0.08, z * f));
  x = cx - ((cx - x) * n) / z;
  y = cy - ((cy - y) * n) / z;
  z = n;
  put();
}

function middle(f: number): void {
  const r = svg.getBoundingClientRect();
  zoom(f, r.width / 2, r.height / 2);
}

function fitAll(least = 0.08): void {
  const r = svg.getBoundingClientRect();
  z = Math.max(least, Math.min(1.1, r.width / (laid.w + 2 * PAD), r.height / (laid.h + 2 * PAD)));
  x = (laid.w + 2 * PAD) * z <= r.width ? (r.width - (laid.w + 2 * PAD) * z) / 2 : 0;
  y = (r.height - (laid.h + 2 * PAD) * z) / 2;
  put();
}

/** Everything when it stays readable; else as small as text allows, at what needs a look. */
function start(): void {
  fitAll(0.83);
  const bad = data.nodes.find((n) => n.state === "failed") ?? data.nodes.find((n) => n.state === "running");
  const byId = new Map(data.nodes.map((n) => [n.id, n]));
  const b = bad && laid.nodes[shownAs(bad.id, byId, folded)];
  if (b) bring(b);
}

function bring(b: Box): void {
  const r = svg.getBoundingClientRect();
  const left = (b.x + PAD) * z + x;
  const top = (b.y + PAD) * z + y;
  if (left < 0 || left + b.w * z > r.width) x = r.width / 2 - (b.x + PAD + b.w / 2) * z;
  if (top < 0 || top + b.h * z > r.height) y = r.height / 2 - (b.y + PAD + b.h / 2) * z;
  put();
}

svg.addEventListener("wheel", (e) => {
  e.preventDefault();
  const r = svg.getBoundingClientRect();
  if (e.ctrlKey) zoom(Math.exp(-e.deltaY / 200), e.clientX - r.left, e.clientY - r.top);
  else {
    x -= e.deltaX;
    y -= e.deltaY;
    put();
  }
}, { passive: false });
let drag: [number, number] | null = null;
svg.addEventListener("pointerdown", (e) => {
  if ((e.target as Element).closest(".n, .grp text")) return;
  drag = [e.clientX - x, e.clientY - y];
  svg.setPointerCapture(e.pointerId);
});
svg.addEventListener("pointermove", (e) => {
  if (!drag) return;
  x = e.clientX - drag[0];
  y = e.clientY - drag[1];
  put();
});
svg.addEventListener("pointerup", () => (drag = null));
mini.addEventListener("click", (e) => {
  const r = mini.getBoundingClientRect();
  const b = svg.getBoundingClientRect();
  x = b.width / 2 - ((e.clientX - r.left) / r.width) * (laid.w + 2 * PAD) * z;
  y = b.height / 2 - ((e.clientY - r.top) / r.height) * (laid.h + 2 * PAD) * z;
  put();
});
$$("[data-zoom]").forEach((b) => b.addEventListener("click", () => ({ in: () => middle(1.25), out: () => middle(0.8), fit: () => fitAll() })[b.dataset.zoom as "in" | "out" | "fit"]()));
$$("#gfold [data-fold]").forEach((b) => b.addEventListener("click", () => {
  folded.clear();
  if (b.dataset.fold === "shut") data.nodes.forEach((n) => n.group && folded.add(n.id));
  $$("#gfold [data-fold]").forEach((o) => o.setAttribute("aria-pressed", String(o === b)));
  void arrange(true);
}));
$<HTMLInputElement>("#gfind")?.addEventListener("input", (e) => {
  const q = (e.target as HTMLInputElement).value.trim().toLowerCase();
  const found = q ? Object.keys(laid.nodes).find((id) => id.toLowerCase().includes(q)) : undefined;
  follow(found);
  if (found) bring(laid.nodes[found]!);
});
document.addEventListener("keydown", (e) => {
  if (typing(e) || e.ctrlKey || e.metaKey) return;
  if (e.key === "0") fitAll();
  else if (e.key === "+") middle(1.25);
  else if (e.key === "-") middle(0.8);
  else if (e.key === "u" || e.key === "d") {
    const wanted = e.key === "u" ? "up" : "down";
    mode = mode === wanted ? "both" : wanted;
    follow(focused);
  }
});
$$<HTMLButtonElement>("[data-export]").forEach((b) => b.addEventListener("click", () => {
  if (!laid) return;
  const name = `${data.dag}.${b.dataset.export}`;
  void toSvg(svg, laid.w, laid.h).then(async (text) => {
    save(b.dataset.export === "png" ? await toPng(text, laid.w, laid.h) : new Blob([text], { type: "image/svg+xml" }), name);
  }).catch((error: Error) => say(tr("The picture could not be made: {why}", { why: error.message })));
}));
new ResizeObserver(() => laid && put()).observe(svg);
void load(true);
