/* The run grid: loads columns, paints on canvas, follows events, opens tiles in the drawer. Arrow keys, Enter, Space, F. */
import { $, $$, again as retry, fragment, getHtml, getJson, glyph, h, throttled, typing } from "../lib/dom";
import { live, parseCursor, unseen, type LiveEvent } from "../lib/live";
import { EMPTY, STATES, codeOf, label, WORST_FIRST } from "../lib/states";
import { cookie, duration, moment, setCookie } from "../lib/time";
import { CELL, HEAD, ROW, hit, labelWidth, reveal, visibleRows, type Place, type View } from "./geometry";
import { Model, type GridData } from "./model";
import { paint, seconds } from "./paint";
import { TileCache, colours, pictures, type Colours } from "./tiles";
import { tr } from "../lib/text";

interface Tip { state: string | null; text: string; took: string; more: string; try: number }

const split = $("#gsplit")!;
const wrap = $(".gwrap")!;
const canvas = $<HTMLCanvasElement>("canvas", wrap)!;
const sizer = $(".gsize", wrap)!;
const drawer = $("#drawer")!;
const cx = canvas.getContext("2d")!;
const model = new Model();
const folded = new Set<string>();
const dag = split.dataset.dag ?? "";
const tips = new Map<string, Tip>();

let rows: number[] = [];
let view: View = { width: 0, height: 0, left: 0, top: 0, label: 264 };
let c: Colours = {};
let tiles: TileCache;
let font = "";
let hover: Place | null = null;
let selected: Place | null = null;
let query = "";
let frame = 0;
let loads = 0;

const count = (): number => +($<HTMLSelectElement>("#gruns")?.value ?? 25);

async function load(first = false): Promise<void> {
  const mine = ++loads;
  try {
    const data = await getJson<GridData>(`${split.dataset.grid}?runs=${count()}`);
    if (mine !== loads) return;
    const kept = selected && { task: model.rows[selected.t]?.id, pk: model.runs[selected.r]?.pk };
    model.load(data);
    if (first && model.rows.length > 60) model.rows.forEach((row) => row.group && row.depth === 0 && folded.add(row.id));
    if (kept) selected = found(kept.task, kept.pk);
    message(model.width ? null : tr("No runs yet. Switch the DAG on or trigger it, and its runs appear here."));
    tips.clear();
    layout();
    legend();
    live().subscribe({ topic: `dag:${dag}`, cursor: data.cursor, onEvents: (events) => hear(events), onResync: () => void load(), onRefused: (why) => message(why) });
  } catch (error) {
    message(tr("The grid did not load: {why}", { why: (error as Error).message }), () => void load(first));
  }
}

function found(task: string | undefined, pk: number | undefined): Place | null {
  const r = pk === undefined ? -1 : model.column(pk);
  const t = task === undefined ? -1 : model.row(task);
  return r < 0 || (task !== undefined && t < 0) ? null : { t, r };
}

function message(text: string | null, retry?: () => void): void {
  const box = $("#gmsg")!;
  box.hidden = text === null;
  const again = h("button", { type: "button", class: "btn" }, tr("Load again"));
  again.onclick = () => retry?.();
  box.replaceChildren(h("div", { class: "note" }, h("p", {}, text ?? "")), retry ? again : "");
}

/* ---- live ---- */
const again = new Set<number>();
/** What was told while columns are on their way: it may be newer than they are. */
let heard: LiveEvent[] = [];
let asking = 0;
const refetch = throttled(() => {
  const wanted = [...again].slice(0, 100);
  again.clear();
  if (!wanted.length) return;
  const began = loads;
  if (!asking++) heard = [];
  void getJson<GridData>(`${split.dataset.grid}?runs=${wanted.length}&${wanted.map((pk) => `run=${pk}`).join("&")}`).then((data) => {
    later.fine();
    if (began !== loads) return;
    if (!model.merge(data)) return void load();
    hear(unseen(parseCursor(data.cursor), heard), false);
    tiles.clear();
    repaint();
  }, () => {
    wanted.forEach((pk) => again.add(pk));
    later.failed();
  }).finally(() => asking--);
}, 400, 80);
const later = retry(() => refetch());
const reload = throttled(() => void load(), 1000, 50);
const refreshDrawer = throttled(() => selected && !split.classList.contains("shut") && void openDrawer(selected, true), 800, 80);

