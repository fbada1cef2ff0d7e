/* Single letters outside of fields. A control names its key with data-key; islands listen for theirs. */
import { $, $$, h, icon, typing } from "../lib/dom";
import { flipZone } from "./prefs";
import { openPalette } from "./palette";
import { tr } from "../lib/text";

const HELP: [string, string][] = [
  ["Ctrl K", tr("search")], ["/", tr("search field of the page")], ["G H", tr("home")], ["G D", tr("DAGs")], ["G R", tr("runs")], ["← ↑ ↓ →", tr("move in grid and lists")],
  ["Enter", tr("open")], ["Space", tr("fold a group")], ["Esc", tr("close")], ["T", tr("trigger")], ["C", tr("clear")], ["M", tr("mark")], ["L", tr("log")], ["F", tr("next failure; in a log: follow")],
  ["N", tr("next error in a log")], ["[ ]", tr("older, newer run or try")], ["U D", tr("graph: upstream, downstream")], ["0 + -", tr("graph: fit, zoom")], ["Z", tr("time zone")],
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
    const close = h("button", { class: "ibtn sm", "aria-label": tr("Close") }, icon("i-x"));
    dialog = h("dialog", { id: "keys", "aria-label": tr("Keys") }, h("form", { method: "dialog", class: "dlg" }, h("header", {}, h("h2", { class: "grow" }, tr("Keys")), close), h("div", { class: "body" }, list)));
    document.body.append(dialog);
  }
  dialog.showModal();
}
