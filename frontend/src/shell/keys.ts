/* Single letters outside of fields. A control names its key with data-key; islands listen for theirs. */
import { $, $$, h, icon, typing } from "../lib/dom";
import { flipZone } from "./prefs";
import { openPalette } from "./palette";

const HELP: [string, string][] = [
  ["Ctrl K", "search"], ["/", "search field of the page"], ["G H", "home"], ["G D", "DAGs"], ["G R", "runs"], ["← ↑ ↓ →", "move in grid and lists"],
  ["Enter", "open"], ["Space", "fold a group"], ["Esc", "close"], ["T", "trigger"], ["C", "clear"], ["M", "mark"], ["L", "log"], ["F", "next failure; in a log: follow"],
  ["N", "next error in a log"], ["[ ]", "older, newer run"], ["U D", "graph: upstream, downstream"], ["0 + -", "graph: fit, zoom"], ["Z", "time zone"],
];

export function keys(): void {
  let leader = 0;
  const words = (document.body.dataset.keys ?? "").split(" ");
  const go = new Map<string, string>();
  for (let k = 0; k + 1 < words.length; k += 2) go.set(words[k]!, words[k + 1]!);
  document.addEventListener("keydown", (e) => {
    if ((e.ctrlKey || e.metaKey) && e.key.toLowerCase() === "k") {
      e.preventDefault();
      return openPalette();
    }
    if (e.ctrlKey || e.metaKey || e.altKey || e.defaultPrevented || typing(e)) return;
    const target = Date.now() - leader < 1200 ? go.get(e.key) : undefined;
    if (target) return void (location.href = target);
    if (e.key === "g") leader = Date.now();
    else if (e.key === "/") focusSearch(e);
    else if (e.key === "?") help();
    else if (e.key === "z") flipZone();
    else {
      const control = $$(`[data-key="${CSS.escape(e.key)}"]`).find((el) => el.getClientRects().length);
      if (control) {
        e.preventDefault();
        control.click();
      }
    }
  });
}

function focusSearch(e: Event): void {
  e.preventDefault();
  const field = $("[data-search]");
  if (field) field.focus();
  else openPalette();
}

function help(): void {
  let dialog = $<HTMLDialogElement>("#keys");
  if (!dialog) {
    const list = h("dl", { class: "kv" });
    for (const [key, what] of HELP) list.append(h("dt", {}, ...key.split(" ").map((k) => h("kbd", {}, k))), h("dd", {}, what));
    const close = h("button", { class: "ibtn sm", "aria-label": "Close" }, icon("i-x"));
    dialog = h("dialog", { id: "keys", "aria-label": "Keys" }, h("form", { method: "dialog", class: "dlg" }, h("header", {}, h("h2", { class: "grow" }, "Keys"), close), h("div", { class: "body" }, list)));
    document.body.append(dialog);
  }
  dialog.showModal();
}