function hear(events: LiveEvent[], fresh = true): void {
  if (asking && fresh) heard.push(...events);
  const change = model.apply(events);
  const place = new Map(rows.map((t, k) => [t, k]));
  for (const [t, r] of change.cells) {
    tips.delete(`${model.runs[r]?.pk}:${model.rows[t]?.id}`);
    const k = place.get(t);
    if (k !== undefined) tiles.drop(k, r);
  }
  if (change.columns.size && fresh) {
    change.columns.forEach((pk) => again.add(pk));
    refetch();
  }
  if (change.unknown.size) reload();
  if (events.some((e) => e[5] !== null && selected && e[5] === model.runs[selected.r]?.pk)) refreshDrawer();
  repaint();
  soonLegend();
}

/* ---- drawing ---- */
function repaint(): void {
  frame ||= requestAnimationFrame(() => {
    frame = 0;
    view = { ...view, left: wrap.scrollLeft, top: wrap.scrollTop };
    const t0 = performance.now();
    paint(cx, { model, rows, view, c, tiles, font, hover, selected, folded, query, zone: split.dataset.zone ?? (cookie("tz") || "UTC").split("/").pop()!.replace("_", " ") });
    const stat = $("#gstat");
    if (stat) stat.textContent = tr("{rows} rows × {runs} runs, drawn in {ms} ms", { rows: rows.length, runs: model.width, ms: (performance.now() - t0).toFixed(1) });
  });
}

function layout(): void {
  rows = visibleRows(model.rows, folded, query);
  const width = wrap.clientWidth;
  const height = wrap.clientHeight;
  view = { ...view, width, height, label: labelWidth(width) };
  sizer.style.width = `${view.label + model.width * CELL + 12}px`;
  sizer.style.height = `${HEAD + rows.length * ROW + 24}px`;
  const d = devicePixelRatio;
  canvas.width = Math.round(width * d);
  canvas.height = Math.round(height * d);
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
  tiles?.clear();
  repaint();
}

async function theme(): Promise<void> {
  font = getComputedStyle(document.body).fontFamily;
  c = colours();
  tiles = new TileCache(model, c, await pictures(c), () => rows, folded);
  repaint();
}

function legend(): void {
  const seen = new Map<number, number>();
  const from = Math.max(0, model.width - 2);
  model.rows.forEach((row, t) => {
    if (!row.group) for (let r = from; r < model.width; r++) if (model.at(t, r) !== EMPTY) seen.set(model.at(t, r), (seen.get(model.at(t, r)) ?? 0) + 1);
  });
  $("#legend")?.replaceChildren(...WORST_FIRST.filter((code) => seen.has(code)).slice(0, 5).map((code) => {
    const state = STATES[code]!;
    return h("span", { class: "st t2", "data-s": state }, glyph(state, "g s"), `${label(state)} ${seen.get(code)}`);
  }));
}
const soonLegend = throttled(legend, 500, 100);

/* ---- pointer ---- */
const place = (e: MouseEvent): Place | null => {
  const box = canvas.getBoundingClientRect();
  return hit(view, e.clientX - box.left, e.clientY - box.top, rows, model.width);
};
const tipOut = (): void => void dispatchEvent(new Event("hidetip"));

