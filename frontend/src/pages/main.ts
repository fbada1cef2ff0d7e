/* Live lists and pages that the server draws. An event changes what it names at once (glyph and word); everything else
   of the row or region is asked for again, a moment later and all together. */
import { $, $$, again, fragment, getHtml, glyph, h, throttled } from "../lib/dom";
import { live, type LiveEvent } from "../lib/live";
import { label } from "../lib/states";
import { bars, refocus } from "./bars";
import { newest as newestOf } from "./changes";
import { trn, tr } from "../lib/text";

bars();
for (const box of $$("[data-live-topic]")) (box.dataset.rows ? rows : regions)(box);

/** The list of DAGs: rows of DAGs with news are replaced. */
function rows(box: HTMLElement): void {
  const dirty = new Set<string>();
  const refresh = throttled(() => {
    const ids = [...dirty].filter((id) => $(`[data-dag="${CSS.escape(id)}"]`, box)).slice(0, 50);
    dirty.clear();
    if (!ids.length) return;
    const query = ids.map((id) => `id=${encodeURIComponent(id)}`).join("&");
    void getHtml(`${box.dataset.rows}?${query}`).then((html) => {
      later.fine();
      for (const row of $$("tr[data-dag]", fragment(html))) {
        const old = $(`[data-dag="${CSS.escape(row.dataset.dag ?? "")}"]`, box);
        if (old && (!old.contains(document.activeElement) || refocus(old))) keepChoice(old, row);
      }
    }, () => {
      ids.forEach((id) => dirty.add(id));
      later.failed();
    });
  }, 500, 40);
  const later = again(refresh);
  const note = (id: string | null): void => {
    if (id) dirty.add(id);
    refresh();
  };
  live().subscribe({
    topic: box.dataset.liveTopic ?? "",
    cursor: box.dataset.cursor ?? null,
    onEvents: (events) => events.forEach((e) => note(e[4])),
    onResync: () => $$("tr[data-dag]", box).forEach((r) => note(r.dataset.dag ?? null)),
  });
}

/** A row drawn anew stays chosen. */
function keepChoice(old: HTMLElement, row: HTMLElement): void {
  const [was, box] = [old, row].map((el) => $<HTMLInputElement>("input[name=dag]", el));
  if (was && box) box.checked = was.checked;
  const back = refocus(old);
  old.replaceWith(row);
  back?.(row);
}

const counter = (): void => {
  const text = $("[data-chosen]");
  const n = $$("input[name=dag]:checked").length;
  if (text) text.textContent = n ? trn("{n} chosen", "{n} chosen", n) : tr("Chosen DAGs");
};
document.addEventListener("change", counter);

/** A page of one run or task, home, a list of runs: its regions are asked for again, from the page or from what gives only them.
    Events of a minor kind redraw it seldom: the head of a DAG need not follow each of its tasks. */
function regions(box: HTMLElement): void {
  const from = box.dataset.from ?? location.href;
  const targets = (box.dataset.refresh ?? "").split(",");
  let asked = 0;
  let answered = 0;
  const refresh = throttled(() => {
    const mine = ++asked;
    void redraw(from, targets, () => mine >= answered && (answered = mine) > 0).then((done) => (done ? later.fine() : later.failed()));
  }, 700, 60);
  const later = again(refresh);
  const seldom = throttled(refresh, 5000, 1000);
  const minor = (event: LiveEvent): boolean => box.dataset.seldom === event[2];
  live().subscribe({
    topic: box.dataset.liveTopic ?? "",
    who: box.id,
    cursor: box.dataset.cursor ?? null,
    onEvents: (events) => {
      patch(events);
      if (events.every(minor)) seldom();
      else refresh();
    },
    onResync: refresh,
  });
  addEventListener("acted", refresh);
  // a process that died says nothing: only home, which shows their health, looks by itself
  if (box.dataset.every) setInterval(() => document.hidden || refresh(), +box.dataset.every * 1000);
}

/** State of task rows, at once. */
function patch(events: LiveEvent[]): void {
  for (const [pk, state] of newestOf(events)) {
    const cell = $(`tr[data-ti="${pk}"] [data-state]`);
    if (cell) cell.replaceChildren(h("span", { class: "st", "data-s": state }, glyph(state), label(state)));
  }
}

/** False when the server did not answer. `newest` says whether no later answer was drawn meanwhile. */
async function redraw(from: string, targets: string[], newest: () => boolean): Promise<boolean> {
  const html = await getHtml(from, { "HX-Request": "false" }).catch(() => null);
  if (html === null) return false;
  if (!newest()) return true;
  const page = new DOMParser().parseFromString(html, "text/html");
  for (const target of targets) {
    const fresh = $(target, page);
    const old = $(target);
    if (fresh && old && !old.contains(document.activeElement) && !old.matches(":hover *:active")) swap(old, fresh);
    else if (fresh && old && old.contains(document.activeElement)) swapAround(old, fresh);
  }
  return true;
}

/** Replace children one by one where they differ, so that unchanged ones keep scroll, focus and selection. */
function swap(old: Element, fresh: Element): void {
  if (old.isEqualNode(fresh)) return;
  const a = [...old.children];
  const b = [...fresh.children];
  if (a.length && a.length === b.length && a.every((el, k) => el.tagName === b[k]!.tagName) && old.childElementCount === old.childNodes.length - blanks(old)) {
    for (const attribute of fresh.getAttributeNames()) old.setAttribute(attribute, fresh.getAttribute(attribute) ?? "");
    a.forEach((el, k) => swap(el, b[k]!));
  } else {
    const copy = document.importNode(fresh, true);
    old.replaceWith(copy);
  }
}

/** The focus is inside: change everything around it. */
function swapAround(old: Element, fresh: Element): void {
  const a = [...old.children];
  const b = [...fresh.children];
  if (a.length !== b.length) return;
  a.forEach((el, k) => (el.contains(document.activeElement) ? swapAround(el, b[k]!) : swap(el, b[k]!)));
}

const blanks = (el: Element): number => [...el.childNodes].filter((n) => n.nodeType === 3 && !n.textContent?.trim()).length;
