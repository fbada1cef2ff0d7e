/* The log viewer: shows what is in view of a log of any length, follows its end, links lines, walks through hits and errors.

   `store.ts` knows what is where, `source.ts` asks the server, `rows.ts` draws. Windows come by HTTP; the socket brings
   only what is added after the last record that is known. */
import { $, h, throttled, typing } from "../lib/dom";
import { live, type LogFrame } from "../lib/live";
import { shownParts } from "./records";
import { pattern, rowsOf, waiting, type Look } from "./rows";
import { Source } from "./source";
import { BLOCK, Store, type Hidden, type Window } from "./store";
import { Toolbar } from "./toolbar";
import { LINE, scrollTo, topOf, topRow, windowOf } from "./virtual";
import { number, tr, trn } from "../lib/text";

const MAX_HITS = 10_000;
const AT_ONCE = 2;
const SHORT = 200;

const box = $("#log");
if (box) start(box);

function start(root: HTMLElement): void {
  const store = new Store();
  (window as unknown as { tracksideLog: Store }).tracksideLog = store;
  const source = new Source(root.dataset.log ?? "");
  const topic = `log:${root.dataset.try}`;
  const pane = $(".log", root)!;
  const tail = $("span", $(".tail", root)!)!;
  const inner = h("div", { class: "rowsbox" });
  const bar = new Toolbar({ search, step, hide, error: () => void nextError(), follow: () => follow(!following), look }, root.dataset.download ?? "#");
  let generation = 0; // of the view: answers for an older one are dropped
  let following = true;
  let current = anchor(); // number of the record that the address names
  let spot = -1; // rank where the keys are
  let aim: { rank: number; hit: boolean } | null = null; // stays in the middle until a person scrolls
  let asked = { text: "", regex: false, scanned: 0, busy: false, more: false };
  let hits: [n: number, rank: number][] = [];
  let hit = -1;
  let marks: RegExp | null = null;
  let frame = 0;
  const asking = new Set<number>();

  root.parentElement!.insertBefore(bar.el, root);

  function anchor(): number {
    return /^#L(\d{1,15})$/.test(location.hash) ? +location.hash.slice(2) : 0;
  }

  /* ---- drawing ---- */
  function draw(): void {
    frame ||= requestAnimationFrame(() => {
      frame = 0;
      if (!inner.isConnected) return;
      paint();
      if (pane.classList.contains("wrap") && measure()) paint();
      if (following) pane.scrollTop = pane.scrollHeight;
    });
  }

  function paint(): void {
    const wrap = pane.classList.contains("wrap");
    const room = pane.clientHeight;
    const height = windowOf(store.rows, 0, room).height;
    const view = windowOf(store.rows, following ? Math.max(0, height - room) : pane.scrollTop, room);
    const first = store.placeAt(view.from);
    const rows: HTMLElement[] = [];
    const look: Look = { at: new Set([current, store.at(spot)?.n ?? 0]), hits: marks, hit: hits[hit]?.[0] ?? 0, group: (n) => store.isOpen(n), trace: (n) => store.traceOpen(n) };
    let row = view.from - first.sub;
    let place = first.place;
    for (; row < view.to && place < store.places; place++) {
      const rec = store.at(store.rank(place));
      if (!rec) rows.push(waiting());
      else rows.push(...rowsOf(rec, shownParts(rec, store.traceOpen(rec.n)), wrap ? 0 : Math.max(0, view.from - row), wrap ? Infinity : view.to - row, look));
      row += rec ? store.rowsOf(rec) : 1;
    }
    inner.style.height = `${height}px`;
    inner.style.setProperty("--digits", String(`${store.records}`.length)); // numbers of lines have one column
    inner.style.paddingTop = `${Math.max(0, view.offset - (wrap ? first.sub * LINE : 0))}px`;
    inner.replaceChildren(...rows);
    fetchMissing(first.place, place);
  }

  /** Wrapped lines take as many rows as they take. True when that changed what lies where. */
  function measure(): boolean {
    const rows = new Map<number, number>();
    for (const el of inner.children) {
      const n = +((el as HTMLElement).dataset.n ?? 0);
      if (n) rows.set(n, (rows.get(n) ?? 0) + Math.max(1, Math.round((el as HTMLElement).offsetHeight / LINE)));
    }
    let changed = false;
    keeping(() => rows.forEach((count, n) => (changed = store.measure(n, count) || changed)));
    return changed;
  }

  /** What is at the top edge stays there, whatever changes above it. */
  function keeping(change: () => void): void {
    if (following) return change();
    const room = pane.clientHeight;
    const top = topRow(store.rows, pane.scrollTop, room);
    const at = store.placeAt(top.row);
    const rank = store.rank(at.place);
    change();
    if (aim) return settle();
    const place = store.place(rank);
    const scroll = topOf(store.rows, store.row(place) + (store.rank(place) === rank ? at.sub : 0), top.px, room);
    if (Math.abs(scroll - pane.scrollTop) < 1) return;
    inner.style.height = `${windowOf(store.rows, 0, room).height}px`;
    pane.scrollTop = scroll;
  }

  function fetchMissing(from: number, to: number): void {
    for (const rank of store.missing(from, to)) {
      if (asking.size >= AT_ONCE) return;
      if (asking.has(rank)) continue;
      asking.add(rank);
      const mine = generation;
      void source.block(rank, store.hidden).then((part) => {
        if (mine === generation) arrived(part, rank);
      }, (error) => (tail.textContent = tr("The log did not load: {why} Scroll to try again.", { why: (error as Error).message }))).finally(() => asking.delete(rank)).then(() => mine === generation && inner.childElementCount && draw(), () => undefined);
    }
  }

  function arrived(part: Window, rank: number): void {
    if (!part.lines.length) throw new Error(tr("There is nothing at this place any more."));
    keeping(() => {
      store.put(part);
      store.evict(rank);
    });
  }

  /* ---- moving ---- */
  function follow(on: boolean): void {
    following = on;
    if (on) aim = null;
    bar.following(on);
    say();
    draw();
  }

  /** Put what is aimed at into the middle; a hit inside of a folded traceback opens it. */
  function settle(): void {
    if (!aim) return;
    const rec = store.at(aim.rank);
    if (rec && aim.hit && marks && !store.traceOpen(rec.n)) {
      const holds = (parts: [string, string][]): boolean => parts.some(([text]) => text.search(marks!) >= 0);
      if (!holds(shownParts(rec, false)) && holds(rec.parts)) store.toggleTrace(rec.n);
    }
    const room = pane.clientHeight;
    inner.style.height = `${windowOf(store.rows, 0, room).height}px`; // tall enough to scroll there
    pane.scrollTop = scrollTo(store.rows, store.row(store.place(aim.rank)), room);
  }

  function go(rank: number, isHit = false): void {
    if (rank < 0 || rank >= store.shown) return;
    following = false;
    spot = rank;
    store.reveal(rank);
    aim = { rank, hit: isHit };
    settle();
    pane.scrollLeft = 0;
    follow(false);
  }

  function link(n: number): void {
    current = n;
    history.replaceState(history.state, "", `${location.pathname}${location.search}#L${n}`);
  }

  async function goLine(n: number): Promise<void> {
    const mine = generation;
    const part = await source.line(n, store.hidden);
    if (mine !== generation) return;
    if (!part.lines.length) return follow(!store.complete); // beyond the end: it may still come
    store.put(part);
    go(part.at);
  }

  async function nextError(): Promise<void> {
    const found = await source.error(numberHere(), store.hidden);
    if (!found) return;
    link(found[0]);
    go(found[1]);
  }

  const placeHere = (): number => (spot >= 0 ? store.place(spot) : store.placeAt(topRow(store.rows, pane.scrollTop, pane.clientHeight).row).place);
  const numberHere = (): number => store.at(store.rank(placeHere()))?.n ?? 0;

  /* ---- searching, by the server ---- */
  function search(text: string, regex: boolean): void {
    asked = { text: text.length > 1 || regex ? text : "", regex, scanned: 0, busy: false, more: false };
    marks = pattern(asked.text, regex);
    hits = [];
    hit = -1;
    void goOn();
  }

  async function goOn(): Promise<void> {
    const mine = asked;
    if (!mine.text || mine.busy) return sayFound();
    mine.busy = mine.more = true;
    try {
      for (let after: number | null = mine.scanned; after !== null && hits.length < MAX_HITS; ) {
        sayFound();
        const found = await source.find(mine.text, mine.regex, after, store.hidden);
        if (mine !== asked) return;
        hits.push(...found.hits);
        mine.scanned = found.scanned;
        mine.more = found.next !== null;
        after = found.next;
        if (hit < 0 && hits.length) step(1);
      }
      sayFound();
    } catch (error) {
      if (mine === asked) bar.found("!", (error as Error).message);
    } finally {
      mine.busy = false;
      draw();
    }
  }

  function sayFound(): void {
    const more = asked.more ? "+" : "";
    bar.found(!asked.text ? "" : hits.length ? `${number(hit + 1)} / ${number(hits.length)}${more}` : more ? "…" : "0");
  }

  function step(by: 1 | -1): void {
    if (hits.length) {
      hit = (hit + by + hits.length) % hits.length;
      go(hits[hit]![1], true);
    }
    sayFound();
    draw();
  }

  function hide(levels: Set<string>, sources: Set<string>): void {
    const n = numberHere();
    void load({ levels, sources }).then(() => {
      spot = -1;
      if (asked.text) search(asked.text, asked.regex);
      if (!following) void goLine(Math.max(1, n));
    });
  }

  function look(css: string, on: boolean): void {
    keeping(() => {
      pane.classList.toggle(css, css === "nots" ? !on : on);
      store.unmeasure();
    });
    draw();
  }

  function say(): void {
    const n = store.records;
    tail.textContent = store.complete ? trn("Complete: {n} line.", "Complete: {n} lines.", n) : following ? tr("Following. New lines appear here.") : trn("{n} line so far. Not following: scroll to the end or press F.", "{n} lines so far. Not following: scroll to the end or press F.", n);
  }

  const counted = throttled(() => {
    bar.counts(store.levels, store.sources);
    if (asked.text && asked.scanned < store.records && !asked.more) void goOn();
    say();
  }, 500, 0);

  /* ---- input ---- */
  const free = (): void => void (aim = null);
  pane.addEventListener("scroll", () => {
    const atEnd = pane.scrollTop + pane.clientHeight >= pane.scrollHeight - 4;
    if (atEnd && !following && !store.complete && !aim) follow(true);
    draw();
  }, { passive: true });
  pane.addEventListener("wheel", (e) => {
    free();
    if (e.deltaY < 0 && following) follow(false);
  }, { passive: true });
  for (const name of ["pointerdown", "touchmove"]) pane.addEventListener(name, () => {
    free();
    if (following && store.rows * LINE > pane.clientHeight) follow(false);
  }, { passive: true });
  pane.addEventListener("click", (e) => {
    const button = (e.target as Element).closest<HTMLElement>(".foldbtn");
    if (button?.dataset.group) return unfold(() => store.toggle(+button.dataset.group!));
    if (button?.dataset.trace) return unfold(() => store.toggleTrace(+button.dataset.trace!));
    const to = (e.target as Element).closest<HTMLAnchorElement>(".l > a");
    if (!to) return;
    e.preventDefault();
    link(+to.hash.slice(2));
    spot = -1;
    follow(false);
  });

  function unfold(change: () => void): void {
    free();
    follow(false);
    keeping(change);
  }

  document.addEventListener("keydown", (e) => {
    if (typing(e) || e.ctrlKey || e.metaKey || e.altKey) return;
    if (e.key === "f") follow(!following);
    else if (e.key === "End") {
      e.preventDefault();
      follow(true);
    } else if (e.key === "Home" || e.key.startsWith("Page") || e.key.startsWith("Arrow")) {
      if (document.activeElement !== pane) return;
      free();
      if (e.key !== "PageDown" && e.key !== "ArrowDown") follow(false);
    } else if ((e.key === "Enter" || e.key === " ") && document.activeElement === pane) {
      const rec = store.at(store.rank(placeHere()));
      if (!rec) return;
      const trace = rec.parts.some(([, kind]) => kind === "fold");
      if (store.isOpen(rec.n) === null && !trace) return;
      e.preventDefault();
      unfold(() => (trace ? store.toggleTrace(rec.n) : store.toggle(rec.n)));
    } else if (e.key === "n") void nextError();
    else if (e.key === "j" || e.key === "k") {
      go(store.rank(Math.max(0, Math.min(store.places - 1, placeHere() + (e.key === "j" ? 1 : -1)))));
      if (store.at(spot)) link(store.at(spot)!.n);
    }
  });
  addEventListener("hashchange", () => {
    current = anchor();
    if (current) void goLine(current);
  });
  new ResizeObserver(() => {
    if (pane.classList.contains("wrap")) store.unmeasure();
    draw();
  }).observe(pane);

  /* ---- the log ---- */
  /** What the log holds now, for these hidden levels and sources; the socket goes on after it. */
  async function load(hidden: Hidden): Promise<void> {
    const mine = ++generation;
    live().unsubscribe(`${topic}:0`);
    const told = await source.about(hidden);
    if (mine !== generation) return;
    asking.clear();
    store.reset(told, hidden);
    bar.counts(store.levels, store.sources);
    say();
    draw();
    if (!store.complete) live().subscribe({
      topic: `${topic}:${store.size}`, cursor: null, onLog: hear,
      onResync: () => undefined, // log frames carry offsets: nothing is ever skipped
      onRefused: (why) => (tail.textContent = why),
    });
  }

  function hear(part: LogFrame): void {
    if (part.behind || part.from > store.size) return void load(store.hidden);
    if (part.from < store.size) return;
    const end = store.shown;
    keeping(() => {
      store.append(part.lines, part.to, part.complete);
      store.evict(following ? store.shown : store.rank(store.placeAt(topRow(store.rows, pane.scrollTop, pane.clientHeight).row).place));
    });
    if (following && end !== store.shown) spot = -1;
    counted();
    draw();
  }

  /** The page that came with the lines stays until there is something to show instead. */
  async function open(): Promise<void> {
    if (current) following = false;
    await load(store.hidden);
    const error = store.complete && !current ? await source.error(0, store.hidden) : null;
    const atEnd = !current && !error && (!store.complete || store.rows > SHORT);
    const first = current ? await source.line(current, store.hidden) : null;
    const rank = first?.lines.length ? first.at : error ? error[1] : atEnd ? Math.max(0, store.shown - 1) : 0;
    if (store.shown) store.put(await source.block(rank - (rank % BLOCK), store.hidden));
    pane.classList.remove("static");
    pane.replaceChildren(inner);
    if (error || first?.lines.length) go(rank); // a finished log opens at its first error
    else follow(atEnd || current > 0);
  }

  void open().catch((error) => (tail.textContent = tr("The log did not load: {why}", { why: (error as Error).message })));
}