wrap.addEventListener("pointermove", (e) => {
  if (e.pointerType === "touch") return;
  const at = place(e);
  if (at?.t === hover?.t && at?.r === hover?.r) return;
  hover = at;
  canvas.style.cursor = at && (at.r >= 0 || model.rows[at.t]?.group) ? "pointer" : "default";
  if (at && at.r >= 0) tell(at, e.clientX + 14, e.clientY + 16);
  else tipOut();
  repaint();
});
wrap.addEventListener("pointerleave", () => {
  hover = null;
  tipOut();
  repaint();
});
wrap.addEventListener("scroll", () => {
  tipOut();
  repaint();
}, { passive: true });
canvas.addEventListener("click", (e) => {
  const at = place(e);
  if (!at) return;
  if (at.r < 0) return void (model.rows[at.t]?.group && fold(at.t));
  select(at);
  if (at.t >= 0 && model.rows[at.t]!.group) fold(at.t);
  else void openDrawer(at);
});

let tipTimer: ReturnType<typeof setTimeout>;
function tell(at: Place, x: number, y: number): void {
  const run = model.runs[at.r]!;
  const row = model.rows[at.t];
  const state = at.t < 0 ? run.state : model.state(at.t, at.r);
  const show = (text: string, took: string): void => {
    const lines: (string | Node)[] = [h("b", {}, row ? row.id : tr("Run {name}", { name: run.id })), `${state ? label(state) : tr("Not part of this run")}${text ? `: ${text}` : ""}`, `${moment(run.at)}${took ? `, ${took}` : ""}`];
    dispatchEvent(new CustomEvent("showtip", { detail: { lines, x, y } }));
  };
  if (!row || row.group) return show(row ? "" : (run.reason ?? ""), run.start ? duration(seconds(run)) : "");
  const key = `${run.pk}:${row.id}`;
  const known = tips.get(key);
  show(known?.text ?? "", known?.took ?? "");
  if (known || !state) return;
  clearTimeout(tipTimer);
  tipTimer = setTimeout(() => {
    void getJson<Tip>(`/ui/tip/${run.pk}/${encodeURIComponent(row.id)}`).then((tip) => {
      tips.set(key, tip);
      if (hover?.t === at.t && hover.r === at.r) show(tip.text, tip.took);
    }, () => undefined);
  }, 90);
}

/* ---- selection, drawer ---- */
function fold(t: number): void {
  const id = model.rows[t]!.id;
  if (!folded.delete(id)) folded.add(id);
  layout();
}

function select(at: Place): void {
  selected = at;
  const to = reveal(view, rows.indexOf(at.t), at.r);
  wrap.scrollTo(to.left, to.top);
  const run = model.runs[at.r];
  const row = model.rows[at.t];
  const state = at.t < 0 ? run?.state : model.state(at.t, at.r);
  $("#gsay")!.textContent = `${row ? row.id : tr("Run")}, ${tr("run of {at}", { at: run ? moment(run.at) : "" })}: ${state ? label(state) : tr("not part of this run")}`;
  const url = new URL(location.href);
  if (run) url.searchParams.set("run", run.id);
  if (row) url.searchParams.set("task", row.id);
  else url.searchParams.delete("task");
  history.replaceState(null, "", url);
  repaint();
}

let opening = 0;
async function openDrawer(at: Place, quiet = false): Promise<void> {
  const run = model.runs[at.r];
  const row = model.rows[at.t];
  if (!run || (row && (row.group || model.state(at.t, at.r) === null))) return;
  const mine = ++opening;
  const base = `${split.dataset.panel}/runs/${encodeURIComponent(run.id)}`;
  const html = await getHtml(row ? `${base}/tasks/${encodeURIComponent(row.id)}/panel` : `${base}/panel`).catch((e: Error) => e);
  if (mine !== opening) return;
  if (html instanceof Error) return void (quiet || drawer.replaceChildren(h("div", { class: "body" }, h("p", { class: "err" }, tr("This did not load: {why}", { why: html.message })))));
  if (quiet && drawer.contains(document.activeElement)) return;
  drawer.replaceChildren(fragment(html));
  if (split.classList.contains("shut")) {
    split.classList.remove("shut");
    layout();
    const to = reveal(view, rows.indexOf(at.t), at.r);
    wrap.scrollTo(to.left, to.top);
  }
  const log = $(".log", drawer);
  if (log) log.scrollTop = 1e6;
}

