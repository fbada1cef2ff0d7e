/* The last runs of a DAG in the list: each bar is a link with a hint, the row has one tab stop for them, arrows move inside.
   The server (templatetags/ui.py `bars`) gives when and how long as numbers; the words are made when the row is looked at. */
import { $$ } from "../lib/dom";
import { label } from "../lib/states";
import { tr } from "../lib/text";
import { duration, moment } from "../lib/time";

const LINK = ".bars a";

/** `Failed, run of Wed 18 Nov 15:00, 1 min 05 s`. */
export function told(state: string, about: string): string {
  const [when, seconds] = about.split(" ").map(Number);
  const text = tr("{state}, run of {when}", { state: label(state), when: moment((when ?? 0) * 1000) });
  return seconds === undefined ? text : `${text}, ${duration(seconds)}`;
}

function name(e: Event): void {
  const row = (e.target as Element).closest?.<HTMLElement>("tr[data-dag]");
  for (const link of row ? $$<HTMLElement>(`${LINK}:not([data-tip])`, row) : []) {
    const text = told(link.querySelector<HTMLElement>("[data-s]")?.dataset.s ?? "", link.dataset.r ?? "");
    link.dataset.tip = text;
    link.setAttribute("aria-label", text);
  }
}

function stop(at: HTMLElement): void {
  for (const link of $$(LINK, at.closest(".bars")!)) link.setAttribute("tabindex", link === at ? "0" : "-1");
  at.focus();
}

function move(e: KeyboardEvent): void {
  const at = (e.target as Element).closest?.<HTMLElement>(LINK);
  if (!at || e.ctrlKey || e.metaKey || e.altKey) return;
  const links = $$(LINK, at.closest(".bars")!);
  const k = links.indexOf(at);
  const to = links[{ ArrowLeft: k - 1, ArrowRight: k + 1, Home: 0, End: links.length - 1 }[e.key] ?? -1];
  if (!to) return;
  e.preventDefault();
  stop(to);
}

/** When the focus is on a bar of this row: what puts it on the same run of the row drawn anew, or on its newest. */
export function refocus(old: HTMLElement): ((row: HTMLElement) => void) | null {
  const at = (document.activeElement as Element | null)?.closest?.(LINK);
  if (!at || !old.contains(at)) return null;
  const href = at.getAttribute("href");
  return (row) => {
    const links = $$(LINK, row);
    const to = links.find((link) => link.getAttribute("href") === href) ?? links.at(-1);
    if (to) stop(to);
  };
}

export function bars(): void {
  // before the shell's hints, which read what is made here
  document.addEventListener("pointerover", name, true);
  document.addEventListener("focusin", name, true);
  document.addEventListener("keydown", move);
}
