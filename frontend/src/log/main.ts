/* The log viewer: streams one try, shows what is in view, follows the end, searches, filters levels, links lines. */
import { $, h, icon, throttled, typing } from "../lib/dom";
import { live } from "../lib/live";
import { logTime } from "../lib/time";
import { ansi } from "./ansi";
import { LEVELS, Lines } from "./lines";
import { LINE, scrollTo, windowOf } from "./virtual";

const box = $("#log");
if (box) start(box);

function start(root: HTMLElement): void {
  const lines = new Lines();
  const pane = $(".log", root)!;
  const tail = $(".tail", root)!;
  const inner = h("div", { class: "rowsbox" });
  let following = true;
  let complete = false;
  let current = anchor(); // number of the record that the address names
  let spot = -1; // line (of all) where the keys are
  let hits: number[] = [];
  let hit = -1;
  let wanted = "";
  let frame = 0;

  const bar = toolbar();
  root.parentElement!.insertBefore(bar.el, root);
  pane.classList.remove("static");
  pane.replaceChildren(inner);

  function anchor(): number {
    return /^#L(\d+)$/.test(location.hash) ? +location.hash.slice(2) : 0;
  }

  /* ---- drawing ---- */
  function draw(): void {
    frame ||= requestAnimationFrame(() => {
      frame = 0;
      const wrap = pane.classList.contains("wrap");
      const total = lines.shown.length;
      // wrapped lines have no fixed height: then what surrounds the position is drawn, 2,000 lines at most
      const view = wrap ? { from: Math.max(0, total - 2000), to: total, offset: 0, height: 0 } : windowOf(total, pane.scrollTop, pane.clientHeight);
      inner.style.height = wrap ? "" : `${view.height}px`;
      inner.style.paddingTop = `${view.offset}px`;
      const style = { colour: "", bold: false, dim: false };
      inner.replaceChildren(...lines.shown.slice(view.from, view.to).map((k) => row(k, style)));
      if (following) pane.scrollTop = pane.scrollHeight;
    });
  }

  function row(k: number, style: { colour: string; bold: boolean; dim: boolean }): HTMLElement {
    const line = lines.all[k]!;
    const first = line.kind === "" || line.kind === "group";
    const text = h("span");
    if (line.heads >= 0) {
      if (line.kind === "fold") text.append("      ");
      const open = lines.folds[line.heads]!.open;
      text.append(h("button", { type: "button", class: "foldbtn", tabindex: "-1", "aria-expanded": String(open), "data-fold": String(line.heads) }, ...marked(line.text, k)));
    } else if (first && line.level !== "debug") text.append(h("i", { class: "lv" }, line.level === "warning" ? "WARN  " : line.level.toUpperCase().padEnd(6)));
    else text.append("      ");
    if (first) Object.assign(style, { colour: "", bold: false, dim: false });
    for (const piece of line.heads >= 0 ? [] : ansi(line.text, style)) {
      const parts = marked(piece.text, k);
      text.append(piece.css ? h("span", { class: piece.css }, ...parts) : "", ...(piece.css ? [] : parts));
    }
    const number = first ? h("a", { href: `#L${line.n}`, tabindex: "-1", id: `L${line.n}` }, String(line.n)) : h("i");
    const marks = `l${k === spot || (first && line.n === current) ? " at" : ""}${line.kind === "err" || line.kind === "tb" ? " trace" : ""}`;
    return h("div", { class: marks, "data-lv": line.level }, number, h("time", {}, logTime(line.time)), text);
  }

  function marked(text: string, k: number): (Node | string)[] {
    if (!wanted) return [text];
    const out: (Node | string)[] = [];
    const low = text.toLowerCase();
    let from = 0;
    for (let i = low.indexOf(wanted); i >= 0; i = low.indexOf(wanted, from)) {
      out.push(text.slice(from, i), h("mark", hits[hit] === k ? { class: "now" } : {}, text.slice(i, i + wanted.length)));
      from = i + wanted.length;
    }
    out.push(text.slice(from));
    return out;
  }

  /* ---- moving ---- */
  function follow(on: boolean): void {
    following = on;
    bar.follow.setAttribute("aria-pressed", String(on));
    if (on) pane.scrollTop = pane.scrollHeight;
    say();
  }

  function go(at: number, mark = true): void {
    if (at < 0 || at >= lines.shown.length) return;
    follow(false);
    spot = lines.shown[at]!;
    if (mark) {
      current = lines.all[lines.shown[at]!]!.n;
      history.replaceState(null, "", `${location.pathname}${location.search}#L${current}`);
    }
    inner.style.height = `${windowOf(lines.shown.length, 0, pane.clientHeight).height}px`; // tall enough to scroll there
    pane.scrollTop = scrollTo(lines.shown.length, at, pane.clientHeight);
    pane.scrollLeft = 0;
    draw();
  }

  function unfold(fold: number): void {
    follow(false);
    lines.toggle(fold);
    draw();
  }

  const here = (): number => (spot >= 0 ? lines.place(spot) : current ? lines.position(current) : Math.round(pane.scrollTop / LINE));

  function search(text: string): void {
    wanted = text.length > 1 ? text.toLowerCase() : "";
    hits = lines.search(wanted);
    hit = -1;
    step(1);
  }

  function step(d: number): void {
    if (hits.length) {
      hit = (hit + d + hits.length) % hits.length;
      go(lines.reveal(hits[hit]!), false);
    }
    bar.found.textContent = wanted ? (hits.length ? `${hit + 1} / ${hits.length}` : "0") : "";
    draw();
  }

  /* ---- tools ---- */
  function toolbar(): { el: HTMLElement; follow: HTMLElement; found: HTMLElement; levels: HTMLElement[]; error: HTMLElement } {
    const input = h("input", { class: "in", type: "search", "data-search": "", placeholder: "Search log", "aria-label": "Search log" });
    const found = h("span", { id: "qn", class: "t2", "aria-live": "polite" });
    input.oninput = () => search(input.value);
    input.onkeydown = (e) => e.key === "Enter" && step(e.shiftKey ? -1 : 1);
    const small = (label: string, name: string, run: () => void): HTMLElement => {
      const b = h("button", { type: "button", class: "ibtn sm", "aria-label": label, "data-tip": label }, icon(`i-${name}`));
      b.onclick = run;
      return b;
    };
    const levels = LEVELS.map((level) => {
      const b = h("button", { type: "button", "aria-pressed": "true", "data-level": level }, level === "warning" ? "Warn" : level.charAt(0).toUpperCase() + level.slice(1), " ", h("span", { class: "cnt" }));
      b.onclick = () => {
        const off = new Set(lines.hidden);
        if (!off.delete(level)) off.add(level);
        b.setAttribute("aria-pressed", String(!off.has(level)));
        lines.filter(off);
        search(input.value);
        draw();
      };
      return b;
    });
    const toggle = (label: string, name: string, css: string, on: boolean, inverse: boolean): HTMLElement => {
      const b = h("button", { type: "button", class: "ibtn", "aria-label": label, "data-tip": label, "aria-pressed": String(on), "data-key": css === "wrap" ? "w" : "s" }, icon(`i-${name}`));
      b.onclick = () => {
        const now = b.getAttribute("aria-pressed") !== "true";
        b.setAttribute("aria-pressed", String(now));
        pane.classList.toggle(css, inverse ? !now : now);
        draw();
      };
      return b;
    };
    const button = (text: string, name: string, css: string, run: () => void): HTMLElement => {
      const b = h("button", { type: "button", class: `btn ${css}` }, icon(`i-${name}`), text);
      b.onclick = run;
      return b;
    };
    const error = button("Next error", "down", "danger hide-s", () => go(lines.nextError(here())));
    error.hidden = true;
    const followButton = button("Follow", "follow", "", () => follow(!following));
    followButton.setAttribute("aria-pressed", "true");
    const download = h("a", { class: "ibtn hide-s", href: root.dataset.download ?? "#", "aria-label": "Log as text", "data-tip": "Log as text" }, icon("i-download"));
    const el = h("div", { class: "lbar", role: "toolbar", "aria-label": "Log tools" },
      h("div", { class: "searchin" }, icon("i-search"), input, found), small("Previous match, Shift Enter", "chev-u", () => step(-1)), small("Next match, Enter", "chev-d", () => step(1)),
      h("div", { class: "seg lvs hide-s", role: "group", "aria-label": "Levels" }, ...levels), error,
      h("span", { class: "row" }, toggle("Timestamps", "clock", "nots", true, true), toggle("Wrap lines", "wrap", "wrap", false, false), download), followButton);
    return { el, follow: followButton, found, levels, error };
  }

  function say(): void {
    const text = complete ? `Complete: ${lines.records.toLocaleString("en")} line${lines.records === 1 ? "" : "s"}.` : following ? "Following. New lines appear here." : "Not following: scroll to the end or press F.";
    const span = $("span", tail);
    if (span) span.textContent = text;
  }

  const counted = throttled(() => {
    bar.levels.forEach((b) => ($(".cnt", b)!.textContent = String(lines.counts[b.dataset.level ?? ""] || "")));
    bar.error.hidden = !lines.counts.error;
    if (wanted) hits = lines.search(wanted);
    say();
  }, 250, 0);

  /* ---- input ---- */
  pane.addEventListener("scroll", () => {
    const atEnd = pane.scrollTop + pane.clientHeight >= pane.scrollHeight - 4;
    if (atEnd && !following && !complete) follow(true);
    draw();
  }, { passive: true });
  pane.addEventListener("wheel", (e) => e.deltaY < 0 && following && follow(false), { passive: true });
  pane.addEventListener("click", (e) => {
    const fold = (e.target as Element).closest<HTMLElement>("[data-fold]")?.dataset.fold;
    if (fold) return unfold(+fold);
    const link = (e.target as Element).closest<HTMLAnchorElement>(".l > a");
    if (!link) return;
    e.preventDefault();
    current = +link.hash.slice(2);
    spot = -1;
    follow(false);
    history.replaceState(null, "", `${location.pathname}${location.search}${link.hash}`);
    draw();
  });
  document.addEventListener("keydown", (e) => {
    if (typing(e) || e.ctrlKey || e.metaKey || e.altKey) return;
    if (e.key === "f") follow(!following);
    else if (e.key === "End") follow(true);
    else if ((e.key === "Enter" || e.key === " ") && document.activeElement === pane) {
      const heads = lines.all[lines.shown[here()] ?? -1]?.heads ?? -1;
      if (heads < 0) return;
      e.preventDefault();
      unfold(heads);
    }
    else if (e.key === "n") go(lines.nextError(here()));
    else if (e.key === "j" || e.key === "k") go(Math.max(0, Math.min(lines.shown.length - 1, here() + (e.key === "j" ? 1 : -1))));
  });
  addEventListener("hashchange", () => {
    current = anchor();
    if (current) go(lines.position(current));
  });
  new ResizeObserver(draw).observe(pane);

  /* ---- stream ---- */
  const opening = current;
  let placed = false;
  if (opening) following = false;
  live().subscribe({
    topic: `log:${root.dataset.try}:0`,
    cursor: null,
    onLog: (part) => {
      lines.add(part.lines);
      complete = part.complete;
      if (opening && !placed && lines.records >= opening) {
        placed = true;
        go(lines.position(opening));
      } else if (complete && !placed && !opening) {
        placed = true;
        const error = lines.nextError(-1);
        if (error >= 0) go(error, false); // a finished log opens at its first error
        else follow(lines.shown.length < 200 ? false : following);
      }
      counted();
      draw();
    },
    onResync: () => undefined, // log frames carry offsets: nothing is ever skipped
    onRefused: (why) => ($("span", tail)!.textContent = why),
  });
  follow(following);
}