function shut(): void {
  opening++;
  split.classList.add("shut");
  layout();
  wrap.focus();
}

/* ---- keys ---- */
const STEP: Record<string, [number, number]> = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0], PageDown: [12, 0], PageUp: [-12, 0], Home: [0, -1e6], End: [0, 1e6] };
wrap.addEventListener("keydown", (e) => {
  const step = STEP[e.key];
  if (step && model.width) {
    e.preventDefault();
    const k = Math.max(-1, Math.min(rows.length - 1, (selected ? rows.indexOf(selected.t) : -1) + step[0]));
    const r = Math.max(0, Math.min(model.width - 1, (selected?.r ?? model.width - 1) + (selected ? step[1] : 0)));
    return select({ t: k < 0 ? -1 : rows[k]!, r });
  }
  if (!selected) return;
  if (e.key === "Enter") void openDrawer(selected);
  if (e.key === " " && model.rows[selected.t]?.group) {
    e.preventDefault();
    fold(selected.t);
  }
});
document.addEventListener("keydown", (e) => {
  if (typing(e)) return;
  if (e.key === "Escape" && !split.classList.contains("shut")) shut();
  if (e.key === "f" && !e.ctrlKey && !e.metaKey) nextFailure();
});

function nextFailure(): void {
  const failed = codeOf("failed");
  const start = selected && selected.t >= 0 ? rows.indexOf(selected.t) * model.width + selected.r + 1 : 0;
  const total = rows.length * model.width;
  for (let n = 0; n < total; n++) {
    const j = (start + n) % total;
    const t = rows[Math.floor(j / model.width)]!;
    const r = j % model.width;
    if (model.at(t, r) === failed && !model.rows[t]!.group) {
      wrap.focus();
      select({ t, r });
      return void openDrawer({ t, r });
    }
  }
}

drawer.addEventListener("click", (e) => (e.target as Element).closest("[data-act=shut]") && shut());
$$("#gfold [data-fold]").forEach((button) => button.addEventListener("click", () => {
  folded.clear();
  if (button.dataset.fold === "shut") model.rows.forEach((row) => row.group && folded.add(row.id));
  layout();
}));
$<HTMLInputElement>("#gfilter")?.addEventListener("input", (e) => {
  query = (e.target as HTMLInputElement).value.trim();
  layout();
});
const runsSelect = $<HTMLSelectElement>("#gruns");
if (runsSelect) {
  runsSelect.value = cookie("runs") || "25";
  if (!runsSelect.value) runsSelect.value = "25";
  runsSelect.addEventListener("change", () => {
    setCookie("runs", runsSelect.value);
    void load().then(() => wrap.scrollTo(1e6, wrap.scrollTop));
  });
}
addEventListener("themechange", () => void theme());
addEventListener("acted", () => refreshDrawer());
new ResizeObserver(layout).observe(wrap);
setInterval(() => model.runs.some((r) => r.state === "running") && !document.hidden && repaint(), 1000);

async function start(): Promise<void> {
  await theme();
  await load(true);
  wrap.scrollLeft = 1e6;
  const wanted = new URLSearchParams(location.search);
  const run = model.runs.find((r) => r.id === wanted.get("run"));
  if (!run) return;
  const task = wanted.get("task") ?? undefined;
  for (let p = task === undefined ? -1 : (model.rows[model.row(task)]?.parent ?? -1); p >= 0; p = model.rows[p]!.parent) folded.delete(model.rows[p]!.id);
  layout();
  const at = found(task, run.pk);
  if (at) {
    select(at);
    void openDrawer(at);
  }
}
void start();
// tests read the model, not pixels
(window as unknown as Record<string, unknown>).tracksideGrid = { model, said: () => model.said(), cellAt: (task: string, run: string) => model.state(model.row(task), model.runs.findIndex((r) => r.id === run)) };
