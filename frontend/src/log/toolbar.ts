/* The log's tools: search, levels, sources, next error, times, wrapping, download, follow. Says what was asked, does nothing itself. */
import { $, h, icon } from "../lib/dom";
import { LEVELS, SOURCES } from "./records";
import { number, tr } from "../lib/text";

export interface Wishes {
  search: (text: string, regex: boolean) => void;
  step: (by: 1 | -1) => void;
  hide: (levels: Set<string>, sources: Set<string>) => void;
  error: () => void;
  follow: () => void;
  look: (css: string, on: boolean) => void;
}

const NAMES: Record<string, string> = { warning: "Warn", log: "Logging", stdout: "stdout", stderr: "stderr", system: "Trackside" }; // as in the log itself
const name = (key: string): string => NAMES[key] ?? key.charAt(0).toUpperCase() + key.slice(1);

export class Toolbar {
  el: HTMLElement;
  #found = h("span", { id: "qn", class: "t2", "aria-live": "polite" });
  #levels: HTMLElement[];
  #sources: HTMLElement[];
  #sourceBox: HTMLElement;
  #error: HTMLElement;
  #follow: HTMLElement;

  constructor(wishes: Wishes, download: string) {
    const input = h("input", { class: "in", type: "search", "data-search": "", placeholder: tr("Search log"), "aria-label": tr("Search log") });
    const regex = this.#small(tr("Regular expression"), ".*", () => {
      regex.setAttribute("aria-pressed", String(regex.getAttribute("aria-pressed") !== "true"));
      ask();
    });
    regex.setAttribute("aria-pressed", "false");
    let typing: ReturnType<typeof setTimeout>;
    const ask = (): void => wishes.search(input.value, regex.getAttribute("aria-pressed") === "true");
    input.oninput = () => {
      clearTimeout(typing);
      typing = setTimeout(ask, 200);
    };
    input.onkeydown = (e) => e.key === "Enter" && wishes.step(e.shiftKey ? -1 : 1);
    const chosen = (buttons: HTMLElement[]): Set<string> => new Set(buttons.filter((b) => b.getAttribute("aria-pressed") === "false").map((b) => b.dataset.key ?? ""));
    const choice = (key: string, kind: string): HTMLElement => {
      const b = h("button", { type: "button", "aria-pressed": "true", [`data-${kind}`]: key }, name(key), " ", h("span", { class: "cnt" }));
      b.dataset.key = key;
      b.onclick = () => {
        b.setAttribute("aria-pressed", String(b.getAttribute("aria-pressed") !== "true"));
        wishes.hide(chosen(this.#levels), chosen(this.#sources));
      };
      return b;
    };
    this.#levels = LEVELS.map((level) => choice(level, "level"));
    this.#sources = SOURCES.map((source) => choice(source, "source"));
    this.#sourceBox = h("div", { class: "seg lvs hide-s", role: "group", "aria-label": tr("Sources") }, ...this.#sources);
    this.#sourceBox.hidden = true;
    const toggle = (label: string, image: string, css: string, on: boolean, key: string): HTMLElement => {
      const b = h("button", { type: "button", class: "ibtn", "aria-label": label, "data-tip": label, "aria-pressed": String(on), "data-key": key }, icon(`i-${image}`));
      b.onclick = () => {
        const now = b.getAttribute("aria-pressed") !== "true";
        b.setAttribute("aria-pressed", String(now));
        wishes.look(css, now);
      };
      return b;
    };
    const button = (text: string, image: string, css: string, run: () => void): HTMLElement => {
      const b = h("button", { type: "button", class: `btn ${css}` }, icon(`i-${image}`), text);
      b.onclick = run;
      return b;
    };
    this.#error = button(tr("Next error"), "down", "danger hide-s", wishes.error);
    this.#error.hidden = true;
    this.#follow = button(tr("Follow"), "follow", "", wishes.follow);
    const text = h("a", { class: "ibtn hide-s", href: download, "aria-label": tr("Log as text"), "data-tip": tr("Log as text") }, icon("i-download"));
    this.el = h("div", { class: "lbar", role: "toolbar", "aria-label": tr("Log tools") },
      h("div", { class: "searchin" }, icon("i-search"), input, this.#found),
      regex, this.#small(tr("Previous match, Shift Enter"), icon("i-chev-u"), () => wishes.step(-1)), this.#small(tr("Next match, Enter"), icon("i-chev-d"), () => wishes.step(1)),
      h("div", { class: "seg lvs hide-s", role: "group", "aria-label": tr("Levels") }, ...this.#levels), this.#sourceBox, this.#error,
      h("span", { class: "row" }, toggle(tr("Timestamps"), "clock", "nots", true, "s"), toggle(tr("Wrap lines"), "wrap", "wrap", false, "w"), text), this.#follow);
  }

  #small(label: string, content: string | Node, run: () => void): HTMLElement {
    const b = h("button", { type: "button", class: "ibtn sm", "aria-label": label, "data-tip": label }, content);
    b.onclick = run;
    return b;
  }

  following(on: boolean): void {
    this.#follow.setAttribute("aria-pressed", String(on));
  }

  found(text: string, why = ""): void {
    this.#found.textContent = text;
    this.#found.title = why;
  }

  counts(levels: Record<string, number>, sources: Record<string, number>): void {
    const say = (b: HTMLElement, n: number | undefined): string => ($(".cnt", b)!.textContent = n ? number(n) : "");
    this.#levels.forEach((b) => say(b, levels[b.dataset.key ?? ""]));
    this.#sources.forEach((b) => {
      b.hidden = !say(b, sources[b.dataset.key ?? ""]);
    });
    this.#sourceBox.hidden = this.#sources.filter((b) => !b.hidden).length < 2; // one source is no choice
    this.#error.hidden = !levels.error;
  }
}
