/* Search: DAGs, tasks, runs, assets, pages and saved views by name, and what was typed in the logs. Results come from the server as you type. */
import { $, $$, getJson, h, icon } from "../lib/dom";
import { tr } from "../lib/text";

interface Hit { kind: string; text: string; more: string; href: string }

let dialog: HTMLDialogElement | null = null;
let hits: Hit[] = [];
let at = 0;
let asked = 0;
let from = "";

/** Search; or, with an address that answers in the same form, a choice among what it gives (the breadcrumb's switchers). */
export function openPalette(source = "/ui/find?"): void {
  dialog ??= build();
  from = source;
  const input = $<HTMLInputElement>("input", dialog)!;
  input.value = "";
  void ask("");
  dialog.showModal();
}

function build(): HTMLDialogElement {
  const input = h("input", { class: "in", role: "combobox", "aria-expanded": "true", "aria-controls": "pal", "aria-label": tr("Search DAGs, tasks, runs, assets, logs"), placeholder: tr("Search DAGs, tasks, runs, assets, logs"), autocomplete: "off" });
  const list = h("div", { class: "list", id: "pal", role: "listbox", "aria-label": tr("Results") });
  const made = h("dialog", { class: "palette", "aria-label": tr("Search") }, input, list);
  input.oninput = () => void ask(input.value.trim());
  made.onkeydown = (e) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[e.key];
    if (step && hits.length) {
      at = (at + step + hits.length) % hits.length;
      draw();
      e.preventDefault();
    }
    const hit = hits[at];
    if (e.key !== "Enter" || !hit) return;
    if (e.ctrlKey) window.open(hit.href);
    else location.href = hit.href;
  };
  document.body.append(made);
  return made;
}

async function ask(q: string): Promise<void> {
  const mine = ++asked;
  const found = await getJson<Hit[]>(`${from}&q=${encodeURIComponent(q)}`).catch(() => [] as Hit[]);
  if (mine !== asked) return;
  hits = found;
  at = 0;
  draw();
}

function draw(): void {
  const list = $("#pal")!;
  list.replaceChildren(
    ...hits.map((hit, k) => {
      const option = h("div", { role: "option", id: `pal${k}`, "aria-selected": String(k === at) }, icon(`i-${hit.kind}`, "i s"), h("span", { class: "cut grow" }, hit.text), h("span", { class: "t2" }, hit.more));
      option.onclick = () => (location.href = hit.href);
      return option;
    }),
  );
  if (!hits.length) list.append(h("p", { class: "t2 pager" }, tr("Nothing matches.")));
  $("input", dialog!)!.setAttribute("aria-activedescendant", hits.length ? `pal${at}` : "");
  $$('[aria-selected="true"]', list)[0]?.scrollIntoView({ block: "nearest" });
}
