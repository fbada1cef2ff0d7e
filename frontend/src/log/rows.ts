/* Records as rows of the page: number, time, level, coloured text, hits of the search, buttons of folds. */
import { h } from "../lib/dom";
import { logTime } from "../lib/time";
import { ansi, plainStyle, type Style } from "./ansi";
import type { Part } from "./expand";
import type { Rec } from "./records";

export interface Look {
  /** Number of the record that the address or the keys are at. */
  at: ReadonlySet<number>;
  /** Where the text that is searched for is; null without a search. */
  hits: RegExp | null;
  hit: number;
  /** Whether the group or traceback of this record is open; null when it heads none. */
  group: (n: number) => boolean | null;
  trace: (n: number) => boolean;
}

const LONG = 5000;

/** A pattern for what is searched for, as the browser understands it; null when there is nothing to mark. */
export function pattern(text: string, regex: boolean): RegExp | null {
  if (!text) return null;
  try {
    return new RegExp(regex ? text : text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"), "gi");
  } catch {
    return null; // the server's expressions know more
  }
}

/** Rows `from` to `to` of a record's lines. Colours go on from line to line. */
export function rowsOf(rec: Rec, parts: Part[], from: number, to: number, look: Look): HTMLElement[] {
  const style = plainStyle();
  const made: HTMLElement[] = [];
  for (let k = 0; k < Math.min(to, parts.length); k++) {
    const [text, kind] = parts[k]!;
    if (k < from) ansi(text, style);
    else made.push(row(rec, text, kind, style, look));
  }
  return made;
}

function row(rec: Rec, text: string, kind: Part[1], style: Style, look: Look): HTMLElement {
  const first = kind === "" || kind === "group";
  const span = h("span");
  const group = kind === "group" ? look.group(rec.n) : null;
  if (group !== null || kind === "fold") {
    if (kind === "fold") span.append("      ");
    const open = group ?? look.trace(rec.n);
    span.append(h("button", { type: "button", class: "foldbtn", tabindex: "-1", "aria-expanded": String(open), [kind === "fold" ? "data-trace" : "data-group"]: String(rec.n) }, ...marked(text, rec.n, look)));
  } else {
    if (first && rec.level !== "debug") span.append(h("i", { class: "lv" }, rec.level === "warning" ? "WARN  " : rec.level.toUpperCase().padEnd(6)));
    else span.append("      ");
    for (const piece of ansi(text, style)) {
      const parts = marked(piece.text, rec.n, look);
      if (piece.css) span.append(h("span", { class: piece.css }, ...parts));
      else span.append(...parts);
    }
  }
  const number = first ? h("a", { href: `#L${rec.n}`, tabindex: "-1", id: `L${rec.n}` }, String(rec.n)) : h("i");
  const marks = `l${first && look.at.has(rec.n) ? " at" : ""}${kind === "err" || kind === "tb" ? " trace" : ""}`;
  return h("div", { class: marks, "data-lv": rec.level, "data-n": String(rec.n) }, number, h("time", {}, first ? logTime(rec.time) : ""), span);
}

/** A record that is on its way. */
export function waiting(): HTMLElement {
  return h("div", { class: "l wait", "aria-hidden": "true" }, h("i"), h("time"), h("span", {}, "…"));
}

function marked(text: string, n: number, look: Look): (Node | string)[] {
  if (!look.hits || text.length > LONG) return [text];
  const out: (Node | string)[] = [];
  let from = 0;
  for (const match of text.matchAll(look.hits)) {
    if (!match[0]) continue;
    out.push(text.slice(from, match.index), h("mark", look.hit === n ? { class: "now" } : {}, match[0]));
    from = match.index + match[0].length;
  }
  out.push(text.slice(from));
  return out;
}
